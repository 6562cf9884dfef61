"""What it costs to pick the layer by an indicator instead of by scores."""

from __future__ import annotations

from typing import Any

import pandas as pd

from figures.captions import MODELS, counts
from figures.drawing import PAGE, Drawing, Place, page
from figures.looks import LOOKS, PLACEBO, Look
from figures.rows import Panel, draw_rows, height

CHOSEN, DRAWN = "score on other prompts", "a layer at random"
SERIES: dict[str, Look] = {"indicator": LOOKS[0], DRAWN: PLACEBO}
CAPTION = """\
By how much the score (log-odds of the concept's words, nats, at {level:g} nats of KL) at the layer that an indicator
picks falls short of the score at the layer chosen by scores on other prompts, on {n} test prompts, with 95 % intervals;
a column a model and concept. Grey: a layer drawn at random. Below 0 the indicator did better. {source}"""


def draw_regret(table: pd.DataFrame, level: float, *, source: str = "", figure: Place = None) -> Drawing:
    """Draw the regret of each indicator, the least on average on top, a panel a model and concept.

    Args:
        table: `model`, `concept`, `picked by`, `regret`, `low`, `high`, `n`.
        level: of KL at which it was measured, nats.
        source: sentences for the caption on where the table comes from. figure: see `page`.
    """
    rows: Any = table.loc[table["picked by"] != CHOSEN]
    rows = rows.rename(columns={"picked by": "name", "regret": "value"})
    rows = rows.assign(series=rows["name"].where(rows["name"] == DRAWN, "indicator"))
    order = list(map(str, rows.groupby("name")["value"].mean().sort_values().index))
    runs = list(dict.fromkeys(zip(rows["model"], rows["concept"], strict=True)))
    panels = [Panel(rows.query("model == @model and concept == @concept"), "nats",
                    f"{concept},\n{MODELS.get(model, model)}", 0.0) for model, concept in runs]  # fmt: skip
    with page(figure, PAGE, height(order)) as figure:
        draw_rows(figure, order, panels, SERIES)
        caption = CAPTION.format(level=level, n=counts(rows["n"]), source=source)
        return Drawing(figure, "regret", caption, rows)
