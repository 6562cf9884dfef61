"""Steered states token by token, at one strength, against real activations of both classes."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from figures.drawing import PAGE, Drawing, Place, page
from figures.reference import LINES, PLACEBO, SCALED, legend, limits, nats, reference_bands, staggered
from figures.reference import means as estimates

MIN_PROMPTS = 20
PANELS = {"log_positive": ("(a) likelihood under p₊", "mean log p₊ (nats)"),
          "tied_log_ratio": ("(b) ratio of directions", "mean log p₊/p₋ (nats)"),
          "h_calibrated": ("(c) calibrated barrier", "mean h (nats)")}  # fmt: skip
CAPTION = """\
Steered states token by token at {strength:g} rad: means over those of N = {n} prompts that still run (at least
{least}); bands: pointwise 95 % intervals (studentised bootstrap). Token -1 is the prompt's last. Grey and hatched:
the middle half of held-out real positives and negatives; their lines: means. (a) log p₊. (b) Log-ratio of tied
directional densities. (c) Calibrated h. Axes leave the placebo out of view where it falls further. {scaled} {source}"""


def draw_tokens(
    tokens: pd.DataFrame, references: pd.DataFrame, strength: float, *, source: str = "", figure: Place = None
) -> Drawing:
    """Draw steered states token by token, at one strength: means over prompts still running, pointwise 95 % intervals.

    Args:
        tokens: `token`, `state` (1: steered) and the quantities, by `method`, `strength` and `prompt`.
        references: `mean` and quantiles by `side` and `quantity`.
        source: sentences for the caption on where the tables come from. figure: see `page`.
    """
    shown = tokens.loc[(tokens["state"] == 1) & tokens["strength"].isin([0.0, strength])]
    means, scaled = _means(shown), False
    with page(figure, PAGE, 2.6) as figure:
        axes = figure.subplots(1, 3)
        for axis, (quantity, (title, label)) in zip(axes, PANELS.items(), strict=True):
            sides = references.loc[references["quantity"] == quantity]
            scaled |= _panel(axis, means.loc[means["quantity"] == quantity], sides, quantity == "log_positive")
            axis.set(title=title, xlabel="token", ylabel=label)
        legend(figure, [str(m) for m in shown["method"].unique()])
        least = min(MIN_PROMPTS, *means["n"].tolist())
        caption = CAPTION.format(strength=strength, n=shown["prompt"].nunique(), least=least, source=source,
                                 scaled=SCALED if scaled else "")  # fmt: skip
        return Drawing(figure, "tokens", caption, means)


def _means(shown: pd.DataFrame) -> pd.DataFrame:
    """Mean and pointwise interval by method, quantity and token, where enough prompts still run."""
    long = shown.melt(id_vars=["method", "token"], value_vars=list(PANELS), var_name="quantity")
    found = estimates(long.groupby(["method", "quantity", "token"], sort=False)["value"]).reset_index()
    enough = found.groupby(["method", "quantity"])["n"].transform("max").clip(upper=MIN_PROMPTS)
    return found.loc[found["n"] >= enough].sort_values("token", kind="stable")


def _panel(axis: Axes, means: pd.DataFrame, sides: pd.DataFrame, likelihood: bool) -> bool:
    """Whether its axis is logarithmic."""
    reference_bands(axis, sides)
    marks = staggered([m for m in LINES if m in set(means["method"])])
    for method, where in marks.items():
        rows, look = means.loc[means["method"] == method], LINES[method]
        axis.plot(rows["token"], rows["mean"], lw=1.0, ms=2.5, markevery=where, **look)
        axis.fill_between(rows["token"], rows["low"], rows["high"], color=look["color"], alpha=0.15, lw=0)
    real = means.loc[means["method"] != PLACEBO]
    values = [real["low"].min(), real["high"].max(), *sides["q25"], *sides["q75"]]
    if likelihood:
        return nats(axis, values)
    limits(axis, values)
    return False
