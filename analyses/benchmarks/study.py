"""Running a benchmark: fit on one part, choose layer and strength on another, report on a third."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm.auto import tqdm
from transformer_lens.model_bridge import TransformerBridge

import odesteer_tl as ode
from analyses.benchmarks.context import clipped
from analyses.benchmarks.presets import Unit
from analyses.benchmarks.splits import Fold
from analyses.benchmarks.task import Task, summary
from analyses.intervals import with_intervals
from analyses.runs import save_run
from odesteer_tl import stats
from odesteer_tl._words import require_one_of


@dataclass(frozen=True)
class Settings:
    """What is compared, and how it is chosen.

    Attributes:
        methods: names in `METHODS`; the unsteered model is always there.
        layers, strengths: what is chosen from, on validation units; one of each leaves nothing to choose.
        unit: of the strengths: T (activation units, as published), angle (radians) or relative (of the median norm).
            A method that has a strength of its own is used at that.
        folds: of the units, each tested once.
        validation: share of a training fold held back for the choice.
    """

    methods: tuple[str, ...] = ("odesteer", "caa", "random")
    layers: tuple[int, ...] = (0,)
    strengths: tuple[float, ...] = (0.2, 0.4)
    unit: Unit = "angle"
    folds: int = 2
    validation: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        for name in self.methods:
            require_one_of("methods", name, ode.METHODS)
        for name in ("layers", "strengths"):
            if not getattr(self, name):
                raise ValueError(f"{name}=() is empty; give at least one")


@dataclass(frozen=True)
class BenchmarkResult:
    """A benchmark of one model.

    Attributes:
        outcomes: a row a method × test unit.
        summary: a row a method × metric, with its 95 % interval over units and their number.
        differences: method − unsteered on the same units, with intervals over them.
        selection: what was tried on validation units, and `chosen`.
        baselines: what no model at all would reach.
        run: settings, model and splits.
    """

    outcomes: pd.DataFrame
    summary: pd.DataFrame
    differences: pd.DataFrame
    selection: pd.DataFrame
    baselines: pd.DataFrame
    run: dict[str, Any]

    def __str__(self) -> str:
        parts = [_table(self.summary, "method"), _table(self.baselines, "baseline"), _table(self.differences, "method")]
        titles = ("", "\nWithout a model:", "\nMethod − unsteered, same units:")
        return "\n".join(f"{t}\n{part}" for t, part in zip(titles, parts, strict=True) if part)

    def frame(self) -> pd.DataFrame:
        """The summary: a row a method × metric."""
        return self.summary

    def _repr_html_(self) -> str:
        return self.summary.to_html()

    def save(self, out: Path) -> Path:
        """Write all tables as parquet and `run.json`, all or nothing."""
        names = ("outcomes", "summary", "differences", "selection", "baselines")
        return save_run(out, {name: getattr(self, name) for name in names}, self.run)


def run_benchmark(task: Task, model: TransformerBridge, settings: Settings) -> BenchmarkResult:
    """Evaluate the unsteered model and every method at its chosen layer and strength on every fold's test units.

    Raises:
        ValueError: a layer the model has not, or what the task, `Flow` and the methods refuse.
    """
    folds = task.folds(settings.folds, settings.validation, settings.seed)
    outcomes: list[pd.DataFrame] = []
    selection: list[pd.DataFrame] = []
    provenance: list[dict[str, Any]] = []
    for k, fold in enumerate(folds):
        plain = {part: _with_units(task, model, part, None, None) for part in (fold.validation, fold.test)}
        outcomes.append(plain[fold.test].assign(method="unsteered", fold=k))
        acts = ode.collect_activations(model, clipped(model, task.contrast(fold.fit)), settings.layers)
        provenance.append({"contrast": acts.provenance, "n": [len(fold.fit), len(fold.validation), len(fold.test)]})
        for method in tqdm(settings.methods, desc=f"{task.name}, fold {k + 1} of {len(folds)}"):
            tried, steerer = _choose(task, model, acts, method, fold, settings, plain[fold.validation])
            selection.append(tried.assign(fold=k))
            found = _with_units(task, model, fold.test, steerer, plain[fold.test])
            outcomes.append(found.assign(method=method, fold=k))
    table = pd.concat(outcomes, ignore_index=True)
    run = {"task": task.name, "settings": asdict(settings), "model": asdict(ode.ModelIdentity.of(model)),
           "folds": provenance}  # fmt: skip
    unsteered = table.query("method == 'unsteered'")
    return BenchmarkResult(
        outcomes=table,
        summary=pd.concat([summary(task, own.drop(columns=["unit", "fold"])).assign(method=name)
                           for name, own in table.groupby("method", sort=False)], ignore_index=True),
        differences=_differences(table, settings.methods),
        selection=pd.concat(selection, ignore_index=True) if selection else pd.DataFrame({"method": []}),
        baselines=task.baselines(unsteered),
        run=run,
    )  # fmt: skip


def _with_units(
    task: Task, model: TransformerBridge, units: Sequence[int], steerer: ode.Steerer | None, plain: pd.DataFrame | None
) -> pd.DataFrame:
    found = task.evaluate(model, units, steerer, plain)
    if len(found) != len(units):
        raise ValueError(
            f"task={task.name!r} returned {len(found)} outcomes for {len(units)} units; none may be dropped"
        )
    return found.assign(unit=list(units))


def _choose(
    task: Task, model: TransformerBridge, acts: ode.Activations, method: str, fold: Fold, settings: Settings,
    plain: pd.DataFrame,
) -> tuple[pd.DataFrame, ode.Steerer]:  # fmt: skip
    """Everything tried on the validation units, and the best of it."""
    options = [steerer for layer in settings.layers for steerer in _steerers(acts, method, layer, settings)]
    values: list[float] = []
    for option in options:
        if len(options) == 1:  # nothing to choose, so nothing to run
            values.append(float("nan"))
        else:
            found = _with_units(task, model, fold.validation, option, plain)[task.criterion]
            values.append(float(found.to_numpy().mean()))
    sign = 1 if task.goal == "high" else -1
    best = max(range(len(options)), key=lambda i: sign * values[i] if len(options) > 1 else 0.0)
    tried = pd.DataFrame(
        {
            "method": method,
            "layer": [option.layer for option in options],
            "strength": [option.flow.strength for option in options],
            "unit": [option.flow.unit for option in options],
            task.criterion: values,
            "chosen": [i == best for i in range(len(options))],
        }
    )
    return tried, options[best]


def _steerers(acts: ode.Activations, name: str, layer: int, settings: Settings) -> list[ode.Steerer]:
    """One fit, at every strength; a method with a strength of its own is used at that."""
    method = ode.METHODS[name]
    field = method.fit_activations(acts[layer], settings.seed)
    strengths = [{settings.unit: s} for s in settings.strengths] if method.T is None else [{"T": method.T}]
    flows = [ode.Flow(steps=method.steps, solver=method.solver, **strength) for strength in strengths]
    provenance = {"method": name, "contrast": acts.provenance}
    first = ode.Steerer(field, flows[0], layer, model=acts.model, provenance=provenance)
    return [replace(first, flow=flow) for flow in flows]


def _differences(outcomes: pd.DataFrame, methods: Sequence[str]) -> pd.DataFrame:
    """Method − unsteered of every share and mean, paired by unit.

    Units that lack the figure in either are left out, and figures that fewer than five units have in both.
    """
    numbers = outcomes.set_index(["method", "unit"]).select_dtypes(["bool", "number"])
    numbers = numbers.drop(columns="fold").astype(float)
    rows: list[dict[str, Any]] = []
    for method in methods:
        for metric in numbers.columns.drop("perplexity", errors="ignore"):
            known = pd.DataFrame({name: numbers.loc[name][metric] for name in (method, "unsteered")}).dropna()
            if len(known) >= stats.LEAST:
                found = stats.paired_difference(known[method], known["unsteered"])
                rows.append({"method": method, "metric": metric, **vars(found)})
    return pd.DataFrame(rows)


def _table(figures: pd.DataFrame, by: str) -> str:
    """Figures with their intervals: a row a method, a column a metric."""
    if figures.empty:
        return ""
    texts = zip(with_intervals(figures), figures["n"], strict=True)
    text = figures.assign(text=[f"{text} (n={n:.0f})" for text, n in texts])
    shown = text.pivot_table(index=by, columns="metric", values="text", aggfunc="first", sort=False)
    return str(shown.fillna("–").to_markdown())
