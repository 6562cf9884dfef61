"""Does steering lead to where positive activations live, or merely across a classifier's boundary and off the data?

Four disjoint splits by prompt: the methods and the barrier h are fitted on one, densities p₊ and p₋ on the second,
h and the densities are calibrated on the third, and negatives of the fourth are steered. Their paths are scored step by
step, and so is every token generated from them. Results go to one folder a layer: tidy parquet tables, `run.json`,
figures.
`python -m analyses.trajectory_likelihood --model organism --contrast valence --layer 2 3 --out results/likelihood`
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import tyro
from transformer_lens.model_bridge import TransformerBridge

import odesteer_tl as ode
from analyses.likelihood import tables
from analyses.likelihood.arms import ARMS, BARRIER_ARM, PLACEBO, fitted_fields
from analyses.likelihood.decoding import POSITIVES, Judge, decoded, exact_judge
from analyses.likelihood.prediction import prediction
from analyses.likelihood.referee import Referee
from analyses.likelihood.study import LESS_DISTINCT, LESS_LIKELY, LikelihoodStudy, Settings
from analyses.runs import refuse_existing
from analyses.sources import load_contrast

SPLITS = ("barrier", "density", "calibration", "test")


def trajectory_likelihood(
    model: TransformerBridge,
    contrast: ode.ContrastSet,
    layer: int,
    settings: Settings | None = None,
    judge: Judge | None = None,
) -> LikelihoodStudy:
    """Run the study at one layer.

    Args:
        judge: the true posterior of the positive class for each continuation, where there is one.

    Raises:
        ValueError: a split lacks a class or is too small to calibrate on, or a strength is not on the grid.
    """
    s = settings or Settings()
    declared = s.step(s.declared)
    parts = contrast.split(s.fractions, s.seed)
    acts = [ode.collect_activations(model, part, [layer], batch_size=128)[layer] for part in parts]
    fields = fitted_fields(acts[0], s.seed)
    kernel = fields[BARRIER_ARM]
    assert isinstance(kernel, ode.BarrierField)
    referee = Referee.fit(kernel.barrier, parts, acts, s.seed)
    test, a = parts[3], acts[3].negative
    scores = {arm.label: referee.score(arm.path(fields[arm.method], a, s.angle, s.steps), test.negative_groups)
              for arm in ARMS}  # fmt: skip
    frames = {label: referee.frame(score) for label, score in scores.items()}
    paths = pd.concat([x.assign(method=label, strength=s.grid * x["step"]) for label, x in frames.items()])
    ambient = {label: score["ambient"] for label, score in scores.items()}
    turning = pd.concat([tables.turning(x, s.grid).assign(method=label) for label, x in ambient.items()])
    real = {"positive": _at_rest(referee, acts[3].positive, test.positive_groups),
            "negative": _at_rest(referee, a, test.negative_groups)}  # fmt: skip
    tokens, texts = decoded(model, layer, test, fields, referee, s, judge)
    calibration = kernel.barrier.calibration
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
        degeneration=pd.concat(
            [tables.crossing(texts, "log_likelihood", LESS_LIKELY, relative=False),
             tables.crossing(texts, "distinct_2", LESS_DISTINCT, relative=True)], ignore_index=True
        ),
        prediction=prediction(texts.loc[texts["method"] != POSITIVES]) if judge else pd.DataFrame(),
        run=_record(model, layer, contrast, parts, referee, s),
    )  # fmt: skip


def _at_rest(referee: Referee, a: torch.Tensor, labels: Sequence[int]) -> pd.DataFrame:
    """Real activations, scored as paths that do not move."""
    frame = referee.frame(referee.score(a.expand(2, *a.shape), labels))
    return frame.loc[frame["step"] == 0]


def _record(
    model: TransformerBridge, layer: int, contrast: ode.ContrastSet, parts: Sequence[ode.ContrastSet],
    referee: Referee, s: Settings,
) -> dict[str, Any]:  # fmt: skip
    """What another run needs to be the same, and how good the referees are on the calibration split."""
    splits = {name: sorted({*part.positive_groups, *part.negative_groups})
              for name, part in zip(SPLITS, parts, strict=True)}  # fmt: skip
    pairs: dict[str, Any] = {}
    for name, pair in referee.pairs.items():
        found = pair.calibrated
        pairs[name] = {"positive": pair.positive.name, "negative": pair.negative.name, "slope": found.slope,
                       "intercept": found.intercept, "fit_positive": asdict(found.positive),
                       "fit_negative": asdict(found.negative)}  # fmt: skip
    return {
        "model": asdict(ode.ModelIdentity.of(model)),
        "layer": layer,
        "contrast": {**contrast.provenance, "digest": contrast.digest},
        "settings": asdict(s),
        "prompts": {name: len(labels) for name, labels in splits.items()},
        "texts": {name: {"positive": len(part.positive), "negative": len(part.negative)}
                  for name, part in zip(SPLITS, parts, strict=True)},
        "splits": splits,
        "barrier": {**referee.barrier.config(), "calibration": asdict(referee.barrier.calibration)},  # pyright: ignore
        "densities": pairs,
        "arms": [asdict(arm) for arm in ARMS],
    }  # fmt: skip


@dataclass(frozen=True)
class LikelihoodConfig:
    """The command line.

    Args:
        contrast: a concept of the organism, which alone has a judge, or what else `analyses.sources` knows.
        pairs: of the organism's concept; a file is read whole.
    """

    model: str = "organism"
    contrast: str = "valence"
    layer: tuple[int, ...] = (2,)
    out: Path = Path("results/likelihood")
    pairs: int = 2500
    settings: tyro.conf.OmitArgPrefixes[Settings] = field(default_factory=Settings)


def main(config: LikelihoodConfig) -> None:
    """Run every layer, each into a folder of its own."""
    for layer in config.layer:
        refuse_existing(config.out / f"layer-{layer}")
    model = ode.load_model(config.model)
    contrast, judge = load_contrast(config.contrast, config.pairs, config.settings.seed), exact_judge(config.contrast)
    for layer in config.layer:
        study = trajectory_likelihood(model, contrast, layer, config.settings, judge)
        study.save(config.out / f"layer-{layer}")
        print(study, flush=True)


if __name__ == "__main__":
    main(tyro.cli(LikelihoodConfig, description=__doc__))
