"""Means of bounded numbers that are watched as they come in: limits that hold at every time together.

A gambler stakes a fixed share of his wealth, on each number in turn, on its lying below the hypothesised mean. If the
mean is at least that, his wealth is a supermartingale, and the chance that it is ever 1/α times what he began with is
at most α (Ville 1939), whenever one looks and for whatever reason one stops (Waudby-Smith and Ramdas 2024, JRSS B 86,
1). The wealth here is the mixture over shares at the nodes of the arcsine law, a discrete universal portfolio
(Cover and Ordentlich 1996); `bounded` asks the same of all numbers at once, in no order.

Of numbers drawn in random order from a finite population and not put back, the hypothesised mean of what is left is
known from what was seen (Waudby-Smith and Ramdas 2020, NeurIPS 33): the limits close when all have been seen.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike, NDArray

from odesteer_tl.stats.units import level_of

#: shares staked, each with the same part of the wealth
STAKES = np.sin((np.arange(10) + 0.5) * np.pi / 20) ** 2
#: what rounding may leave of a difference that is 0
ROUNDING = 1e-9
#: halvings by which a limit is found: 2⁻¹⁶ of the range, and on the safe side
HALVINGS = 16


def log_wealth(
    x: Float[np.ndarray, "*rows n"],
    least: float | Float[np.ndarray, "*rows"],
    *,
    high: float = 1.0,
    population: int | None = None,
) -> Float[np.ndarray, "*rows n"]:
    """Log of the wealth of betting against "the mean is at least `least`", after each number.

    Args:
        x: numbers of at most `high`, in the order in which they came, which must be random where they are of a finite
            population.
        least: the hypothesis, one for all rows or one a row.
        high: what a number can be at most; below they need no bound.
        population: of how many the numbers are drawn without replacement; None: independently.

    Returns:
        Infinite from where the numbers cannot be of such a mean at all. The hypothesis is refuted at level α once
        it reaches −log α.

    Raises:
        ValueError: a NaN, a number above `high`, or more numbers than the population has.
    """
    return _mixture(_returns(x, np.asarray(least, dtype=float), high, population))


def refuted(
    x: Float[np.ndarray, "*rows n"],
    least: float | Float[np.ndarray, "*rows"],
    alpha: float,
    *,
    high: float = 1.0,
    population: int | None = None,
) -> Bool[np.ndarray, "*rows"]:
    """Whether "the mean is at least `least`" was refuted at level α at any time; arguments as of `log_wealth`."""
    returns, enough = _returns(x, np.asarray(least, dtype=float), high, population), -np.log(alpha)
    found = np.zeros(returns.shape[:-1], dtype=bool)
    if not x.shape[-1]:
        return found
    # log(1 + c·r) ≤ c·r: no stake can have won more than the sum of what is returned
    hopeful = np.cumsum(returns, axis=-1).max(-1) >= enough
    found[hopeful] = _mixture(returns[hopeful]).max(-1) >= enough
    return found


def _returns(
    x: Float[np.ndarray, "*rows n"], least: Float[np.ndarray, "*few"], high: float, population: int | None
) -> Float[np.ndarray, "*rows n"]:
    """What a whole stake returns at each number, less the stake."""
    if not (x <= high + ROUNDING).all():
        raise ValueError(f"x must hold numbers of at most high={high}, and no NaN; scale them or leave them out")
    n = x.shape[-1]
    if population is not None and n > population:
        raise ValueError(f"population={population} is smaller than the {n} numbers drawn from it")
    mean = np.broadcast_to(least[..., None], (*x.shape[:-1], 1))
    below = high - x
    # how far below `high` what is left must lie on average, before each number
    room, over = np.broadcast_to(high - mean, x.shape), np.zeros(x.shape, dtype=bool)
    if population is not None:
        seen = np.cumsum(below, axis=-1)
        room = (population * (high - mean) - (seen - below)) / (population - np.arange(n))
        # the number itself may rule the mean out, whatever is left
        over = seen > population * (high - mean + ROUNDING)
    possible = room > ROUNDING
    found = np.where(possible, below / np.where(possible, room, 1.0) - 1,
                     np.where((room < -ROUNDING) | (below > ROUNDING), np.inf, 0.0))  # fmt: skip
    return np.where(over, np.inf, found)


def _mixture(returns: Float[np.ndarray, "*rows n"]) -> Float[np.ndarray, "*rows n"]:
    """Log of the mean wealth over the stakes, after each number."""
    each = np.cumsum(np.log1p(STAKES[:, *(None,) * returns.ndim] * returns), axis=-1)
    top = each.max(0)
    finite = np.isfinite(top)
    with np.errstate(invalid="ignore"):
        total = top + np.log(np.exp(each - top).mean(0))
    return np.where(finite, total, np.inf)


def upper_limit(
    x: Float[np.ndarray, "*rows n"],
    alpha: float,
    *,
    bounds: tuple[float, float] = (0.0, 1.0),
    population: int | None = None,
) -> Float[np.ndarray, "*rows"]:
    """The largest mean that no moment of the sequence has refuted at level α: one row, one limit.

    The chance that a limit taken at any time, for any reason, lies below the true mean is at most α.

    Raises:
        ValueError: what `log_wealth` refuses, or α outside (0, 1).
    """
    level_of(1 - alpha)
    low = np.full(x.shape[:-1], float(bounds[0]))
    end = np.full(x.shape[:-1], float(bounds[1]))
    for _ in range(HALVINGS):
        middle = (low + end) / 2
        out = refuted(x, middle, alpha, high=bounds[1], population=population)
        low, end = np.where(out, low, middle), np.where(out, middle, end)
    return end


def confidence_sequence(
    x: ArrayLike, level: float = 0.95, bounds: tuple[float, float] = (0.0, 1.0), population: int | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Limits of the mean after each number, which hold at all times together.

    Args:
        x: [n] numbers within the bounds, in the order in which they came.
        level: of the two limits together, at all times.
        bounds: what a number can be, known beforehand.
        population: of how many the numbers are drawn, in random order and without replacement; None: independently.

    Returns:
        Low and high, [n] each; they only ever close in.

    Raises:
        ValueError: numbers outside the bounds, a NaN, or more of them than the population has.

    Example:
        >>> from odesteer_tl import stats
        >>> low, high = stats.confidence_sequence([1.0] * 30 + [0.0] * 2, population=40)
        >>> print(f"{low[-1]:.2f} {high[-1]:.2f}")
        0.92 0.95
    """
    values = np.asarray(x, dtype=float)
    if values.ndim != 1 or not ((values >= bounds[0]) & (values <= bounds[1])).all():
        raise ValueError(f"x must be a row of numbers within bounds={bounds}; scale them, or drop what is NaN")
    alpha = (1 - level_of(level)) / 2
    # a prefix is a row whose later numbers are not there yet: the best they could be refutes nothing
    prefixes = np.tril(np.ones((len(values), len(values)), dtype=bool))
    size = population

    def limit(y: NDArray[np.float64], high: float, low: float) -> NDArray[np.float64]:
        return upper_limit(np.where(prefixes, y, high), alpha, bounds=(low, high), population=size)

    upper = limit(values, bounds[1], bounds[0])
    lower = -limit(-values, -bounds[0], -bounds[1])
    return np.maximum.accumulate(lower), np.minimum.accumulate(upper)
