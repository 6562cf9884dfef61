"""Scores of texts by their largest token, and their areas on AxBench's detection task (Wu et al. 2025)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from einops import rearrange
from jaxtyping import Float, Int
from sklearn.metrics import roc_auc_score

import odesteer_tl as ode
from analyses.concepts.axbench import clip
from analyses.intervals import with_intervals
from analyses.scores import Rows, Score, Told
from odesteer_tl import stats
from odesteer_tl.plain import AnyModel

#: of every text so many tokens, evenly spaced, are fitted on
TOKENS = 8
#: texts of each class below which a concept has no area of its own
FEWEST = 3


@dataclass(frozen=True)
class Detection:
    """Areas of every score.

    Attributes:
        concepts: a row a concept × layer × score: `auroc`, `hard` (against hard negatives alone; NaN where there are
            fewer than three), how many texts of each kind, and the processor `seconds` that making the score took.
    """

    concepts: pd.DataFrame

    def frame(self) -> pd.DataFrame:
        """A row a layer × score × kind of negative: the mean over concepts, its 95 % interval, and N of concepts."""
        long = self.concepts.melt(["layer", "score"], ["auroc", "hard"], "negatives", "value").dropna()
        groups = long.groupby(["layer", "score", "negatives"], sort=False).value
        return pd.DataFrame(
            [{"layer": layer, "score": score, "negatives": {"auroc": "all", "hard": "hard"}[kind],
              **asdict(stats.mean(values.to_numpy()))} for (layer, score, kind), values in groups]
        )  # fmt: skip

    def table(self) -> pd.DataFrame:
        """The means for reading: a row a score, a column a layer and kind of negative."""
        frame = self.frame()
        against = [f"{kind} negatives, layer {layer}" for kind, layer in zip(frame.negatives, frame.layer, strict=True)]
        shown = frame.assign(text=with_intervals(frame), against=against)
        return shown.pivot_table("text", "score", "against", "first", sort=False)

    def __str__(self) -> str:
        found = self.concepts
        return (
            f"AUROC, mean of {found.concept.nunique()} concepts with 95 % interval over concepts; hard negatives: "
            f"{found.hard.notna().groupby(found.score).sum().max() // found.layer.nunique()} concepts have any\n"
            f"{self.table().to_markdown()}"
        )

    def _repr_html_(self) -> str:
        return self.table().to_html()


class Texts:
    """A folder's texts as the model reads them, each once, when they are first asked for."""

    def __init__(self, model: AnyModel, folder: Path, layers: Sequence[int]) -> None:
        self.model, self.folder, self.layers = model, folder, layers
        self._seen: dict[int, _Read] = {}

    @cached_property
    def _told(self) -> _Read:
        return _Read.of(self.model, pd.read_parquet(self.folder / "train_data.parquet"), self.layers)

    @cached_property
    def _evaluated(self) -> pd.DataFrame:
        return pd.read_parquet(self.folder / "latent_eval_data.parquet")

    def _held(self, number: int) -> _Read:
        if number not in self._seen:
            own = self._evaluated.loc[self._evaluated.concept_id == number]
            self._seen[number] = _Read.of(self.model, own, self.layers)
        return self._seen[number]

    def areas(self, layer: int, number: int, make: Callable[[Told], Score]) -> dict[str, float]:
        """Of the score that is made of a concept's training texts, over its evaluation texts."""
        told = Told(self._told.fitted_on(layer, number), self.model, self._told.contrast(number), layer)
        start = time.process_time()
        score = make(told)
        seconds = time.process_time() - start
        return {**_areas(self._held(number).largest(layer, number, score)), "seconds": seconds}


@dataclass(frozen=True)
class _Read:
    """Every token's state of texts, with which text each row belongs to.

    Attributes:
        texts: a row a text, by its group: `concept_id` and `category`.
        states, groups: by layer, and of each row of it.
    """

    texts: pd.DataFrame
    states: dict[int, Rows]
    groups: Int[np.ndarray, " n"]

    @classmethod
    def of(cls, model: AnyModel, rows: pd.DataFrame, layers: Sequence[int]) -> _Read:
        """Read each text once; what serves several concepts as a negative has a row for each in the texts."""
        positive = rows.category == "positive"
        rows = rows.assign(text=rows.output.map(clip))
        sides = [rows[positive], rows[~positive]]
        # texts of equally long classes would be pairs, and share a group
        apart = (range(len(sides[0])), range(len(sides[0]), len(rows)))
        contrast = ode.ContrastSet.from_texts(*(side.text.tolist() for side in sides), groups=apart)
        labels = (contrast.positive_groups, contrast.negative_groups)
        texts = pd.concat([side.assign(group=own) for side, own in zip(sides, labels, strict=True)])
        acts = ode.collect_activations(model, contrast, list(layers), read_position="all")
        taken = [acts[layer] for layer in layers]
        groups = np.concatenate([np.asarray(g) for g in taken[0].groups or ()])
        return cls(texts, {n: torch.cat([x.positive, x.negative]) for n, x in zip(layers, taken, strict=True)}, groups)

    def fitted_on(self, layer: int, number: int) -> ode.LayerActivations:
        """A few tokens of each text of a concept, against as many of each shared negative."""
        sides: list[tuple[Rows, tuple[int, ...]]] = []
        for own in (number, -1):
            at = _thinned(self.groups, set(self.texts[self.texts.concept_id == own].group))
            sides.append((self.states[layer][torch.from_numpy(at)], tuple(self.groups[at].tolist())))
        (positive, yes), (negative, no) = sides
        return ode.LayerActivations(positive, negative, yes, no)

    def contrast(self, number: int) -> ode.ContrastSet:
        """The texts of a concept against the shared negatives."""
        sides = [self.texts[self.texts.concept_id == own] for own in (number, -1)]
        groups = [side.group.tolist() for side in sides]
        return ode.ContrastSet.from_texts(*(side.text.tolist() for side in sides), groups=(groups[0], groups[1]))

    def largest(self, layer: int, number: int, score: Score) -> pd.DataFrame:
        """The concept's evaluation texts, with the largest `score` of each's tokens."""
        own = self.texts[self.texts.concept_id == number]
        at = np.isin(self.groups, own.group.unique())
        scores = score(self.states[layer][torch.from_numpy(at)])
        known, place = np.unique(self.groups[at], return_inverse=True)
        largest = np.full(len(known), -np.inf)
        np.maximum.at(largest, place, scores.numpy())
        return own.assign(score=largest[np.searchsorted(known, own.group)])


def _thinned(groups: Int[np.ndarray, " n"], wanted: set[int]) -> Int[np.ndarray, " m"]:
    """Up to `TOKENS` rows of each text: neighbours say nearly the same, and a kernel's fit is cubic in rows."""
    own = np.flatnonzero(np.isin(groups, list(wanted)))
    _, starts, counts = np.unique(groups[own], return_index=True, return_counts=True)
    at = np.linspace(starts, starts + counts - 1, TOKENS).round().astype(int)
    return own[np.unique(rearrange(at, "token text -> (text token)"))]


def _areas(texts: pd.DataFrame) -> dict[str, float]:
    """Areas of the positive texts against all others, and against the hard negatives alone."""
    of = {kind: texts.score[texts.category == kind].to_numpy() for kind in ("positive", "negative", "hard negative")}

    def area(against: Float[np.ndarray, " n"]) -> float:
        if min(len(of["positive"]), len(against)) < FEWEST:
            return float("nan")
        truth = [True] * len(of["positive"]) + [False] * len(against)
        return float(roc_auc_score(truth, np.concatenate([of["positive"], against])))

    both = np.concatenate([of["negative"], of["hard negative"]])
    counts = {f"{kind}s".replace(" ", "_"): len(found) for kind, found in of.items()}
    return {"auroc": area(both), "hard": area(of["hard negative"]), **counts}


def numbers_of(folder: Path, concepts: Sequence[int]) -> list[int]:
    """The concepts meant, all of the folder's where none is named.

    Raises:
        ValueError: one that the folder does not have.
    """
    known = sorted(
        {int(x) for x in pd.read_parquet(folder / "train_data.parquet", columns=["concept_id"]).concept_id} - {-1}
    )
    if unknown := sorted(set(concepts) - set(known)):
        raise ValueError(f"concepts={unknown} are not in {folder.name}; there are {known}")
    return list(concepts) or known
