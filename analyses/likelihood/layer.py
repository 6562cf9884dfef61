"""One layer of the likelihood study: fields and referees fitted, paths and tokens scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd
import torch

import odesteer_tl as ode
from analyses.alike import Alike, unless_alike
from analyses.certification.texts import auc, unread
from analyses.likelihood import tables
from analyses.likelihood.arms import ARMS, BARRIER_ARM, PLACEBO, fitted_fields
from analyses.likelihood.decoding import POSITIVES, decoded
from analyses.likelihood.material import Material
from analyses.likelihood.plan import SPLITS
from analyses.likelihood.prediction import prediction
from analyses.likelihood.referee import Referee
from analyses.likelihood.study import LESS_DISTINCT, LESS_LIKELY, POSITION, TABLES, LikelihoodStudy, Settings
from odesteer_tl import stats
from odesteer_tl.densities import PathScore


def studied(material: Material, layer: int) -> LikelihoodStudy:
    """Everything about one layer; where nothing tells the classes apart, or a class never varies, that alone."""
    plan = material.plan
    s, parts = plan.settings, plan.parts
    writes = s.texts == "steered" or (s.texts == "auto" and material.judge is not None)
    declared = s.step(s.declared)
    acts = material.acts(layer)
    fitted = unless_alike(lambda: _fitted(parts, acts, s.seed))
    if isinstance(fitted, Alike):
        run = {**_record(material, layer, s, writes), "nothing": fitted.why,
               "barrier": {"auc": asdict(_reads(acts, s.seed))}}  # fmt: skip
        return LikelihoodStudy(**dict.fromkeys(TABLES, pd.DataFrame()), run=run)
    fields, referee = fitted
    test, a = parts[3], acts[3].negative
    scores: dict[str, dict[str, PathScore]] = {}
    for arm in ARMS:
        path = arm.path(fields[arm.method], a, s.angle, s.steps)
        scores[arm.label] = referee.score(path, test.negative_groups)
    frames = {label: referee.frame(score) for label, score in scores.items()}
    paths = pd.concat([x.assign(method=label, strength=s.grid * x["step"]) for label, x in frames.items()])
    ambient = {label: score["ambient"] for label, score in scores.items()}
    turning = pd.concat([tables.turning(x, s.grid).assign(method=label) for label, x in ambient.items()])
    real = {"positive": _at_rest(referee, acts[3].positive, test.positive_groups),
            "negative": _at_rest(referee, a, test.negative_groups)}  # fmt: skip
    tokens, texts = decoded(material.starts, material.unsteered, layer, fields, referee, s, writes, material.judge)
    calibration = referee.barrier.calibration
    assert calibration is not None
    return LikelihoodStudy(
        paths=paths.reset_index(drop=True),
        turning=turning.reset_index(drop=True),
        tokens=tokens,
        texts=texts,
        curves=tables.curves(paths),
        references=tables.references(real),
        summary=tables.summary(scores, s.grid, declared),
        comparisons=tables.comparisons(scores, PLACEBO, declared, s.seed),
        agreement=tables.agreements(scores, calibration, s.grid),
        degeneration=_degeneration(texts) if writes else pd.DataFrame(),
        prediction=prediction(texts.loc[texts["method"] != POSITIVES]) if material.judge and writes else pd.DataFrame(),
        run={**_record(material, layer, s, writes), **_judged_by(referee, acts)},
    )


def _fitted(
    parts: Sequence[ode.ContrastSet], acts: Sequence[ode.LayerActivations], seed: int
) -> tuple[dict[str, ode.VectorField], Referee]:
    """What steers, and what judges it."""
    fields = fitted_fields(acts[0], seed)
    kernel = fields[BARRIER_ARM]
    assert isinstance(kernel, ode.BarrierField)
    return fields, Referee.fit(kernel.barrier, parts, acts, seed)


def _reads(acts: Sequence[ode.LayerActivations], seed: int) -> stats.Estimate:
    """How well a layer's h reads the calibration split where h, or a density, cannot be had."""
    field = unless_alike(lambda: ode.METHODS[BARRIER_ARM].fit_activations(acts[0], seed))
    return auc(field.barrier, acts[2]) if isinstance(field, ode.BarrierField) else unread(acts[2])


def _degeneration(texts: pd.DataFrame) -> pd.DataFrame:
    """Where what is written gets less likely and less various."""
    less = [("log_likelihood", LESS_LIKELY, False), ("distinct_2", LESS_DISTINCT, True)]
    return pd.concat([tables.crossing(texts, name, by, relative) for name, by, relative in less], ignore_index=True)


def _at_rest(referee: Referee, a: torch.Tensor, labels: Sequence[int]) -> pd.DataFrame:
    """Real activations, scored as paths that do not move."""
    frame = referee.frame(referee.score(a.expand(2, *a.shape), labels))
    return frame.loc[frame["step"] == 0]


def _judged_by(referee: Referee, acts: Sequence[ode.LayerActivations]) -> dict[str, Any]:
    """How good the referees are on the calibration split."""
    pairs: dict[str, Any] = {}
    for name, pair in referee.pairs.items():
        found = pair.calibrated
        pairs[name] = {"positive": pair.positive.name, "negative": pair.negative.name, "slope": found.slope,
                       "intercept": found.intercept, "fit_positive": asdict(found.positive),
                       "fit_negative": asdict(found.negative)}  # fmt: skip
    reads = asdict(auc(referee.barrier, acts[2]))
    return {
        "barrier": {**referee.barrier.config(), "calibration": asdict(referee.barrier.calibration),  # pyright: ignore
                    "auc": reads},
        "densities": pairs,
    }  # fmt: skip


def _record(material: Material, layer: int, s: Settings, writes: bool) -> dict[str, Any]:
    """What another run needs to be the same."""
    contrast, parts = material.plan.contrast, material.plan.parts
    splits = {name: sorted({*part.positive_groups, *part.negative_groups})
              for name, part in zip(SPLITS, parts, strict=True)}  # fmt: skip
    return {
        "model": asdict(ode.ModelIdentity.of(material.model)),
        "layer": layer,
        "position": POSITION,
        "contrast": {**contrast.provenance, "digest": contrast.digest},
        "settings": asdict(s),
        "tokens_of": "steered texts" if writes else "unsteered texts",
        "prompts": {name: len(labels) for name, labels in splits.items()}
        | ({} if splits["test"] == sorted({*parts[3].negative_groups}) else {"test": len({*parts[3].negative_groups})}),
        "texts": {name: {"positive": len(part.positive), "negative": len(part.negative)}
                  for name, part in zip(SPLITS, parts, strict=True)},
        "splits": splits,
        "arms": [asdict(arm) for arm in ARMS],
    }  # fmt: skip
