"""Where to look first: a belief about candidates that neighbours and cheap looks inform. It need prove nothing.

Means of rewards are thought of as a Gaussian process over the candidates' places (layer, strength, …): candidates that
lie close are alike, and what a cheap look says of a candidate tells something, how much and in which direction being
learnt from the rewards. A candidate is asked as often as it may be the best under that belief (Thompson 1933; here
several candidates a round).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

#: standard deviations, in rewards: of the level common to all, of what a standard deviation of a look tells, of what
#: neighbours share, of what a candidate has alone
COMMON, LOOK, SHARED, ALONE = 0.3, 0.2, 0.25, 0.1
#: of a candidate without neighbours
APART = 0.3
#: share of the range of a place's coordinate within which candidates are alike
NEAR = 0.25
#: candidates' rewards that what all candidates share counts for in the variance of one; what is added to it
PRIOR, LEAST = 4, 1e-6
#: draws out of which a round's candidates are taken
DRAWS = 256


@dataclass(frozen=True, eq=False)
class Belief:
    """Means of candidates, as believed.

    Attributes:
        mean: of each candidate.
        covariance: of what is not known of them.
    """

    mean: Float[np.ndarray, " arms"]
    covariance: Float[np.ndarray, "arms arms"]

    @classmethod
    def before(
        cls, arms: int, places: Float[np.ndarray, "arms axes"] | None, looks: Float[np.ndarray, "arms looks"] | None
    ) -> Belief:
        """What is believed before anything is asked.

        Args:
            places: coordinates of the candidates; a row of NaN is a candidate without neighbours.
            looks: what cheap looks say, in any unit; NaN where one says nothing.
        """
        found = np.full((arms, arms), COMMON**2)
        if places is None:
            found += np.eye(arms) * APART**2
        else:
            low, high = np.nanmin(places, axis=0), np.nanmax(places, axis=0)
            at = (places - low) / np.where(high > low, high - low, 1.0) / NEAR
            alike = np.exp(-0.5 * ((at[:, None] - at[None]) ** 2).sum(-1))
            found += SHARED**2 * np.nan_to_num(alike)
            found[np.diag_indices(arms)] += np.where(np.isnan(at).any(1), APART**2, ALONE**2)
        if looks is not None:
            spread = np.nanstd(looks, axis=0)
            z = np.nan_to_num((looks - np.nanmean(looks, axis=0)) / np.where(spread > 0, spread, 1.0))
            found += LOOK**2 / max(z.shape[1], 1) * z @ z.T
        return cls(np.full(arms, 0.5), found)

    def after(self, rewards: Float[np.ndarray, "arms prompts"]) -> Belief:
        """What is believed once some rewards are known (NaN: not asked)."""
        counts = (~np.isnan(rewards)).sum(1)
        seen = np.flatnonzero(counts)
        if not len(seen):
            return self
        n, won = counts[seen], np.nansum(rewards[seen], axis=1)
        means = won / n
        variance = _variances(rewards[seen])
        gain = np.linalg.solve(self.covariance[np.ix_(seen, seen)] + np.diag(variance / n), self.covariance[seen]).T
        return Belief(self.mean + gain @ (means - self.mean[seen]), self.covariance - gain @ self.covariance[seen])

    @property
    def cautious(self) -> Float[np.ndarray, " arms"]:
        """Means less a standard deviation: of two believed alike, the one that was asked more often is taken."""
        return self.mean - np.sqrt(np.diag(self.covariance))

    def promising(self, among: Bool[np.ndarray, " arms"], count: int, rng: np.random.Generator) -> list[int]:
        """Up to so many different candidates, each as likely to be named as it is to be the best of those allowed."""
        allowed = np.flatnonzero(among)
        if len(allowed) <= count:
            return allowed.tolist()
        root = _root(self.covariance[np.ix_(allowed, allowed)])
        draws = self.mean[allowed] + rng.standard_normal((DRAWS, len(allowed))) @ root.T
        found = list(dict.fromkeys(draws.argmax(1).tolist()))
        # should fewer have ever been the best, those that may still be it by their mean and spread
        rest = np.argsort(-(self.mean[allowed] + 2 * draws.std(0)), kind="stable").tolist()
        return allowed[list(dict.fromkeys(found + rest))[:count]].tolist()


def _variances(rewards: Float[np.ndarray, "arms prompts"]) -> Float[np.ndarray, " arms"]:
    """Of a reward of each candidate, as believed: a few equal ones are no certainty."""
    n, won = (~np.isnan(rewards)).sum(1), np.nansum(rewards, axis=1)
    if np.isin(rewards[~np.isnan(rewards)], (0.0, 1.0)).all():
        # of 0 and 1 whose rate was uniform before
        return (won + 1) * (n - won + 1) / ((n + 2) * (n + 3))
    # numbers vary less, and about as much at one candidate as at others
    squares = np.nansum((rewards - (won / n)[:, None]) ** 2, axis=1)
    common = squares.sum() / max(int((n - 1).sum()), 1)
    return (squares + PRIOR * common) / (n - 1 + PRIOR) + LEAST


def _root(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """A matrix whose square this is, whatever rounding did to the least of its variances."""
    return np.asarray(np.linalg.cholesky(covariance + 1e-6 * np.eye(len(covariance))), dtype=float)
