"""The runs behind the findings on real models: each a command of its own, so that any can be run by hand."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from analyses.evidence import plan

RESULTS, CONCEPTS = Path("results/evidence"), Path("results/concepts")
STUDIES = {
    "certification": "analyses.barrier_certification",
    "readers": "analyses.evidence.readers",
    "lenses": "analyses.evidence.lenses",
    "layers": "analyses.layer_effectiveness",
    "texts": "analyses.layer_effectiveness",
    "steering": "analyses.layer_effectiveness",
    "likelihood": "analyses.trajectory_likelihood",
    "detection": "analyses.detection",
}
OF_CONCEPTS = tuple(study for study in STUDIES if study not in ("detection", "steering"))
#: of the studies that steer, what is measured beside the outcome, and over which tokens KL is counted
MEASURES = {
    "layers": ("geometry",),
    "texts": ("--max-new-tokens", "20"),
    "steering": ("geometry", "cost", "text", "--max-new-tokens", "20", "--passage", "text"),
}
#: concepts made of files that are not ours
AXBENCH, CORPUS = "axbench-concept10_2b_l20", "sentiment-corpus"


@dataclass(frozen=True)
class Run:
    """One study of one concept in one model.

    Attributes:
        model, concept: as `load_model` and `python -m analyses.concepts` have them.
        study: of `STUDIES`.
        options: of its command line, but for model, files, executor and folder.
        executor: of its cells, which does not change what is found.
    """

    model: str
    concept: str
    study: str
    options: tuple[str, ...]
    executor: str = ""

    @property
    def out(self) -> Path:
        """The folder of results."""
        return RESULTS / self.model / self.concept / self.study

    @property
    def state(self) -> str:
        """Whether it is "done", "left", or was done with "other options" than are planned now."""
        if not any(self.out.rglob("run.json")):
            return "left"
        return "done" if self._options.is_file() and self._kept == self.options else "other options"

    @property
    def _options(self) -> Path:
        return self.out / "options.json"

    @property
    def _kept(self) -> tuple[str, ...]:
        return tuple(json.loads(self._options.read_text()))

    def keep_options(self) -> None:
        """Write down with what it was run."""
        self._options.write_text(json.dumps(self.options, indent=1))

    def command(self, axbench: Path | None = None) -> list[str]:
        """What is run, from the root of a checkout, once the concept's files are there.

        Args:
            axbench: the folder with AxBench's parquet files, which detection reads itself.
        """
        called = [sys.executable, "-m", STUDIES[self.study], "--model", self.model]
        cells = ("--executor", self.executor) if self.executor else ()
        if self.study == "detection":
            return [*called, "--data", str(axbench), *self.options, *cells, "--out", str(self.out)]
        files = CONCEPTS / self.concept
        prompted = self.study not in ("readers", "likelihood")
        prompts = ("--prompts", str(files / "prompts.json")) if prompted else ()
        judged: tuple[str, ...] = ()
        if self.study in ("layers", "lenses", "steering"):
            judged = ("--outcome", str(files / "words.json"))
        elif self.study in ("texts", "likelihood"):
            judged = ("--outcome", json.loads((files / "concept.json").read_text())["judge"])
        given = ("--contrast", str(files / "pairs.jsonl"), *prompts, *judged, *self.options, *cells)
        return [*called, *given, "--out", str(self.out)]


def runs(executor: str = "local") -> Iterator[Run]:
    """All that is planned, in the order in which it answers most soonest."""
    of_each = [model.concepts for model in plan.MODELS]
    for place in range(max(map(len, of_each))):
        for model, concepts in zip(plan.MODELS, of_each, strict=True):
            for study in OF_CONCEPTS if place < len(concepts) else ():
                yield _run(model, concepts[place], study, executor)
    for model in plan.MODELS:
        for number in model.axbench:
            for study in ("certification", "readers", "steering"):
                yield _run(model, f"{AXBENCH}-{number}", study, executor)
        yield Run(model.name, AXBENCH, "detection", ("--layer", str(model.detection)), executor)
        for source in model.sources:
            for study in ("readers", "texts"):
                yield _run(model, source, study, executor)


def concept_command(concept: str, axbench: Path | None, corpus: Path | None) -> list[str]:
    """What writes a concept's files.

    Args:
        axbench: the folder with AxBench's parquet files. corpus: a file of labelled sentences.
    """
    command = [sys.executable, "-m", "analyses.concepts"]
    if concept.startswith(AXBENCH):
        return [*command, "axbench", "--folder", str(axbench), "--concept", concept.rpartition("-")[2]]
    if concept == CORPUS:
        return [*command, "sentiment", "--pairs", "160", "--corpus", str(corpus)]
    return [*command, concept]


def _run(model: plan.Studied, concept: str, study: str, executor: str) -> Run:
    if study in ("readers", "lenses"):
        return Run(model.name, concept, study, ())
    if study == "certification":
        own = ("--strengths", *map(str, plan.ANGLES))
    elif study == "likelihood":
        own = ("--layer", *map(str, model.likelihood), "--fractions", *map(str, plan.FRACTIONS),
               "--strengths", *map(str, plan.STRENGTHS))  # fmt: skip
    else:
        layers, levels = (model.layers, plan.KL) if study == "layers" else (model.texts, plan.KL[1:2])
        arms, select, test = plan.ARMS, plan.SELECT, plan.TEST
        if study == "steering":
            arms, select, test = plan.AXBENCH_ARMS, plan.AXBENCH_SELECT, plan.AXBENCH_TEST
        own = ("--layers", *map(str, layers), "--arms", *arms, "--kl", *map(str, levels), "--angle",
               "--select", str(select), "--test", str(test), "--cross-fit", "--measures", *MEASURES[study])  # fmt: skip
    return Run(model.name, concept, study, own, executor)
