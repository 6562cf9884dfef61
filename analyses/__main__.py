"""What can be asked: `python -m analyses` lists the commands, with what each answers, how long it takes and writes."""

from __future__ import annotations

import sys
import textwrap
from dataclasses import dataclass
from importlib import import_module


@dataclass(frozen=True)
class Command:
    """A command line, `python -m NAME`.

    Attributes:
        name: of the module.
        settings: the name of its settings, as the module has it.
        answers: the question.
        time: about how long it takes on two cores as its settings stand.
        writes: where its results go by default, and what they are.
    """

    name: str
    settings: str
    answers: str
    time: str
    writes: str

    def options(self) -> object:
        """The settings' class; a union of several, or functions by name, where there are subcommands."""
        own = ("benchmarks", "measured", "search", "evidence", "concepts", "sweep")
        package = self.name in ("figures", *(A + name for name in own))
        return getattr(import_module(self.name + ".__main__" * package), self.settings)


A = "analyses."
COMMANDS: dict[str, tuple[Command, ...]] = {
    "A first look": (
        Command(A + "demo", "DemoConfig", "does steering work, and what does it look like? (embedded model)", "3 min",
                "results/demo: a table, texts before and after, two figures"),
    ),
    "Your own model and concept": (
        Command(A + "layer_effectiveness", "LayersConfig", "which layer, how strong, and does more than one step help?",
                "minutes to days; --dry-run says", "results/layers/…: a row a prompt, a report; resumable"),
        Command(A + "method_comparison", "ComparisonConfig", "which method, at equal angle, displacement and KL?",
                "an hour; --dry-run says", "results/comparison/…: a row a prompt, a report; resumable"),
        Command(A + "method_audit", "AuditConfig",
                "all that is measured of methods fitted and trained through the model: paths, costs, success",
                "hours; --dry-run says", "results/audit/CONCEPT/…: a row a method and measure; resumable"),
        Command(A + "barrier_certification", "CertificationConfig",
                "does the barrier rise on every step, and can it be trusted?", "minutes",
                "results/certification: tables, a figure"),
        Command(A + "trajectory_likelihood", "LikelihoodConfig",
                "does steering lead to where real positives are, or off the data?", "10 min a layer",
                "results/likelihood/layer-N: tables, figures"),
        Command(A + "flow_plane", "FlowPlaneConfig", "what do h, its field and the paths look like?", "1 min",
                "results/flow: tables; `make figures` draws them"),
        Command(A + "detection", "DetectionConfig", "which score tells texts of a concept from others (AxBench)",
                "minutes a concept", "the folder named by --out"),
        Command(A + "benchmarks", "Config", "TruthfulQA, UltraFeedback, toxicity, A/B questions, HateCheck",
                "hours with a large model", "the folder named by --out"),
    ),
    "The embedded model and planted data": (
        Command(A + "agreement", "AgreementConfig", "which barriers read an interaction, and which bring it about?",
                "20 min", "results/agreement: two tables"),
        Command(A + "reading_and_steering", "ReadingSteeringConfig",
                "why does a barrier that reads a concept not bring it about?", "15 min",
                "results/reading_and_steering: three tables"),
        Command(A + "synthetic_comparison", "SyntheticConfig",
                "which method gains most where the true log-ratio is known?", "20 min",
                "results/synthetic: four tables"),
        Command(A + "sketch_agreement", "SketchConfig", "how far does the sketch's hash seed decide the direction?",
                "10 min", "results/sketch: two tables"),
    ),
    "The findings on real models": (
        Command(A + "evidence", "EvidenceConfig", "all that they quote, run by run (`make evidence`)",
                "20 to 60 min a model and concept", "results/evidence/MODEL/CONCEPT/STUDY; resumable"),
        Command(A + "evidence.readers", "ReadersConfig", "which of three barriers reads a concept best, by layer?",
                "3 min", "the folder named by --out: a table"),
        Command(A + "evidence.lenses", "LensesConfig", "what does the unembedding read in every layer?",
                "1 min", "the folder named by --out: two tables"),
        Command(A + "evidence.tables", "TablesConfig", "their tables, from the results", "seconds",
                "results/evidence/tables"),
        Command(A + "evidence.together", "TogetherConfig",
                "what their kept tables say together: totals, intervals over concepts, rank correlations", "seconds",
                "analyses/measured: three tables"),
    ),
    "Looking at finished studies": (
        Command(A + "sweep", "COMMANDS", "how far is a study, and what failed? (status DIR, report DIR)", "seconds",
                "report: table.parquet in the study's folder"),
        Command(A + "search_replay", "ReplayConfig",
                "what would a search have found in the place of grids that were run?", "1 min a grid",
                "prints tables; with --out searches.parquet and grids.parquet"),
        Command(A + "early_looks", "EarlyConfig", "what do the first tokens of texts foretell of all of them?", "1 min",
                "prints a table; with --out early.parquet"),
        Command(A + "likelihood.report", "ReportConfig", "the likelihood study's tables, from its folders", "seconds",
                "results/likelihood/report"),
        Command("figures", "FiguresConfig", "every figure whose tables are there (`make figures`)", "1 min",
                "results/figures: PDF, PNG, caption, data"),
        Command(A + "measured", "MeasuredConfig", "keep a small table that a document quotes", "seconds",
                "analyses/measured/NAME.csv"),
    ),
    "Material, cost and coverage": (
        Command(A + "concepts", "BUILT",
                "pairs, prompts and a judge of a ready concept, as the files that studies take", "seconds",
                "results/concepts/NAME"),
        Command(A + "bench", "BenchConfig", "what steering, fitting and certifying cost (`make bench`)", "30 min",
                "results/bench: a table of ratios"),
        Command(A + "cost.serving", "ServingCostConfig", "what steered texts cost inside vLLM (`make test-vllm` first)",
                "10 min", "results/serving: a table"),
        Command(A + "cost.imports", "ImportCostConfig", "what importing costs", "2 min", "results/imports: a table"),
        Command(A + "search", "SimulationConfig",
                "does what a race says hold, over 10,000 simulated problems? (`make search-soak`)", "30 min",
                "results/search: a row a problem; resumable"),
        Command(A + "coverage", "CoverageConfig", "do intervals, bands and tests hold as often as they say?",
                "hours (`make coverage-soak`)", "two tables, with --out"),
    ),
}  # fmt: skip


def listed() -> str:
    """The commands as text for a terminal."""
    lines = [__doc__ or ""]
    for title, commands in COMMANDS.items():
        lines.append(f"\n{title}\n")
        for command in commands:
            lines.append(f"  python -m {command.name}")
            lines.append(textwrap.fill(command.answers, 96, initial_indent="      ", subsequent_indent="      "))
            lines.append(f"      {command.time}; {command.writes}")
    return "\n".join([*lines, "\nEach explains its options with --help."])


def as_markdown() -> str:
    """The commands as the tables of `analyses/README.md`."""
    lines: list[str] = []
    for title, commands in COMMANDS.items():
        lines += [f"## {title}", "", "| `python -m …` | answers | time | writes |", "|:--|:--|:--|:--|"]
        lines += [f"| `{c.name}` | {c.answers} | {c.time} | {c.writes} |" for c in commands] + [""]
    return "\n".join(lines)


if __name__ == "__main__":
    print(as_markdown() if "--markdown" in sys.argv else listed())
