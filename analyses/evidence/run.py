"""The runs behind the findings on real models: each a command of its own, so that any can be run by hand."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import tyro

from analyses.__main__ import COMMANDS
from analyses.command import renamed
from analyses.evidence import plan
from analyses.trajectory_likelihood import LikelihoodConfig

RESULTS, CONCEPTS = Path("results/evidence"), Path("results/concepts")
STUDIES = {
    "certification": "analyses.barrier_certification",
    "readers": "analyses.evidence.readers",
    "lenses": "analyses.evidence.lenses",
    "layers": "analyses.layer_effectiveness",
    "texts": "analyses.layer_effectiveness",
    "steering": "analyses.layer_effectiveness",
    "answers": "analyses.layer_effectiveness",
    "letters": "analyses.layer_effectiveness",
    "likelihood": "analyses.trajectory_likelihood",
    "densities": "analyses.layer_effectiveness",
    "detection": "analyses.detection",
}
#: of the studies that steer, what is measured beside the outcome, and over which tokens KL is counted
MEASURES = {
    "layers": ("geometry",),
    "texts": ("--max-new-tokens", "20"),
    "steering": ("geometry", "cost", "text", "--max-new-tokens", "20", "--passage", "text"),
    "answers": ("geometry", "--passage", "text"),
    "letters": ("geometry",),
}
#: pairs of a concept that is made of more: as many as the largest written here have
PAIRS = ("--pairs", "320")


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
        found = sorted(self.out.rglob("run.json"))
        if not found:
            return "left"
        same = self._kept == self._current(self.options) if self._options.is_file() else self._ran_so(found)
        return "done" if same else "other options"

    @property
    def _options(self) -> Path:
        return self.out / "options.json"

    @property
    def _kept(self) -> tuple[str, ...]:
        return self._current(json.loads(self._options.read_text()))

    def _current(self, options: Sequence[str]) -> tuple[str, ...]:
        """Options by their names of today: a run that was kept under a former name was the same run."""
        study = next(each for some in COMMANDS.values() for each in some if each.name == STUDIES[self.study])
        return tuple(renamed(study.options(), options))

    def _ran_so(self, found: Sequence[Path]) -> bool:
        """Whether what was run by hand, without `options.json`, had the planned settings, as its `run.json` has them.

        Known of the likelihood study alone: the others do not write down all that they are told.
        """
        if self.study != "likelihood":
            return False
        asked = tyro.cli(LikelihoodConfig, args=self.options)
        runs = [json.loads(file.read_text()) for file in found]
        planned = json.loads(json.dumps(asdict(asked.settings)))
        return {run.get("layer") for run in runs} == {*asked.layer} and all(
            run.get("settings") == planned for run in runs
        )

    def keep_options(self) -> None:
        """Write down with what it was run."""
        self._options.write_text(json.dumps(self.options, indent=1))

    def command(self, paths: Mapping[str, Path]) -> list[str]:
        """What is run, from the root of a checkout, once the concept's files are there.

        Args:
            paths: of files that are not ours, by option; detection reads AxBench's itself.
        """
        called = [sys.executable, "-m", STUDIES[self.study], "--model", self.model]
        cells = ("--executor", self.executor) if self.executor else ()
        if self.study == "detection":
            return [*called, "--data", str(paths["axbench"]), *self.options, *cells, "--out", str(self.out)]
        files = CONCEPTS / self.concept
        prompted = self.study not in ("readers", "likelihood")
        prompts = ("--prompts", str(files / "prompts.json")) if prompted else ()
        judged: tuple[str, ...] = ()
        if self.study in ("layers", "lenses", "densities", "steering", "answers", "letters"):
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
            for concept in concepts[place : place + 1]:
                yield from _of_concept(model, concept, executor)
    for model in plan.MODELS:
        yield Run(model.name, plan.AXBENCH, "detection", ("--layer", str(model.detection)), executor)
        for concept in model.further:
            yield from _of_concept(model, concept, executor)


def concept_command(run: Run, paths: Mapping[str, Path]) -> list[str]:
    """What writes the files of a run's concept.

    Args:
        paths: of files that are not ours, by option.
    """
    command = [sys.executable, "-m", "analyses.concepts"]
    match plan.asked(run.concept).path:
        case "axbench" | "axbench_other" as path:
            number = run.concept.rpartition("-")[2]
            return [*command, "axbench", "--folder", str(paths[path]), "--concept", number]
        case "corpus":
            return [*command, "sentiment", "--pairs", "160", "--corpus", str(paths["corpus"])]
        case "caa":
            files = (paths["caa"] / "generate/sycophancy/generate_dataset.json",
                     paths["caa"] / "test/sycophancy/test_dataset_ab.json")  # fmt: skip
            own = ("--fit", str(files[0]), "--test", str(files[1]), "--model", run.model)
            return [*command, run.concept, *own, *PAIRS]
        case "truthfulqa" | "hatecheck" as path:
            return [*command, run.concept, "--data", str(paths[path]), *PAIRS]
        case _:
            return [*command, run.concept]


def _of_concept(model: plan.Studied, concept: str, executor: str) -> Iterator[Run]:
    return (_run(model, concept, study, executor) for study in plan.asked(concept).studies)


def _run(model: plan.Studied, concept: str, study: str, executor: str) -> Run:
    if study in ("readers", "lenses"):
        return Run(model.name, concept, study, ())
    if study == "certification":
        own = ("--table-angle", *map(str, plan.ANGLES))
    elif study == "likelihood":
        own = ("--layer", *map(str, model.likelihood), "--fractions", *map(str, plan.FRACTIONS),
               "--text-angle", *map(str, plan.STRENGTHS))  # fmt: skip
        if concept in model.unsteered:
            own = (*own, "--texts", "unsteered")
    elif study == "densities":
        of = plan.asked(concept)
        own = ("--layer", *map(str, model.layers), "--methods", plan.INDICATED, "--kl", str(plan.LEVEL),
               "--select", str(of.select), "--test", str(of.test), "--fractions", *map(str, plan.FRACTIONS),
               "--measures", "geometry", "likelihood", "cost")  # fmt: skip
    else:
        whole = study == "layers" or (study == "texts" and concept in model.at_all)
        layers, levels = (model.layers, plan.KL) if whole else (model.texts, plan.KL[1:2])
        of, arms = plan.asked(concept), plan.AXBENCH_ARMS if study == "steering" else plan.ARMS
        own = ("--layer", *map(str, layers), "--methods", *arms, "--kl", *map(str, levels), "--angle",
               "--select", str(of.select), "--test", str(of.test), "--cross-fit",
               "--measures", *MEASURES[study])  # fmt: skip
    return Run(model.name, concept, study, own, executor)
