"""What it costs to pick the layer by an indicator instead of by scores."""

from __future__ import annotations

from typing import Any

import pandas as pd

from figures.captions import SHORT, counts
from figures.drawing import PAGE, Drawing, Place, page
from figures.looks import PLACEBO, Look
from figures.rows import Panel, draw_rows, height

CHOSEN, DRAWN = "score on other prompts", "a layer at random"
SERIES: dict[str, Look] = {"indicator": {"color": "black", "marker": "o"}, DRAWN: PLACEBO}
#: columns and rows that indicators are, as they are called
NAMES = {
    "LAP": "LAP (logit lens)",
    "probe_auc": "held-out AUC",
    "log loss, kernel": "held-out log loss, least",
    "slack": "slack of the certificate",
    "curvature_angle": "κθ, least",
    "gain": "gain in h",
    "cosine_halves": "agreement of two halves",
    "norm_ratio": "change of norm, least",
    "NBF": "change of branching, least*",
    "log_positive_change": "gain in log p₊*",
}
CAPTION = """\
By how much the score (log-odds of the concept's words, nats, at {level:g} nats of KL) at the layer that an indicator
picks falls short of the score at the layer chosen by scores on other prompts, on {n} test prompts, with 95 % intervals;
a column a model and concept. Grey: a layer drawn at random. Below 0 the indicator did better. *: of a study whose
methods were fitted on a fifth of the texts. {source}"""


def draw_regret(
    table: pd.DataFrame, apart: pd.DataFrame, level: float, *, source: str = "", figure: Place = None
) -> Drawing:
    """Draw the regret of each indicator, the least on average on top, a panel a model and concept.

    Args:
        table: `model`, `concept`, `picked by`, `regret`, `low`, `high`, `n`.
        apart: the same of the indicators that were measured in a study of their own.
        level: of KL at which it was measured, nats.
        source: sentences for the caption on where the table comes from. figure: see `page`.
    """
    rows: Any = pd.concat([table, apart.loc[apart["picked by"] != DRAWN]], ignore_index=True).replace(
        {"picked by": NAMES}
    )
    rows = rows.loc[rows["picked by"] != CHOSEN]
    rows = rows.rename(columns={"picked by": "name", "regret": "value"})
    rows = rows.assign(series=rows["name"].where(rows["name"] == DRAWN, "indicator"))
    order = list(map(str, rows.groupby("name")["value"].mean().sort_values().index))
    panels = list[Panel]()
    for model, concept in dict.fromkeys(zip(rows["model"], rows["concept"], strict=True)):
        own = rows.query("model == @model and concept == @concept")
        panels.append(Panel(own, "nats", f"{concept},\n{SHORT.get(str(model), model)}", 0.0))
    with page(figure, PAGE, height(order)) as figure:
        draw_rows(figure, order, panels, SERIES)
        caption = CAPTION.format(level=level, n=counts(rows["n"]), source=source)
        return Drawing(figure, "regret", caption, rows)
