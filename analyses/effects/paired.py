"""Methods beside each other, prompt by prompt: what each does more than nothing, than the placebo and than a plain one.

What is compared is the score of the outcome, which still tells methods apart where success is at its ceiling.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analyses.effects.audit import FITTED, TRAINED, made
from analyses.effects.tables import UNSTEERED, groups
from analyses.intervals import with_interval
from odesteer_tl import stats

#: what a direction without meaning does, and the mean difference, the simplest method there is
PLACEBO, BASELINE = "random", "caa"
#: declared beforehand: nothing, the placebo, and the mean difference
REFERENCES = (UNSTEERED, PLACEBO, BASELINE)
#: declared beforehand: do methods trained through the model do more than those fitted on activations?
FAMILIES = (TRAINED, FITTED)
#: a method with which fewer prompts than this share could spend the budget on their text is not at equal budget: shown
#: apart, not tested
SPENT = 0.95
#: so that of up to 249 tests in a family the least p-value there is (2 in 10,000) still passes Holm's correction
RESAMPLES = 9999
COLUMNS = ("method", "against", "budget", "level", "difference", "low", "high", "p", "p_holm", "n", "members")


@dataclass(frozen=True, eq=False)
class _Level:
    """Scores at one level of a budget.

    Attributes:
        scores: of the prompts, by label; of the unsteered model too, where it was measured.
        units: of each prompt.
        spent: labels with which the prompts could spend the budget.
        members: of each family those at equal budget, each method once, in its own form.
    """

    key: dict[str, Any]
    scores: dict[str, NDArray[np.float64]]
    units: NDArray[Any]
    spent: set[str]
    members: dict[str, list[str]]

    def has(self, name: str) -> bool:
        return name in self.scores or bool(self.members.get(name))

    def of(self, name: str) -> NDArray[np.float64]:
        """The scores of a label, or each prompt's mean over a family."""
        return np.mean([self.scores[one] for one in self.members.get(name, [name])], axis=0)

    def compared(self, first: str, second: str) -> dict[str, Any]:
        """A row of `COLUMNS` but for the correction; `tested` says whether both are at equal budget."""
        a, b = self.of(first), self.of(second)
        apart = stats.paired_difference(a, b, resamples=RESAMPLES, groups=self.units)
        return {
            **self.key, "method": first, "against": second, "difference": apart.value, "low": apart.low,
            "high": apart.high, "p": stats.difference_pvalue(a, b, RESAMPLES, groups=self.units), "n": apart.n,
            "members": "; ".join(", ".join(self.members[name]) for name in (first, second) if name in FAMILIES),
            "tested": {first, second} <= {*self.spent, UNSTEERED, *FAMILIES},
        }  # fmt: skip


def tests(table: pd.DataFrame) -> pd.DataFrame:
    """Every method against each of `REFERENCES`, at every level of every budget.

    Args:
        table: rows of a comparison at one layer; `unit`, where it is there, says which prompts are no independent ones.

    Returns:
        A row a method × reference × budget × level: `difference` of the mean score (method − reference) with its 95 %
        interval `low` to `high`, `p` of no difference, two-sided, `p_holm` corrected over all methods, budgets and
        levels of a reference, and `n` independent prompts. A method or reference with which fewer than `SPENT` of the
        prompts could spend the budget has no `p_holm`. Nothing where there are fewer units than an interval takes.
    """
    levels = list(_levels(table))
    parts = [
        _corrected([level.compared(label, reference) for level in levels if level.has(reference)
                    for label in level.scores if label not in (UNSTEERED, reference)])
        for reference in REFERENCES
    ]  # fmt: skip
    return pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)


def declared(table: pd.DataFrame, pairs: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """Pairs of methods, or of families of them, that were named beforehand.

    Args:
        table: as for `tests`.
        pairs: of labels, or of `FAMILIES`: of those each prompt's mean over the methods that are at equal budget, each
            in its own form, without the placebo. A pair of which one could not be fitted is left out.

    Returns:
        As `tests`, with Holm's correction over all rows, and the `members` of families.
    """
    levels = list(_levels(table)) if pairs else []
    return _corrected([
        level.compared(first, second) for level in levels for first, second in dict.fromkeys(pairs)
        if level.has(first) and level.has(second)
    ])  # fmt: skip


def shown(found: pd.DataFrame, budget: str, level: float) -> pd.DataFrame:
    """`tests` at one level for reading: a row a method, its difference to each reference and the corrected p."""
    wide: dict[str, dict[str, str]] = {}
    rows: list[dict[str, Any]] = found.query("budget == @budget and level == @level").to_dict("records")
    for row in sorted(rows, key=lambda row: REFERENCES.index(row["against"])):
        cells = wide.setdefault(row["method"], {})
        cells[f"− {row['against']}"] = with_interval(row["difference"], row["low"], row["high"])
        cells[f"p, {row['against']}"] = "†" if np.isnan(row["p_holm"]) else f"{row['p_holm']:.2g}"
    return pd.DataFrame.from_dict(wide, orient="index").fillna("–").rename_axis("method")


def _levels(table: pd.DataFrame) -> Iterator[_Level]:
    """Every level at which there are enough units for an interval."""
    rows = table.query("split == 'test'").sort_values("prompt", kind="stable")
    plain: Any = rows.query("label == @UNSTEERED").set_index("prompt")["score"]
    # in the order of the table, the prompts of each cell in theirs
    order = list(dict.fromkeys(map(str, table["label"])))
    for (budget, level), steered in groups(rows.query("label != @UNSTEERED"), ["budget", "level"]):
        cells = {str(label): cell for (label,), cell in groups(steered, ["label"])}
        first = next(iter(cells.values()))
        units = first["unit" if "unit" in first else "prompt"].to_numpy()
        if len(set(units)) < stats.LEAST:
            continue
        scores = {label: cells[label]["score"].to_numpy(dtype=float) for label in order if label in cells}
        if len(plain):
            scores[UNSTEERED] = plain.loc[first["prompt"]].to_numpy(dtype=float)
        reached = {label: cell["reached"].to_numpy(dtype=float).mean() for label, cell in cells.items()}
        spent = {label for label in cells if reached[label] >= SPENT}
        own = [label for label in scores if label in spent and label != PLACEBO]
        members = {family: [label for label in own if made(label) == family] for family in FAMILIES}
        yield _Level({"budget": budget, "level": level}, scores, units, spent, members)


def _corrected(found: list[dict[str, Any]]) -> pd.DataFrame:
    """The rows with Holm's correction over those that are tested; the others have none."""
    p = np.array([row["p"] if row["tested"] else np.nan for row in found])
    at = np.isfinite(p)
    if at.any():
        p[at] = stats.holm(p[at])
    rows = [{**row, "p_holm": corrected} for row, corrected in zip(found, p, strict=True)]
    return pd.DataFrame(rows, columns=list(COLUMNS))
