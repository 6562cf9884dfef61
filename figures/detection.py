"""How well each score tells texts of a concept from others: AxBench's detection task."""

from __future__ import annotations

from typing import Any

import pandas as pd

from figures.audited import SERIES
from figures.captions import MODELS, counts, listed
from figures.drawing import PAGE, Drawing, Place, page
from figures.rows import Panel, draw_rows, height

#: what the barriers' scores are called
NAMES = {
    "kernel, cross-validated": "kernel barrier, cross-validated",
    "linear, cross-validated C": "linear barrier, C cross-validated",
    "probe, C = 1": "linear barrier, C = 1",
    "sketch, as published": "odesteer's sketch",
}
PANELS = {"all": "against all other texts", "hard": "against hard negatives alone"}
CAPTION = """\
Area under the ROC curve of each score at telling texts of a concept from others, AxBench's first ten concepts of
Gemma-2's layer 20: mean over {n} concepts with its 95 % interval, where there are five at least. A text's score is
the largest of its tokens'. Hard negatives are about something that shares words with the concept. Dotted: .5, of a
coin. {layers} {source}"""


def draw_detection(table: pd.DataFrame, *, source: str = "", figure: Place = None) -> Drawing:
    """Draw the mean area of every score, a panel a kind of negative and a mark a model.

    Args:
        table: `model`, `layer` (one a model), `score`, `negatives` ("all", "hard"), `value`, `low`, `high`, `n`.
        source: sentences for the caption on where the table comes from. figure: see `page`.
    """
    models = {str(model): {**look, "label": MODELS.get(str(model), str(model))}
              for model, look in zip(table["model"].unique(), SERIES.values(), strict=False)}  # fmt: skip
    every: Any = table.query("negatives == 'all'").groupby("score")["value"].mean()
    order = [NAMES.get(str(name), str(name)) for name in every.sort_values(ascending=False).index]
    rows: Any = table.replace({"score": NAMES}).rename(columns={"score": "name", "model": "series"})
    with page(figure, PAGE, height(order)) as figure:
        panels = [Panel(rows[rows["negatives"] == kind], "area under the ROC curve", says, 0.5)
                  for kind, says in PANELS.items()]  # fmt: skip
        for axis in draw_rows(figure, order, panels, models):
            axis.set_xlim(right=1.01)
        pairs = dict(zip(table["model"], table["layer"], strict=True)).items()
        layers = listed(f"{MODELS.get(model, model)}: layer {layer}" for model, layer in pairs)
        caption = CAPTION.format(n=counts(table["n"]), layers=f"{layers}.", source=source)
        return Drawing(figure, "detection", caption, table)
