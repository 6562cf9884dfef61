"""The tables of the findings on real models: a function each, of the folder of results."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from analyses.effects import tables
from analyses.effects.arms import PLACEBO
from analyses.evidence import contrasts, plan
from analyses.evidence.lensing import layer_per_prompt
from analyses.evidence.predictors import predictors
from analyses.evidence.run import CONCEPTS
from analyses.outcomes import Completions
from odesteer_tl import stats

#: findings of a certification, and the columns they become
FINDINGS = {
    "held-out AUC of h (texts)": "auc",
    "prompts with every step certified": "certified",
    "κθ": "bend",
    "quadratic share of ∇h": "quadratic_share",
    "efficiency: gain / best possible gain at the angle": "efficiency",
    "gain in the other half's h per gain in one's own": "other_half",
    "prompts whose certified radius exceeds bf16's bound": "bf16",
    "random: whole path certified": "random_certified",
}
#: the integrator of the published method
PUBLISHED = "euler"
#: whose best layer is to be predicted
ARM, LEVEL = "flow", plan.KL[1]
#: prompts whose texts are shown: the first of those that are reported on, whatever is written behind them
SHOWN = 10


def found(results: Path, study: str, table: str) -> Iterator[pd.DataFrame]:
    """A table of every finished run of a study, with its `model`, its `concept`, and its `layer` if it has one."""
    for model in plan.MODELS:
        for folder in sorted((results / model.name).glob(f"*/{study}")):
            for file in sorted(folder.rglob(f"{table}.parquet")):
                # what has no run beside it is not finished
                if (file.parent / "run.json").is_file():
                    kind, _, number = file.parent.name.partition("-")
                    own = {"layer": int(number)} if kind == "layer" else {}
                    yield pd.read_parquet(file).assign(model=model.name, concept=folder.parent.name, **own)


def _middle(rows: pd.DataFrame) -> pd.DataFrame:
    """What is unsteered or at the middle level of KL, at which texts are compared."""
    return rows.query("level in [0, @LEVEL]")


def _joined(parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """One below the other; empty where there is none."""
    tables = list(parts)
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def certification(results: Path) -> pd.DataFrame:
    """A row a model, concept and layer: what the certificates say, and how well the h that they are about reads."""
    parts = []
    for rows in found(results, "certification", "findings"):
        known = rows.loc[rows["what"].isin(list(FINDINGS))].replace({"what": FINDINGS}).rename(columns={"what": "name"})
        wide = known.pivot(index=["model", "concept", "layer"], columns="name", values=["value", "low", "high", "n"])
        wide.columns = [name if part == "value" else f"{name}_{part}" for part, name in wide.columns]
        parts.append(wide.reset_index())
    return _joined(parts)


def angles(results: Path) -> pd.DataFrame:
    """A row a model, concept, layer and angle: the share of prompts on whose published path h falls somewhere."""
    parts = [rows.query("integrator == @PUBLISHED") for rows in found(results, "certification", "strengths")]
    names = ["model", "concept", "layer", "angle", "violating", "violating_low", "violating_high", "steps_undecided",
             "saturation", "norm_ratio", "n"]  # fmt: skip
    return _joined(parts).reindex(columns=names)


def certified(results: Path) -> pd.DataFrame:
    """A row a model and concept: the worst of all layers at which h is shown to read anything.

    `climbs` is the largest angle up to which no prompt's path falls at any layer, `falls` the smallest at which
    some do.
    """
    layers, every = certification(results), angles(results)
    rows: list[dict[str, Any]] = []
    runs: Any = layers.groupby(contrasts.KEY, sort=False) if len(layers) else ()
    for (model, concept), of in runs:
        reads = of.loc[of["auc_low"] > 0.5]
        own = every.query("model == @model and concept == @concept")
        falling: Any = own.groupby("angle")["violating"].max()
        falls = falling[falling > 0].index.min()
        row = {"model": model, "concept": concept, "layers": len(of), "reads": len(reads),
               "auc": reads["auc"].median(), "certified": reads["certified"].min(),
               "bend": reads["bend"].max(), "quadratic_share": reads["quadratic_share"].max(),
               "efficiency": reads["efficiency"].min(), "bf16": reads["bf16"].min(),
               "random_least": reads["random_certified"].min(), "random_most": reads["random_certified"].max(),
               "other_least": reads["other_half"].min(), "other_most": reads["other_half"].max(),
               "climbs": falling[~(falling.index >= falls)].index.max(), "falls": falls,
               "n": own["n"].min()}  # fmt: skip
        rows.append(row)
    return pd.DataFrame(rows)


def compared(results: Path) -> pd.DataFrame:
    """A row a model, concept and pair of barriers: at how many layers the first reads better, worse, and neither."""
    read = readers(results)
    rows: list[dict[str, Any]] = []
    pairs: Any = (
        read.loc[read["what"].str.contains("−")].groupby([*contrasts.KEY, "what"], sort=False) if len(read) else ()
    )
    for (model, concept, what), of in pairs:
        better, worse = int((of["high"] < 0).sum()), int((of["low"] > 0).sum())
        first, _, second = str(what).removeprefix("log loss, ").partition(" − ")
        rows.append({"model": model, "concept": concept, "first": first, "second": second, "layers": len(of),
                     "better": better, "worse": worse, "neither": len(of) - better - worse,
                     "median": of["value"].median(), "least": of["value"].min(), "most": of["value"].max(),
                     "n": of["n"].min()})  # fmt: skip
    return pd.DataFrame(rows)


def texts(results: Path) -> pd.DataFrame:
    """A row a model, concept, layer and arm: the judge's score and success of the texts, and their fluency."""
    return _joined(_with(rows, "log_likelihood", "repetition", "empty")
                   for rows in map(_middle, found(results, "texts", "table")))  # fmt: skip


def frontier(results: Path) -> pd.DataFrame:
    """A row a model, concept, arm and level of texts written at several levels, at the layer that the select prompts
    choose for all arms but the placebo: success, the texts' mean log-likelihood, nats a token, and the share of prompts
    that reached the level, on test prompts."""
    rows: list[dict[str, Any]] = []
    for table in found(results, "texts", "table"):
        if len(set(table["level"])) <= len({0, LEVEL}):
            continue
        select: Any = table.loc[table["label"] != PLACEBO].query("split == 'select' and level == @LEVEL")
        layer = int(select.groupby("layer")["success"].mean().idxmax())
        test = table.query("split == 'test' and layer in [-1, @layer]")
        for _, cell in test.groupby(["label", "level"], sort=False):
            success, fluency = stats.share(cell["success"]), stats.mean(cell["log_likelihood"].dropna())
            rows.append({**{name: cell[name].iloc[0] for name in (*contrasts.KEY, "label", "level")}, "layer": layer,
                         "success": success.value, "success_low": success.low, "success_high": success.high,
                         "log_likelihood": fluency.value, "log_likelihood_low": fluency.low,
                         "log_likelihood_high": fluency.high, "reached": cell["reached"].mean(),
                         "n": success.n, "n_texts": fluency.n})  # fmt: skip
    return pd.DataFrame(rows)


def steering(results: Path) -> pd.DataFrame:
    """A row a model, AxBench's concept, layer and arm: how much likelier its held-out texts become than others, nats,
    beside the fluency of what is written and the KL on the instructions' tokens."""
    return _joined(_with(rows, "log_likelihood", "repetition", "empty", "kl_neutral")
                   for rows in found(results, "steering", "table"))  # fmt: skip


def _with(rows: pd.DataFrame, *names: str) -> pd.DataFrame:
    """A study's profile with the means of some columns over the test prompts."""
    test: Any = rows.query("split == 'test'").groupby(contrasts.CELL, dropna=False)
    return contrasts.profile(rows).merge(test[[*names]].mean().reset_index(), on=contrasts.CELL, how="left")


def answers(results: Path) -> pd.DataFrame:
    """A row a model, layer and arm: how often a correct answer of TruthfulQA is the likeliest (MC1), and MC2."""
    return _joined(_estimated(rows, "mc2", stats.mean) for rows in found(results, "answers", "table"))


def letters(results: Path) -> pd.DataFrame:
    """A row a model, layer and arm: how often CAA's letter that agrees is the likelier, and the share of (A).

    `share_a` is of what is answered, `agreeing_a` of the letters that agree: a model of one letter has their share.
    """
    parts: list[pd.DataFrame] = []
    for rows in found(results, "letters", "table"):
        folder = CONCEPTS / str(rows["concept"].iloc[0])
        prompts = json.loads((folder / "prompts.json").read_text())
        agreeing, _ = Completions.read(folder / "words.json").options([prompts[i] for i in rows["prompt"]])
        agrees = [side == ("A",) for side in agreeing]
        own = rows.assign(share_a=rows["success"] == agrees, agreeing_a=agrees)
        wide = _estimated(own, "share_a", stats.share)
        parts.append(wide.assign(agreeing_a=own.query("split == 'test'")["agreeing_a"].mean()))
    return _joined(parts)


def _estimated(rows: pd.DataFrame, name: str, estimate: Callable[[Any], stats.Estimate]) -> pd.DataFrame:
    """A study's profile with the estimate of a column over the test prompts, and its interval."""
    cells = [(key, estimate(cell[name])) for key, cell in tables.groups(rows.query("split == 'test'"), contrasts.CELL)]
    known = [(*key, of.value, of.low, of.high) for key, of in cells]
    names = [*contrasts.CELL, name, f"{name}_low", f"{name}_high"]
    return contrasts.profile(rows).merge(pd.DataFrame(known, columns=names), on=contrasts.CELL, how="left")


def declared_answers(results: Path) -> pd.DataFrame:
    """The declared comparisons of success on questions and on letters, in every (model, concept, layer).

    Score and success are other quantities than those of words and texts, so they are in none of those tables.
    """
    parts = []
    for study in ("answers", "letters"):
        for rows in found(results, study, "table"):
            own = {name: rows[name].iloc[0] for name in contrasts.KEY}
            parts.append(tables.contrasts(rows, "kl", contrasts.PAIRS, plan.MARGIN).assign(**own))
    return _joined(parts)


def written(results: Path) -> pd.DataFrame:
    """A row a model, concept, layer, arm and prompt: what is written behind the first test prompts, and its score."""
    parts = []
    for rows in map(_middle, found(results, "texts", "table")):
        prompts = json.loads((CONCEPTS / str(rows["concept"].iloc[0]) / "prompts.json").read_text())
        test = rows.query("split == 'test'")
        shown = test.loc[test["prompt"].isin(sorted(test["prompt"].unique())[:SHOWN])].copy()
        shown["begins"] = [prompts[i] for i in shown["prompt"]]
        # in one line each, so that a table can show them
        pairs = zip(shown["text"], shown["begins"], strict=True)
        shown["goes_on"] = [" ".join(text.removeprefix(begins).split()) for text, begins in pairs]
        parts.append(shown[[*contrasts.KEY, *contrasts.CELL, "begins", "goes_on", "score", "success"]])
    return _joined(parts)


def readers(results: Path) -> pd.DataFrame:
    """A row a model, concept, layer and what: AUC and log loss of each barrier, and their differences."""
    parts = list(found(results, "readers", "readers"))
    names = ["model", "concept", "layer", "what", "value", "low", "high", "n"]
    return _joined(parts).reindex(columns=names)


def layers(results: Path) -> pd.DataFrame:
    """A row a model, concept, layer, arm and level: mean change of the log-odds from unsteered, and success."""
    parts = [contrasts.profile(rows) for rows in found(results, "layers", "table")]
    return _joined(parts)


def declared(results: Path) -> pd.DataFrame:
    """The declared comparisons, a row each pair of arms and level, over concepts and prompts."""
    return contrasts.pooled(list(found(results, "layers", "table")))


def declared_steering(results: Path) -> pd.DataFrame:
    """The same of AxBench's concepts: nats of whole texts, not of single words, and so by themselves."""
    return contrasts.pooled(list(found(results, "steering", "table")), plan.TEXT_NATS)


def cells_steering(results: Path) -> pd.DataFrame:
    """The same in every (model, AxBench's concept, layer)."""
    return _joined(contrasts.by_cell(rows, plan.TEXT_NATS) for rows in found(results, "steering", "table"))


def cells(results: Path) -> pd.DataFrame:
    """The declared comparisons in every (model, concept, layer, level)."""
    parts = [contrasts.by_cell(rows) for rows in found(results, "layers", "table")]
    return _joined(parts)


def likelihood(results: Path) -> pd.DataFrame:
    """A row a model, concept, layer and arm: T*, changes of log p₊ and log p₋, and the share off the data."""
    return _joined(found(results, "likelihood", "summary"))


def foretold(results: Path) -> pd.DataFrame:
    """A row a model, concept, layer, scope, outcome and score of the steered tokens: how well it ranks the texts."""
    parts = [rows for rows in found(results, "likelihood", "prediction") if len(rows)]
    names = [*contrasts.KEY, "layer", "of", "predictor", "scope", "rho", "rho_low", "rho_high",
             "auc", "auc_low", "auc_high", "cells", "n"]  # fmt: skip
    known = _joined(parts).reindex(columns=["place", *names])
    return known.loc[(known["place"] == "tokens") & known["predictor"].isin(["log_positive", "h_calibrated"]), names]


def lenses(results: Path) -> pd.DataFrame:
    """A row a model, concept and layer: the AUC of what the unembedding reads there."""
    return _joined(found(results, "lenses", "lenses"))


def per_prompt(results: Path) -> pd.DataFrame:
    """A row a model, concept and rule: what a layer for every prompt gains on one layer for all."""
    states = {tuple(x[name].iloc[0] for name in contrasts.KEY): x for x in found(results, "lenses", "states")}
    parts = []
    for rows in found(results, "layers", "table"):
        own = {name: rows[name].iloc[0] for name in contrasts.KEY}
        of = states.get(tuple(own.values()))
        if of is not None:
            parts.append(layer_per_prompt(rows, of.drop(columns=contrasts.KEY), ARM, LEVEL).assign(**own))
    return _joined(parts)


def predicted(results: Path) -> pd.DataFrame:
    """A row a model, concept and indicator of the layer: what picking by it costs."""
    read = pd.concat([readers(results), lenses(results).assign(what="LAP")], ignore_index=True)
    parts = []
    for rows in found(results, "layers", "table"):
        own = {name: rows[name].iloc[0] for name in contrasts.KEY}
        beside = read.query("model == @own['model'] and concept == @own['concept']") if len(read) else read
        parts.append(predictors(rows, beside, ARM, LEVEL).assign(**own))
    return _joined(parts)


def detection(results: Path) -> pd.DataFrame:
    """A row a model, layer, score and kind of negative: the mean area over AxBench's concepts."""
    return _joined(found(results, "detection", "table"))


TABLES = {f.__name__: f for f in (certification, angles, certified, readers, compared, lenses, layers, texts, frontier,
                                  written, declared, cells, answers, letters, declared_answers,
                                  steering, declared_steering, cells_steering, predicted,
                                  per_prompt, likelihood, foretold, detection)}  # fmt: skip
