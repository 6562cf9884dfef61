"""What each method costs, to fit and a token, beside what it does."""

from __future__ import annotations

from typing import Any

import pandas as pd

from figures.audited import EFFECT, SERIES
from figures.captions import counts
from figures.drawing import PAGE, Drawing, Place, page
from figures.rows import Panel, draw_rows, height

TOKEN, FITTING = "processor time of a token", "seconds of fitting"
#: measure: label of the axis, title, and where a dotted line stands
PANELS = {
    TOKEN: ("steered over unsteered", "a token's time", 1.0),
    FITTING: ("seconds", "fitting", None),
    EFFECT: ("nats", "change of log-odds", 0.0),
}
CAPTION = """\
What every method costs on layer {layers} of {model}, the dearest token below: processor time of a token that it
steers over that of an unsteered one (median over the steps of one batch of texts), seconds of fitting
or training, collecting activations included (one fit each; logarithmic), and for comparison the change of the log-odds
at {level:g} nats of KL (mean of {n} prompts, with 95 % intervals). Black, dotted: the unsteered model. {source}"""


def draw_costs(table: pd.DataFrame, level: float, model: str, *, source: str = "", figure: Place = None) -> Drawing:
    """Draw two costs and the effect, a row a method, the cheapest token on top.

    Args:
        table: as `analyses.effects.audit.audit` makes it.
        level: of KL, nats.
        source: sentences for the caption on where the table comes from. figure: see `page`.
    """
    own = table.query("budget == 'kl' and level == @level and measure in @PANELS")
    series = own["made"].mask(own["method"] == "random", "placebo")
    rows: Any = own.rename(columns={"method": "name"}).assign(series=series)
    token: Any = own.query("measure == @TOKEN").set_index("method")["value"]
    order = list(map(str, token.sort_values().index))
    panels = [Panel(rows[rows["measure"] == measure], label, title, reference, unsteered=True)
              for measure, (label, title, reference) in PANELS.items()]  # fmt: skip
    with page(figure, PAGE, height(order)) as figure:
        axes = draw_rows(figure, order, panels, SERIES)
        axes[1].set_xscale("log")
        axes[1].xaxis.set_major_formatter("{x:g}")
        n = own.loc[own["measure"] == EFFECT, "n"]
        caption = CAPTION.format(level=level, n=counts(n), layers=counts(own["layer"]), model=model, source=source)
        return Drawing(figure, "costs", caption, own)
