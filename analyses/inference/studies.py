"""Claims that a study makes by itself, of what the statistics do not know: bounds, ranks, crossings, predictions."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import pandas as pd
import torch
from scipy.special import softmax
from scipy.stats import norm

from analyses.benchmarks.caa import coin
from analyses.benchmarks.truthfulqa import Question, permuted_scores, product_of_shares
from analyses.inference import units
from analyses.inference.claim import Claim, inside
from analyses.inference.units import Rng
from analyses.likelihood.prediction import averaged, correlations, each
from analyses.likelihood.tables import crossing
from odesteer_tl import certify, stats
from odesteer_tl.densities import agreement
from odesteer_tl.densities.calibration import Fit, PairCalibration
from odesteer_tl.densities.path import EXIT_RANK

RHO = 6 / np.pi * np.arcsin(0.6 / 2)
#: what a rank does not ask of a calibration
FITTED = Fit(0.0, 0.0, 1.0, 1)
#: cells of method and strength over the same prompts
CELLS = 6


def studies() -> Iterator[Claim]:
    """Of all studies."""
    yield from _bounds()
    yield from _paths()
    yield from _predictions()
    yield from _baselines()


def _bounds() -> Iterator[Claim]:
    yield Claim("product of shares", "binary, .6 and .95", False, lambda r, n, s: inside(
        product_of_shares(units.flips(r, n, 0.6), units.flips(r, n, 0.95)), 0.57))  # fmt: skip
    yield Claim("product of shares", "binary, one implies the other", False, lambda r, n, s: inside(
        product_of_shares((u := r.random(n)) < 0.6, u < 0.9), 0.54))  # fmt: skip
    for p in (0.05, 0.5):
        yield Claim("rate bound", f"binary, {p:g}", True, lambda r, n, s, p=p:
                    certify.rate_bound(units.flips(r, n, p)).upper >= p)  # fmt: skip
    yield Claim("rate bound at five layers", "binary, .05", True, lambda r, n, s: all(
        certify.rate_bound(units.flips(r, n, 0.05), looks=5).upper >= 0.05 for _ in range(5)))  # fmt: skip
    yield Claim("conformal bound", "continuous", True, lambda r, n, s:
                certify.conformal_lower(units.skewed(r, n)) <= units.skewed(r, 1)[0])  # fmt: skip
    yield Claim("conformal bound", "ties, three values", True, lambda r, n, s:
                certify.conformal_lower(units.area_values(r, n)) <= units.area_values(r, 1)[0])  # fmt: skip


def _paths() -> Iterator[Claim]:
    def exits(r: Rng, n: int, s: int) -> bool:
        """An activation of the class is not called off its data (97.5 % are not)."""
        fitted = PairCalibration(1.0, 0.0, FITTED, FITTED, torch.from_numpy(np.sort(r.normal(size=n))))
        return bool((fitted.rank(torch.from_numpy(r.normal(size=1))) >= EXIT_RANK).all())

    def parting(r: Rng, n: int, s: int) -> bool:
        """Of an h and a ratio that are alike on average; the curves of all prompts start at 0."""
        h, ratio = (torch.from_numpy(units.curves(r, n).T.copy()) for _ in range(2))
        never = torch.zeros(h.shape[0] - 1, n, dtype=torch.bool)
        return agreement(h, ratio, never, seed=s).parting_step is None

    def crosses(r: Rng, n: int, s: int, fall: float, at: float) -> bool:
        own = 0.5 * r.normal(size=n)
        cells = [("unsteered", 0.0), *(("a", 0.2 * i) for i in range(1, 6))]
        prompts = {"prompt": np.arange(n), "group": np.arange(n)}
        texts = pd.concat([pd.DataFrame({"method": method, "strength": strength, **prompts,
                                         "q": own - fall * strength + units.skewed(r, n)})
                           for method, strength in cells])  # fmt: skip
        found = crossing(texts, "q", 1.0, relative=False, seed=s).iloc[0]
        return bool(found["crossing_low"] - 1e-9 <= at <= found["crossing_high"] + 1e-9)

    yield Claim("on the data", "a new activation of the class", True, exits)
    yield Claim("parting of h and ratio", "none", False, parting)
    yield Claim("crossing of a limit", "at .5 of 1", False, partial(crosses, fall=2.0, at=0.5))
    yield Claim("crossing of a limit", "none", False, partial(crosses, fall=0.5, at=np.inf))


def _predictions() -> Iterator[Claim]:
    def cells(r: Rng, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Predictor and posterior [cells, prompts], half of whose variance is the prompt's own."""
        y, noise = (np.sqrt(0.5) * (r.normal(size=(1, n)) + r.normal(size=(CELLS, n))) for _ in range(2))
        return 0.6 * y + 0.8 * noise, y

    def correlation(r: Rng, n: int, s: int) -> bool:
        return inside(averaged(each(correlations, *cells(r, n)), -1.0), float(RHO))

    def area(r: Rng, n: int, s: int, true: float) -> bool:
        y = np.sqrt(0.5) * (r.normal(size=(1, n)) + r.normal(size=(CELLS, n))) > 0
        x = np.sqrt(0.5) * (r.normal(size=(1, n)) + r.normal(size=(CELLS, n))) + norm.ppf(true) * np.sqrt(2) * y
        return inside(averaged(each(stats.areas, x, y), 0.0), true)

    yield Claim("mean correlation within cells", "prompts in all cells", False, correlation)
    for true in (0.8, 0.95):
        yield Claim("mean area within cells", f"prompts in all cells, {true}", False, partial(area, true=true))


def _baselines() -> Iterator[Claim]:
    def chance(r: Rng, n: int, s: int, metric: int) -> bool:
        """A model whose probabilities know nothing of which options are correct."""
        questions = [Question("q", tuple("abcde"), tuple((r.permutation(5) < 1).tolist()), tuple(range(5)),
                              tuple(range(5))) for _ in range(n)]  # fmt: skip
        scores = [r.normal(size=5) for _ in range(n)]
        low, high = permuted_scores(questions, scores, r, 400)
        mc2 = np.mean([softmax(x)[np.asarray(q.correct)].sum() for q, x in zip(questions, scores, strict=True)])
        reached = np.mean(r.random(n) < 0.2) if metric == 0 else mc2
        return bool(low[metric] - 1e-9 <= reached <= high[metric] + 1e-9)

    def tossed(r: Rng, n: int, s: int) -> bool:
        low, high = coin(n)
        return bool(low <= units.flips(r, n, 0.5).mean() <= high)

    yield Claim("what chance reaches", "one of five options", False, partial(chance, metric=0))
    yield Claim("what chance reaches", "probability of the correct", False, partial(chance, metric=1))
    yield Claim("what a coin reaches", "binary, .5", True, tossed)
