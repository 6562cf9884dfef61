"""One layer of the likelihood study: fields and referees fitted, paths and tokens scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import pandas as pd
import torch

import odesteer_tl as ode
from analyses.certification.texts import auc, unread
from analyses.likelihood import tables
from analyses.likelihood.arms import BARRIER_ARM, PLACEBO, Arm
from analyses.likelihood.decoding import decoded
from analyses.likelihood.jury import Fields, Jury, Rotation
from analyses.likelihood.material import Material
from analyses.likelihood.plan import names as plan_names
from analyses.likelihood.prediction import prediction
from analyses.likelihood.referee import Referee
from analyses.likelihood.study import LESS_DISTINCT, LESS_LIKELY, POSITION, TABLES, LikelihoodStudy, Settings
from analyses.refusal import unless_refused
from analyses.sweep import Refused
from odesteer_tl import stats
from odesteer_tl.densities import PathScore


def studied(material: Material, layer: int) -> LikelihoodStudy:
    """Everything about one layer; where nothing tells the classes apart, or a class never varies, that alone."""
    plan = material.plan
    s, test, writes = plan.settings, plan.parts[-1], plan.writes
    declared = s.step(s.declared)
    acts = material.acts(layer)
    rotations = plan.rotated(acts)
    jury = unless_refused(lambda: Jury.fit(rotations, s.seed))
    if isinstance(jury, Refused):
        run = {**_record(material, layer), "nothing": jury.why,
               "barrier": {"auc": asdict(_reads(rotations[0], s.seed))}}  # fmt: skip
        return LikelihoodStudy(**dict.fromkeys(TABLES, pd.DataFrame()), run=run)
    a = acts[-1].negative
    scores: dict[str, dict[str, PathScore]] = {}
    for arm in jury.arms:
        along = partial(_path, arm, a, s)
        scores[arm.label] = jury.score(along, test.negative_groups)
    frames = {label: jury.frame(score) for label, score in scores.items()}
    paths = pd.concat([x.assign(method=label, strength=s.grid * x["step"]) for label, x in frames.items()])
    ambient = {label: score["ambient"] for label, score in scores.items()}
    turning = pd.concat([tables.turning(x, s.grid).assign(method=label) for label, x in ambient.items()])
    real = {"positive": _at_rest(jury, acts[-1].positive, test.positive_groups),
            "negative": _at_rest(jury, a, test.negative_groups)}  # fmt: skip
    tokens, texts = decoded(material.starts, material.unsteered, layer, jury, s, writes, material.outcome)
    return LikelihoodStudy(
        paths=paths.reset_index(drop=True),
        turning=turning.reset_index(drop=True),
        tokens=tokens,
        texts=texts,
        curves=tables.curves(paths),
        references=tables.references(real),
        summary=tables.summary(scores, s.grid, declared),
        comparisons=tables.comparisons(scores, PLACEBO, declared, s.seed),
        agreement=tables.agreements(scores, jury.calibration, s.grid),
        degeneration=_degeneration(texts) if writes else pd.DataFrame(),
        prediction=prediction(texts) if writes and material.outcome else pd.DataFrame(),
        run={**_record(material, layer), **_judged_by(jury), "arms": [asdict(arm) for arm in jury.arms]},
    )


def _path(arm: Arm, a: torch.Tensor, s: Settings, fields: Fields) -> torch.Tensor:
    """An arm's path along its field."""
    return arm.path(fields[arm.method], a, s.angle, s.steps)


def _reads(acts: Rotation, seed: int) -> stats.Estimate:
    """How well a layer's h reads the calibration split where h, or a density, cannot be had."""
    field = unless_refused(lambda: ode.METHODS[BARRIER_ARM].fit_activations(acts[0], seed))
    return auc(field.barrier, acts[2]) if isinstance(field, ode.BarrierField) else unread(acts[2])


def _degeneration(texts: pd.DataFrame) -> pd.DataFrame:
    """Where what is written gets less likely and less various."""
    less = [("log_likelihood", LESS_LIKELY, False), ("distinct_2", LESS_DISTINCT, True)]
    return pd.concat([tables.crossing(texts, name, by, relative) for name, by, relative in less], ignore_index=True)


def _at_rest(jury: Jury, a: torch.Tensor, labels: Sequence[int]) -> pd.DataFrame:
    """Real activations, scored as paths that do not move."""
    frame = jury.frame(jury.score(lambda _: a.expand(2, *a.shape), labels))
    return frame.loc[frame["step"] == 0]


def _judged_by(jury: Jury) -> dict[str, Any]:
    """How good the referees are on texts that no fit saw; of several rotations, one record of densities each."""
    barrier = jury.members[0][1].barrier
    densities = [_densities(referee) for _, referee, _ in jury.members]
    return {
        "barrier": {**barrier.config(), "calibration": asdict(jury.calibration), "auc": asdict(jury.reads)},
        "densities": densities[0] if len(densities) == 1 else densities,
    }


def _densities(referee: Referee) -> dict[str, Any]:
    pairs: dict[str, Any] = {}
    for name, pair in referee.pairs.items():
        found = pair.calibrated
        pairs[name] = {"positive": pair.positive.name, "negative": pair.negative.name, "slope": found.slope,
                       "intercept": found.intercept, "fit_positive": asdict(found.positive),
                       "fit_negative": asdict(found.negative)}  # fmt: skip
    return pairs


def _record(material: Material, layer: int) -> dict[str, Any]:
    """What another run needs to be the same."""
    plan, s = material.plan, material.plan.settings
    contrast, parts = plan.contrast, plan.parts
    names, steered = plan_names(s), {*parts[-1].negative_groups}
    splits = {name: sorted({*part.positive_groups, *part.negative_groups})
              for name, part in zip(names, parts, strict=True)}  # fmt: skip
    return {
        "model": asdict(ode.ModelIdentity.of(material.model)),
        "layer": layer,
        "position": POSITION,
        "contrast": {**contrast.provenance, "digest": contrast.digest},
        "settings": asdict(s),
        "tokens_of": "steered texts" if plan.writes else "unsteered texts",
        # prompts of one's own are steered in the place of the test part's negatives
        "prompts": {name: len(labels) for name, labels in splits.items()}
        | ({} if set(splits["test"]) == steered else {"test": len(steered)}),
        "texts": {name: {"positive": len(part.positive), "negative": len(part.negative)}
                  for name, part in zip(names, parts, strict=True)},
        "splits": splits,
    }  # fmt: skip
