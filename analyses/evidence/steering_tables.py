"""The tables of what steering does on real models: a function each, of the folder of results."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analyses.effects import tables
from analyses.effects.arms import PLACEBO
from analyses.evidence import contrasts, plan
from analyses.evidence.found import found, joined
from analyses.evidence.plan import LEVEL
from analyses.evidence.run import CONCEPTS
from analyses.outcomes import Completions
from odesteer_tl import stats

#: prompts whose texts are shown: the first of those that are reported on, whatever is written behind them
SHOWN = 10


def layers(results: Path) -> pd.DataFrame:
    """A row a model, concept, layer, arm and level: mean change of the log-odds from unsteered, and success."""
    parts = [contrasts.profile(rows) for rows in found(results, "layers", "table")]
    return joined(parts)


def cells(results: Path) -> pd.DataFrame:
    """The declared comparisons in every (model, concept, layer, level)."""
    parts = [contrasts.by_cell(rows) for rows in found(results, "layers", "table")]
    return joined(parts)


def declared(results: Path) -> pd.DataFrame:
    """The declared comparisons, a row each pair of arms and level, over concepts and prompts."""
    return contrasts.pooled(list(found(results, "layers", "table")))


def texts(results: Path) -> pd.DataFrame:
    """A row a model, concept, layer and arm: the judge's score and success of the texts, and their fluency."""
    return joined(_with(rows, "log_likelihood", "repetition", "empty")
                   for rows in map(_middle, found(results, "texts", "table")))  # fmt: skip


def _middle(rows: pd.DataFrame) -> pd.DataFrame:
    """What is unsteered or at the middle level of KL, at which texts are compared."""
    return rows.query("level in [0, @LEVEL]")


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
    return joined(parts)


def steering(results: Path) -> pd.DataFrame:
    """A row a model, AxBench's concept, layer and arm: how much likelier its held-out texts become than others, nats,
    beside the fluency of what is written, the KL on the instructions' tokens and the cosine with a fit of another
    seed."""
    return joined(_with(rows, "log_likelihood", "repetition", "empty", "kl_neutral", "cosine_seeds")
                   for rows in found(results, "steering", "table"))  # fmt: skip


def cells_steering(results: Path) -> pd.DataFrame:
    """The same in every (model, AxBench's concept, layer)."""
    return joined(contrasts.by_cell(rows, plan.TEXT_NATS) for rows in found(results, "steering", "table"))


def declared_steering(results: Path) -> pd.DataFrame:
    """The same of AxBench's concepts: nats of whole texts, not of single words, and so by themselves."""
    return contrasts.pooled(list(found(results, "steering", "table")), plan.TEXT_NATS)


def _with(rows: pd.DataFrame, *names: str) -> pd.DataFrame:
    """A study's profile with the means of some columns over the test prompts, and their intervals.

    An empty text has no log-likelihood, and is in no mean of it; prompts that are judged by the same texts are one.
    """
    found = contrasts.profile(rows)
    for name in names:
        own: list[dict[str, Any]] = []
        for key, cell in tables.groups(rows.query("split == 'test'"), contrasts.CELL):
            known = cell.loc[cell[name].notna()]
            of = _mean(known[name], known.get("unit"))
            own.append({**dict(zip(contrasts.CELL, key, strict=True)), name: of.value, f"{name}_low": of.low,
                        f"{name}_high": of.high})  # fmt: skip
        found = found.merge(pd.DataFrame(own), on=contrasts.CELL, how="left")
    return found


def _mean(values: Any, units: Any) -> stats.Estimate:
    """A mean, of which there may be nothing."""
    return stats.mean(values, groups=units) if len(values) else stats.Estimate(np.nan, -np.inf, np.inf, 0)


def answers(results: Path) -> pd.DataFrame:
    """A row a model, layer and arm: how often a correct answer of TruthfulQA is the likeliest (MC1), and MC2."""
    return joined(_estimated(rows, "mc2", stats.mean) for rows in found(results, "answers", "table"))


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
    return joined(parts)


def declared_answers(results: Path) -> pd.DataFrame:
    """The declared comparisons of success on questions and on letters, in every (model, concept, layer).

    Score and success are other quantities than those of words and texts, so they are in none of those tables.
    """
    parts = []
    for study in ("answers", "letters"):
        for rows in found(results, study, "table"):
            own = {name: rows[name].iloc[0] for name in contrasts.KEY}
            parts.append(tables.contrasts(rows, "kl", contrasts.PAIRS, plan.MARGIN).assign(**own))
    return joined(parts)


def _estimated(rows: pd.DataFrame, name: str, estimate: Callable[[Any], stats.Estimate]) -> pd.DataFrame:
    """A study's profile with the estimate of a column over the test prompts, and its interval."""
    cells = [(key, estimate(cell[name])) for key, cell in tables.groups(rows.query("split == 'test'"), contrasts.CELL)]
    known = [(*key, of.value, of.low, of.high) for key, of in cells]
    names = [*contrasts.CELL, name, f"{name}_low", f"{name}_high"]
    return contrasts.profile(rows).merge(pd.DataFrame(known, columns=names), on=contrasts.CELL, how="left")


#: in the order in which they are written
TABLES = (layers, cells, declared, texts, frontier, written, answers, letters, declared_answers,
          steering, cells_steering, declared_steering)  # fmt: skip
