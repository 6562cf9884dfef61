"""How far along a path states get likelier under the positives' own density, and how many are on its data, by layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from figures.captions import MODELS, counts
from figures.drawing import PAGE, Drawing, Place, page
from figures.looks import ACROSS, handles, looks

#: of a layer's place, by which the marks of different methods are set apart
APART = 0.12
#: columns, and labels of the two rows
ROWS = {"t_star": "T*, where mean\nlog p₊ peaks (rad)", "outside": "off the data\nat {angle:g} rad (share)"}
CAPTION = """\
Paths that start at last tokens of held-out negative texts, by layer. Above: T*, the strength at which the mean of
log p₊ peaks; at 0 it never rises. Below: the share of states at {angle:g} rad that are less likely under p₊ than
97.5 % of held-out positives; black, dotted: of the unsteered starts. Whiskers: 95 % intervals over {n} wordings. The
placebo is a random direction. {source}"""


def draw_peaks(table: pd.DataFrame, angle: float, *, source: str = "", figure: Place = None) -> Drawing:
    """Draw T* and the share off the data, a column a concept and two rows a model.

    Args:
        table: `model`, `concept`, `layer`, `method`, `t_star` and `outside` with `_low` and `_high`,
            `outside_at_start`, `n`.
        angle: at which `outside` was measured, radians.
        source: sentences for the caption on where the table comes from. figure: see `page`.
    """
    runs = dict.fromkeys(zip(table["model"], table["concept"], strict=True))
    concepts = {model: [of for other, of in runs if other == model] for model, _ in runs}
    drawn, width = looks(dict.fromkeys(table["method"])), max(map(len, concepts.values()))
    with page(figure, PAGE, 3.2 * len(concepts) + 0.4) as figure:
        axes = figure.subplots(2 * len(concepts), width, squeeze=False, sharey="row")
        for k, (model, of) in enumerate(concepts.items()):
            pair = axes[2 * k : 2 * k + 2]
            for column, concept in zip(pair.T, [*of, *[None] * (width - len(of))], strict=True):
                own = table.query("model == @model and concept == @concept")
                _column(column, own, drawn, f"{concept}, {MODELS.get(model, model)}")
            for axis, label in zip(pair[:, 0], ROWS.values(), strict=True):
                axis.set_ylabel(label.format(angle=angle))
        figure.legend(
            handles=handles({**drawn, "unsteered": ACROSS}), loc="outside upper left", ncols=3, handlelength=3.2
        )
        caption = CAPTION.format(angle=angle, n=counts(table["n"]), source=source)
        return Drawing(figure, "peaks", caption, table)


def _column(column: Any, own: Any, drawn: dict[str, Any], title: str) -> None:
    """Both quantities of one concept; of none, nothing."""
    if own.empty:
        for axis in column:
            axis.set_axis_off()
        return
    above, below = column
    for axis, quantity in zip(column, ROWS, strict=True):
        _marks(axis, own, quantity, drawn)
    starts = own.groupby("layer")["outside_at_start"].first()
    below.hlines(starts, np.arange(len(starts)) - 0.45, np.arange(len(starts)) + 0.45, zorder=5, color=ACROSS["color"],
                 ls=ACROSS["ls"], lw=ACROSS["lw"])  # fmt: skip
    above.set_title(title)
    for axis in column:
        axis.set_xticks(range(len(starts)), list(map(str, starts.index)))
    above.tick_params(labelbottom=False)
    below.set(xlabel="layer", ylim=(-0.05, 1.05))


def _marks(axis: Any, own: Any, column: str, drawn: dict[str, Any]) -> None:
    """One quantity, a mark a method, those of a layer side by side."""
    places = {layer: k for k, layer in enumerate(sorted(set(own["layer"])))}
    for k, (method, look) in enumerate(drawn.items()):
        rows = own[own["method"] == method]
        x = rows["layer"].map(places) + APART * (k - (len(drawn) - 1) / 2)
        error = [rows[column] - rows[f"{column}_low"], rows[f"{column}_high"] - rows[column]]
        axis.errorbar(x, rows[column], yerr=error, ms=2.4, lw=0.6, **{**look, "ls": ""})
