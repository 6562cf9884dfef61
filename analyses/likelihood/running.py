"""A likelihood study as a resumable one: a cell a layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from analyses.costing import Cost, step_seconds, text_tokens, token_rate
from analyses.likelihood.arms import ARMS
from analyses.likelihood.layer import studied
from analyses.likelihood.material import Material
from analyses.likelihood.plan import BLOCKS, Plan
from analyses.likelihood.study import LikelihoodStudy
from analyses.runs import replaceable
from analyses.sweep import Config, Study
from analyses.sweep.packed import packed, unpacked
from odesteer_tl.plain import Model

#: of `likelihood_cell` and `Material`: raise it when their code changes results
VERSION = "5"
#: what scoring a point under three pairs of densities costs, in certified steps, and what a layer's fits do
ALL_OF_A_POINT, ALL_OF_A_LAYER = 8.0, 40000.0


def likelihood_study(
    model: Model | str, identity: Any, plan: Plan, layers: Sequence[int], threads: int | None = None
) -> Study:
    """A cell a layer; `model` and `identity` as `analyses.models.model_of` gives them."""
    settings = {**plan.described(), "model": identity}
    cells = tuple({"layer": layer} for layer in layers)
    context = partial(Material, model, plan, tuple(layers), threads)
    return Study("likelihood", likelihood_cell, context, settings, VERSION, cells)


def likelihood_cell(material: Material, config: Config) -> pd.DataFrame:
    """One layer's tables as one cell's rows."""
    found = studied(material, config["layer"])
    return packed(found.tables(), found.run)


@dataclass(frozen=True, eq=False)
class Layers:
    """The studies of several layers.

    Attributes:
        studies: by layer.
        digest: of the study they are cells of.
    """

    studies: Mapping[int, LikelihoodStudy]
    digest: str = ""

    @classmethod
    def of(cls, rows: pd.DataFrame, digest: str) -> Layers:
        """From the rows of all cells."""
        found: dict[int, LikelihoodStudy] = {}
        for layer, cell in rows.groupby("layer", sort=False):
            tables, run = unpacked(cell)
            found[int(str(layer))] = LikelihoodStudy(**tables, run={**run, "study": digest})
        return cls(found, digest)

    def frame(self) -> pd.DataFrame:
        """The main tables in numbers, one row a layer and method, with how well that layer's h reads unseen texts.

        Of a layer at which nothing tells the classes apart one row, that of the AUC.
        """
        frames: list[pd.DataFrame] = []
        for layer, study in self.studies.items():
            reads = study.run["barrier"]["auc"]
            beside = {"auc": reads["value"], "auc_low": reads["low"], "auc_high": reads["high"]}
            own = pd.DataFrame(index=[0]) if study.nothing else study.frame()
            frames.append(own.assign(layer=layer, **beside))
        return pd.concat(frames, ignore_index=True)

    def save(self, out: Path) -> None:
        """Each into `out`/layer-N, in the place of an earlier report of this very study."""
        for layer, study in self.studies.items():
            replaceable(out / f"layer-{layer}", self.digest)
            study.save(out / f"layer-{layer}")

    def __str__(self) -> str:
        return "\n\n".join(str(study) for study in self.studies.values())

    def _repr_html_(self) -> str:
        return "".join(f"<h4>layer {layer}</h4>{study._repr_html_()}" for layer, study in self.studies.items())  # pyright: ignore[reportPrivateUsage]


def estimate(material: Any, left: Sequence[Config], of: int, workers: int) -> Cost:
    """What so many layers will cost."""
    assert isinstance(material, Material)
    plan, model, starts = material.plan, material.model, material.starts
    s, n_layers = plan.settings, int(model.cfg.n_layers)
    texts = [text for part in plan.parts for text in (*part.positive, *part.negative)]
    n, positives, new = len(starts.prompts), len(starts.positives), s.max_new_tokens
    shared = text_tokens(model, texts) + starts.prompts.n_tokens + starts.positives.n_tokens + 2 * (n + positives) * new
    cells = len(ARMS) * len(s.strengths)
    behind = [1 + (n_layers - config["layer"]) / (n_layers + 1) for config in left]
    tokens = workers * shared + (cells * n * new * sum(behind) if plan.writes else 0)
    points = n * len(ARMS) * s.steps + 2 * n * new * (cells + 2)
    done = "" if len(left) == of else f" of {of} (the others are done)"
    wide = int(model.cfg.d_model)
    fits = BLOCKS if s.cross_fit else 1
    other = fits * len(left) * (points * ALL_OF_A_POINT + ALL_OF_A_LAYER) * step_seconds(wide)
    written = f", {cells} × {n} texts each" if plan.writes else ""
    return Cost(f"{len(left)} layers{done}{written}", tokens, token_rate(starts.prompts), other, workers)
