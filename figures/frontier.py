"""The frontier of methods at equal budgets: what they achieve and what is left of the text, against what they cost."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray

from figures.captions import counts, listed
from figures.looks import REST, Look, highlighted, label_ends
from figures.save import PAGE, STYLE, save

#: column and title of what is given equally
BUDGETS = {"angle": ("level", "angle asked for (rad)", "equal angle"),
           "kl": ("kl", "KL from the unsteered model (nats)", "equal KL")}  # fmt: skip
CAPTION = """\
Every method at equal budgets, concept {concept}, layer {layers}. {panels} Lines join growing strengths; bars: 95 %
intervals. N = {n} prompts a point. In colour: {shown}. In grey: {rest}. {plain}{source}"""
UNSTEERED = "unsteered"
PLAIN = "Black, dotted: the unsteered model. "


def draw_frontier(table: pd.DataFrame, out: Path, source: str = "") -> list[Path]:
    """Draw `success` and `parses` against the budget, a row of panels a budget, a line a method.

    Args:
        table: of one concept: `method`, `budget` ("angle" or "kl"), `level`, `kl`, `success` (both with `_low` and
            `_high`), `parses`, `n`, `concept`, `layer`.
        source: sentences for the caption on where the table comes from.

    Raises:
        ValueError: the table has more than one concept, or neither budget; rows of any other are not drawn, but the
            unsteered model's as a line.
    """
    concepts = sorted(set(table["concept"]))
    if len(concepts) != 1:
        raise ValueError(f"table has the concepts {', '.join(concepts)}; draw one at a time")
    unsteered = table.loc[table["method"] == UNSTEERED]
    table = table.loc[table["budget"].isin(list(BUDGETS))]
    budgets = [budget for budget in BUDGETS if budget in set(table["budget"])]
    if not budgets:
        raise ValueError(
            f"table has no row whose budget is one of {', '.join(BUDGETS)}; there is nothing to compare at"
        )
    scores = {str(name): max(rows["success"].tolist()) for name, rows in table.groupby("method", sort=False)}
    looks = highlighted(scores)
    said: list[str] = []
    with plt.style.context(STYLE):
        figure, axes = plt.subplots(len(budgets), 2, figsize=(PAGE, 2.6 * len(budgets)), squeeze=False)
        letters = iter("abcdefgh")
        for (left, right), budget in zip(axes, budgets, strict=True):
            rows, (column, title, short) = table.loc[table["budget"] == budget], BUDGETS[budget]
            first, second = next(letters), next(letters)
            ends = _panel(left, rows, column, "success", looks)
            _panel(right, rows, column, "parses", looks)
            left.set(title=f"({first}) success at {short}", xlabel=title, ylabel="success")
            right.set(title=f"({second}) texts that parse at {short}", xlabel=title, ylabel="texts that parse")
            for axis, value in ((left, "success"), (right, "parses")):
                for height in unsteered[value]:
                    axis.axhline(height, color="black", ls=":", lw=0.9, zorder=1)
            label_ends(left, ends, looks)
            short_of = "; who cannot spend a level stands before it" if budget == "kl" else ""
            said.append(f"({first}) Success and ({second}) share of texts that parse against the {title}{short_of}.")
        caption = CAPTION.format(
            plain=PLAIN if len(unsteered) else "",
            concept=concepts[0], layers=counts(table["layer"]), panels=" ".join(said), n=counts(table["n"]),
            shown=listed(looks), rest=listed(m for m in scores if m not in looks) or "nothing", source=source,
        )  # fmt: skip
        written = save(figure, out, "frontier", caption, table)
        plt.close(figure)
    return written


def _panel(axis: Axes, rows: pd.DataFrame, x: str, y: str, looks: dict[str, Look]) -> dict[str, tuple[float, float]]:
    """A line a method; where the highlighted ones end."""
    ends: dict[str, tuple[float, float]] = {}
    for name, found in rows.sort_values("level").groupby("method", sort=False):
        look = looks.get(str(name))
        if look is None:
            axis.plot(found[x], found[y], **REST)
            continue
        axis.errorbar(found[x], found[y], xerr=_errors(found, x), yerr=_errors(found, y), ms=3.5, lw=1.2,
                      elinewidth=0.6, zorder=3, **look)  # fmt: skip
        ends[str(name)] = (float(found[x].iloc[-1]), float(found[y].iloc[-1]))
    axis.set_ylim(-0.03, 1.05)
    levels = sorted(set(rows["level"]))
    # levels grow by factors
    axis.set(xscale="log", xlim=(0.8 * levels[0], 1.15 * max(levels[-1], rows[x].max())))
    axis.set_xticks(levels, [f"{level:g}" for level in levels])
    axis.xaxis.set_minor_locator(NullLocator())
    return ends


def _errors(rows: pd.DataFrame, name: str) -> NDArray[np.float64] | None:
    """Lengths of the interval below and above, for what has one."""
    if f"{name}_low" not in rows:
        return None
    low, value, high = (rows[column].to_numpy(dtype=float) for column in (f"{name}_low", name, f"{name}_high"))
    return np.maximum([value - low, high - value], 0.0)
