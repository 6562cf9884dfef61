"""AxBench's detection task as a resumable study: a cell a concept, layer and score."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

import odesteer_tl as ode
from analyses.costing import Cost, text_tokens, token_rate
from analyses.models import model_digest
from analyses.prompted import Prompted
from analyses.reading.detection import Texts, numbers_of
from analyses.scores import SCORES, TRAINING
from analyses.sweep import Config, Study

#: of `detect_cell` and `Material`: raise it when their code, or that of a score, changes results
VERSION = "1"
#: the score that is trained through the model, and what a token of its training costs in forward tokens
TRAINED, BACKWARD = "ReFT-r1", 3.0
#: seconds to make any other score at a width of 576: choosing by cross-validation, solving
SECONDS = 1.0


class Material:
    """What cells share in a process: the model, and what it reads."""

    def __init__(self, model: str, folders: Sequence[Path], layers: Sequence[int]) -> None:
        self.model = ode.load_model(model)
        self.folders = {folder.name: Texts(self.model, folder, layers) for folder in folders}


def detection_study(
    model: str, folders: Sequence[Path], layers: Sequence[int], concepts: Sequence[int], scores: Sequence[str]
) -> Study:
    """A cell a concept, layer and score; cells of a concept run together, so that its texts are read once.

    Raises:
        ValueError: no concept of these numbers.
    """
    cells = tuple(
        {"concept": f"{folder.name}/{number}", "layer": layer, "score": score}
        for folder in folders for layer in layers for number in numbers_of(folder, concepts) for score in scores
    )  # fmt: skip
    settings = {"model": model_digest(model), "data": {folder.name: _digest(folder) for folder in folders}}
    context = partial(Material, model, tuple(folders), tuple(layers))
    return Study("detection", detect_cell, context, settings, VERSION, cells, "concept")


def detect_cell(material: Material, config: Config) -> pd.DataFrame:
    """The areas of one score of one concept at one layer."""
    folder, _, number = config["concept"].rpartition("/")
    areas = material.folders[folder].areas(config["layer"], int(number), SCORES[config["score"]])
    return pd.DataFrame([areas])


def estimate(material: Any, left: Sequence[Config], of: int, workers: int) -> Cost:
    """What so many scores will cost."""
    assert isinstance(material, Material)
    texts = next(iter(material.folders.values()))
    train, held = (pd.read_parquet(texts.folder / f"{name}_data.parquet") for name in ("train", "latent_eval"))
    concepts = len({config["concept"] for config in left})
    trained = sum(config["score"] == TRAINED for config in left)
    length = text_tokens(material.model, train.output.tolist()) / len(train)
    read = len(train) * workers + len(held) / held.concept_id.nunique() * concepts
    steps = TRAINING.steps * 2 * TRAINING.batch_size * BACKWARD
    other = (len(left) - trained) * SECONDS * (int(material.model.cfg.d_model) / 576) ** 2
    done = "" if len(left) == of else f" of {of} (the others are done)"
    rate = token_rate(Prompted(material.model, train.output.tolist()[:16]))
    return Cost(f"{len(left)} scores{done}", length * (read + trained * steps), rate, other, workers)


def _digest(folder: Path) -> str:
    found = hashlib.sha256()
    for name in ("train", "latent_eval"):
        found.update((folder / f"{name}_data.parquet").read_bytes())
    return found.hexdigest()[:16]
