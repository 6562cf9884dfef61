"""HateCheck (Röttger et al. 2021) as a probe task: which barrier tells hateful from other sentences, at which layer?

Cases are made from templates, and some templates from others (a negation, a leet spelling): a split that tears these
apart measures memory. Templates linked by a reference stay on one side, and intervals are over such groups of cases.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.stats import norm, t
from sklearn.metrics import roc_auc_score
from tqdm.auto import tqdm
from transformer_lens.model_bridge import TransformerBridge

import odesteer_tl as ode
from analyses.benchmarks.context import clipped
from analyses.benchmarks.records import load_records, require_columns
from analyses.intervals import with_intervals
from analyses.runs import save_run
from odesteer_tl import stats
from odesteer_tl.barriers.kernel import C_GRID, GAMMA_GRID
from odesteer_tl.stats import studentised

COLUMNS = ("test_case", "label_gold", "templ_id", "ref_templ_id")
#: fitted on, chosen on, reported on
SPLITS = (0.5, 0.2, 0.3)

#: each kind's candidates; where there are several, validation chooses
KINDS: dict[str, tuple[Callable[[], ode.Barrier], ...]] = {
    "linear": tuple(lambda C=C: ode.LinearBarrier(C=C) for C in (0.1, *C_GRID)),
    "sketch, as published": (lambda: ode.SketchBarrier(),),
    "kernel, as published": (lambda: ode.KernelBarrier(gamma=0.1, C=1.0),),
    "kernel, degree 2": tuple(lambda g=g, C=C: ode.KernelBarrier(gamma=g, C=C) for g, C in product(GAMMA_GRID, C_GRID)),
    "kernel, degree 3": tuple(lambda g=g, C=C: ode.KernelBarrier(3, g, C=C) for g, C in product(GAMMA_GRID, C_GRID)),
    "Fourier, as published": (lambda: ode.FourierBarrier(),),
}


@dataclass(frozen=True)
class ProbeResult:
    """AUC of every kind of barrier at every layer on test cases.

    Attributes:
        table: a row a layer × kind: `auc`, `low`, `high`, `cases`, `n` (groups) and the `chosen` hyper-parameters.
        differences: AUC minus that of "linear" at the same layer, resampled together.
        candidates: the validation AUC of every candidate.
        scores: a row a test case × layer × kind.
    """

    table: pd.DataFrame
    differences: pd.DataFrame
    candidates: pd.DataFrame
    scores: pd.DataFrame
    run: dict[str, Any]

    def __str__(self) -> str:
        parts: list[str] = []
        for frame in (self.table, self.differences):
            text = frame.assign(text=with_intervals(frame))
            wide = text.pivot_table(index="barrier", columns="layer", values="text", aggfunc="first", sort=False)
            parts.append(str(wide.to_markdown()))
        first = self.table.iloc[0]
        return (f"AUC on {first['cases']} cases of {first['n']} groups\n{parts[0]}"
                f"\n\nAUC − linear, same cases\n{parts[1]}")  # fmt: skip

    def frame(self) -> pd.DataFrame:
        """The table of test AUC: a row a layer × kind."""
        return self.table

    def _repr_html_(self) -> str:
        return self.table.to_html()

    def save(self, out: Path) -> Path:
        """Write all tables as parquet and `run.json`, all or nothing."""
        names = ("table", "differences", "candidates", "scores")
        return save_run(out, {name: getattr(self, name) for name in names}, self.run)


def load_cases(data: str | Path, revision: str | None = None) -> ode.ContrastSet:
    """Hateful (positive) against other cases, grouped by templates that are linked.

    Raises:
        ValueError: not the columns of `test_suite_cases.csv`.
    """
    rows = load_records(data, revision, split="test")
    require_columns(rows, COLUMNS)
    groups = template_groups([row["templ_id"] for row in rows], [row["ref_templ_id"] for row in rows])
    records = [
        {"text": row["test_case"].strip(), "label": row["label_gold"], "group": group}
        for row, group in zip(rows, groups, strict=True)
    ]
    return ode.ContrastSet.from_records(records, text="text", label="label", positive="hateful", negative="non-hateful",
                                        group="group", provenance={"source": "HateCheck"})  # fmt: skip


def template_groups(templates: list[Any], references: list[Any]) -> list[int]:
    """One number a case; cases of one template, or of templates linked by a chain of references, share it."""
    names, links = [_number(x) for x in templates], [_number(x) for x in references]
    # a case without a reference is linked to itself
    known = [name if link is None else link for name, link in zip(names, links, strict=True)]
    codes, distinct = pd.factorize(pd.Series([*names, *known]))
    here, there = codes[: len(names)], codes[len(names) :]
    graph = coo_array((np.ones(len(names)), (here, there)), shape=(len(distinct), len(distinct)))
    _, component = connected_components(graph, directed=False)
    return [int(c) for c in component[here]]


def _number(cell: Any) -> int | None:
    """An id, which the file also writes as 12.0, or nothing."""
    return None if cell in ("", None) or cell != cell else int(float(cell))


def probe(
    model: TransformerBridge,
    cases: ode.ContrastSet,
    kinds: dict[str, tuple[Callable[[], ode.Barrier], ...]] | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> ProbeResult:
    """Fit every kind of barrier at every layer, choose its hyper-parameters by validation AUC, report test AUC.

    Raises:
        ValueError: no kind called "linear" to compare with.
    """
    kinds = KINDS if kinds is None else kinds
    if "linear" not in kinds:
        raise ValueError(f"kinds={sorted(kinds)} lacks 'linear', which the others are compared with; add it")
    parts = [clipped(model, part) for part in cases.split(SPLITS, seed)]
    acts = [ode.collect_activations(model, part) for part in parts]
    groups, labels = np.array([*parts[2].positive_groups, *parts[2].negative_groups]), _labels(acts[2][0])
    weights = group_weights(groups, resamples, seed)
    tables: list[pd.DataFrame] = []
    candidates: list[pd.DataFrame] = []
    scores: list[pd.DataFrame] = []
    areas: dict[tuple[int, str], np.ndarray] = {}
    for layer, kind in tqdm(list(product(acts[0], kinds)), desc="probing"):
        tried, barrier = _fit(kinds[kind], *(a[layer] for a in acts[:2]))
        score = _score(barrier, acts[2][layer])
        areas[layer, kind] = weighted_auc(score, labels, weights)
        about = {"cases": len(labels), "n": len(np.unique(groups)), "chosen": str(barrier)}
        tables.append(_row(stats.auc(score, labels == 1, groups=groups)).assign(**about))
        candidates.append(tried)
        scores.append(pd.DataFrame({"score": score, "hateful": labels == 1, "group": groups}))
    against = [_row(spread(own - areas[layer, "linear"], len(np.unique(groups)))) for (layer, _), own in areas.items()]
    places = [{"layer": layer, "barrier": kind} for layer, kind in areas]
    tables, against, candidates, scores = (
        [frame.assign(**place) for frame, place in zip(frames, places, strict=True)]
        for frames in (tables, against, candidates, scores)
    )
    differences = pd.concat(against, ignore_index=True).query("barrier != 'linear'")
    run = {"task": "hatecheck", "model": asdict(ode.ModelIdentity.of(model)), "seed": seed, "resamples": resamples,
           "splits": {name: part.provenance | {"n": [len(part.positive), len(part.negative)]}
                      for name, part in zip(("fit", "validation", "test"), parts, strict=True)}}  # fmt: skip
    return ProbeResult(pd.concat(tables, ignore_index=True), differences,
                       pd.concat(candidates, ignore_index=True), pd.concat(scores, ignore_index=True), run)  # fmt: skip


def _fit(
    candidates: tuple[Callable[[], ode.Barrier], ...], fit: ode.LayerActivations, held: ode.LayerActivations
) -> tuple[pd.DataFrame, ode.Barrier]:
    """Validation AUC of every candidate, and the best of them, as fitted."""
    barriers = [make().fit(fit.positive, fit.negative) for make in candidates]
    found = [float(roc_auc_score(_labels(held), _score(barrier, held))) for barrier in barriers]
    best = int(np.argmax(found))
    table = pd.DataFrame({"candidate": [str(b) for b in barriers], "validation_auc": found})
    return table.assign(chosen=np.arange(len(barriers)) == best), barriers[best]


def _labels(acts: ode.LayerActivations) -> np.ndarray:
    return np.repeat([1, 0], [len(acts.positive), len(acts.negative)])


def _score(barrier: ode.Barrier, acts: ode.LayerActivations) -> np.ndarray:
    return np.concatenate([barrier.value(x.double()).numpy() for x in (acts.positive, acts.negative)])


def group_weights(groups: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """How often every case is in a bootstrap of whole groups, [1 + resamples, cases]; the first row is the data."""
    codes, distinct = pd.factorize(groups)
    n = len(distinct)
    draws = studentised.counts(n, resamples, seed)
    return np.vstack([np.ones(len(groups)), draws[:, codes]])


def weighted_auc(scores: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """AUC under each row of weights, ties counting half; NaN where a row has one class only."""
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(scores[order]) > 0])  # equal scores form one step
    sides = [np.add.reduceat((weights * (labels == side))[:, order], starts, axis=1) for side in (1, 0)]
    below = sides[1].cumsum(1) - sides[1] / 2
    with np.errstate(invalid="ignore"):
        return (sides[0] * below).sum(1) / (sides[0].sum(1) * sides[1].sum(1))


def spread(values: np.ndarray, n: int) -> stats.Estimate:
    """The first as value, the rest as its interval: percentiles, at a level that makes up for n groups being few.

    Hesterberg (2015, Am. Stat. 69, 371): a bootstrap of n is narrower by √((n − 1)/n), and has the normal's tails.
    """
    tail = float(norm.cdf(np.sqrt(n / (n - 1)) * t.ppf(0.025, n - 1)))
    low, high = np.nanquantile(values[1:], [tail, 1 - tail])
    return stats.Estimate(float(values[0]), float(low), float(high), n)


def _row(estimate: stats.Estimate) -> pd.DataFrame:
    return pd.DataFrame([{"value": estimate.value, "low": estimate.low, "high": estimate.high}])
