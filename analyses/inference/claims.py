"""Everything the project reports with a level: an interval, a band or a test, each asked of simulated units."""

from __future__ import annotations

from collections.abc import Iterator

from analyses.inference import curves, differences, proportions, rankings, studies, verdicts
from analyses.inference.claim import Claim


def claims(resamples: int = 1000) -> Iterator[Claim]:
    """All of them, like beside like.

    Args:
        resamples: of every bootstrap.
    """
    yield from proportions.shares()
    yield from proportions.sequences()
    yield from proportions.means(resamples)
    yield from differences.differences(resamples)
    yield from differences.equivalence(resamples)
    yield from rankings.rankings(resamples)
    yield from curves.curves(resamples)
    yield from verdicts.tests()
    yield from studies.studies()
