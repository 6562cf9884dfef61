"""By how much each way to steer changes the outcome's log-odds at equal KL, layer by layer."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from figures.captions import MODELS, counts
from figures.drawing import PAGE, Drawing, Place, page
from figures.looks import ACROSS, handles, looks

UNSTEERED, PLACEBO = "unsteered", "random, geodesic"
CAPTION = """\
Change of the log-odds of the concept's words from the unsteered model's (nats, mean over {n} test prompts), by the
layer steered at, at equal KL of the next token's distribution: a row a model and concept, a column a level of KL.
Bands: 95 % intervals of the published method and of the placebo, a random direction, which stands in every panel; 0,
black and dotted, is the unsteered model itself. {short}{source}"""
#: share of the prompts that must have spent the budget, for the comparison to be one at equal KL
SPENT = 0.9


def draw_layer_changes(table: pd.DataFrame, *, source: str = "", figure: Place = None) -> Drawing:
    """Draw `change` by layer for every method, a row of panels a model and concept.

    Args:
        table: `model`, `concept`, `layer`, `label`, `level`, `change`, `low`, `high`, `reached`, `n`.
        source: sentences for the caption on where the table comes from. figure: see `page`.
    """
    steered = table.loc[table["label"] != UNSTEERED]
    runs = list(dict.fromkeys(zip(steered["model"], steered["concept"], strict=True)))
    levels = sorted({float(level) for level in steered["level"]})
    drawn = looks(dict.fromkeys(steered["label"]))
    with page(figure, PAGE, 1.75 * len(runs) + 0.5) as figure:
        axes = figure.subplots(len(runs), len(levels), squeeze=False, sharex="row", sharey="row")
        for row, (model, concept) in zip(axes, runs, strict=True):
            for axis, level in zip(row, levels, strict=True):
                _panel(axis, steered.query("model == @model and concept == @concept and level == @level"), drawn)
                axis.set_title(f"{concept}, {MODELS.get(model, model)}: {level:g} nats", fontsize=7)
            row[0].set_ylabel("change of log-odds (nats)")
        for axis in axes[-1]:
            axis.set_xlabel("layer steered at")
        figure.legend(
            handles=handles({**drawn, UNSTEERED: ACROSS}), loc="outside upper left", ncols=4, handlelength=3.2
        )
        few = int((steered["reached"] < SPENT).sum())
        short = "" if not few else f"Hollow: fewer than {SPENT:.0%} of the prompts could spend the KL ({few} points). "
        caption = CAPTION.format(n=counts(steered["n"]), short=short, source=source)
        return Drawing(figure, "layer_changes", caption, steered)


def _panel(axis: Axes, rows: Any, drawn: dict[str, Any]) -> None:
    axis.axhline(0, **ACROSS)
    for label, look in drawn.items():
        own = rows[rows["label"] == label].sort_values("layer")
        if label in (PLACEBO, "odesteer"):
            axis.fill_between(own["layer"], own["low"], own["high"], color=look["color"], alpha=0.2, lw=0)
        line: dict[str, Any] = {**look, "marker": "", "lw": 1.1}
        axis.plot(own["layer"], own["change"], **line)
        for spent, face in ((True, look["color"]), (False, "white")):
            at = own[(own["reached"] >= SPENT) == spent]
            axis.plot(at["layer"], at["change"], ls="", marker=look["marker"], ms=3.5, color=look["color"], mfc=face,
                      mew=0.8)  # fmt: skip
