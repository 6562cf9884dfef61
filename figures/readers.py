"""Which barrier reads held-out wordings best, layer by layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from figures.captions import MODELS, counts
from figures.drawing import PAGE, Drawing, Place, page
from figures.looks import KNOWN, LOOKS, Look, handles

BARRIERS: dict[str, Look] = {
    "published": KNOWN["odesteer"], "kernel": KNOWN["odesteer_kernel"], "linear": LOOKS[0],
}  # fmt: skip
ACROSS = 3
EVERY = 4
CAPTION = """\
Log loss (nats, lower is better) of texts left out, by layer, of three barriers' calibrated log-ratios: the published
count sketch, the exact kernel with γ and C by cross-validation, and a linear barrier with its own C by
cross-validation, so that curvature and stiffness are told apart. Bands: 95 % intervals over {n} groups of texts, which
stay whole in every split. Dotted: log 2, of one who knows nothing. {source}"""


def draw_readers(table: pd.DataFrame, *, source: str = "", figure: Place = None) -> Drawing:
    """Draw the log loss of each barrier by layer, a panel a model and concept.

    Args:
        table: `model`, `concept`, `layer`, `what` ("log loss, kernel", …), `value`, `low`, `high`, `n`.
        source: sentences for the caption on where the table comes from. figure: see `page`.
    """
    rows = table.loc[table["what"].isin([f"log loss, {name}" for name in BARRIERS])]
    runs = list(dict.fromkeys(zip(rows["model"], rows["concept"], strict=True)))
    down = -(-len(runs) // ACROSS)
    across = -(-len(runs) // down)
    with page(figure, PAGE, 1.9 * down + 0.3) as figure:
        axes = figure.subplots(down, across, squeeze=False, sharey=True)
        for place, (axis, (model, concept)) in enumerate(zip(axes.flat, runs, strict=False)):
            _panel(axis, rows.query("model == @model and concept == @concept"))
            axis.set_title(f"({chr(97 + place)}) {concept}, {MODELS.get(model, model)}")
            axis.set_xlabel("layer")
            if place % across == 0:
                axis.set_ylabel("log loss (nats)")
        for axis in axes.flat[len(runs) :]:
            axis.set_axis_off()
        figure.legend(handles=handles(BARRIERS), loc="outside upper left", ncols=3, handlelength=3.2)
        caption = CAPTION.format(n=counts(rows["n"]), source=source)
        return Drawing(figure, "readers", caption, rows)


def _panel(axis: Axes, rows: Any) -> None:
    for k, (name, look) in enumerate(BARRIERS.items()):
        own = rows[rows["what"] == f"log loss, {name}"].sort_values("layer")
        axis.fill_between(own["layer"], own["low"], own["high"], color=look["color"], alpha=0.15, lw=0)
        axis.plot(own["layer"], own["value"], **look, ms=3.5, markevery=(k, EVERY))
    axis.axhline(np.log(2), color="0.4", lw=0.7, ls=":")
    axis.set_ylim(bottom=0)
