"""Success of every method where the truth is known, on a concept that is a shift and on one that is an interaction."""

from __future__ import annotations

from typing import Any

import pandas as pd

from figures.captions import counts
from figures.drawing import PAGE, Drawing, Place, page
from figures.looks import PLACEBO, Look
from figures.rows import Panel, draw_rows, height

#: share of the prompts that must have spent the budget, for the comparison to be one at equal KL
SPENT = 0.9
ALL, FEW = "method", f"fewer than {SPENT:.0%} of prompts could spend the KL"
SERIES: dict[str, Look] = {
    ALL: {"color": "black", "marker": "o"}, FEW: {"color": "black", "marker": "o", "mfc": "white"}, "placebo": PLACEBO,
}  # fmt: skip
#: what ran under these names had settings that are called otherwise today
FORMER = {"linear_act": "linear_act_extrapolated",
          "linear_act, layers in turn": "linear_act_extrapolated, layers in turn",
          "iti": "iti_rescaled", "iti_heads": "iti_heads*", "odesteer_rff": "odesteer_rff*"}  # fmt: skip
TITLES = {"agreement": "agreement, an interaction", "valence": "valence, a shift"}
CAPTION = """\
Success (share of {n} prompts whose steered text shows the concept) of {methods} ways to steer at {level:g} nats of
KL, layer 2 of the embedded model, with 95 % intervals; left an interaction, agreement (weather and place match),
right a shift, valence (mood). The order is that of agreement. Hollow: fewer than {spent:.0%} of the prompts could
spend the KL. Crosses: placebo, a random direction. Black, dotted: unsteered. *: with settings that have changed
since. {source}"""


def draw_methods(
    agreement: pd.DataFrame, valence: pd.DataFrame, unsteered: pd.DataFrame, level: float, *,
    source: str = "", figure: Place = None,
) -> Drawing:  # fmt: skip
    """Draw success by method, a panel a concept.

    Args:
        agreement, valence: `budget`, `level`, `method`, `success`, `low`, `high`, `reached`.
        unsteered: `concept`, `success`, `n`.
        level: of KL, nats.
        source: sentences for the caption on where the tables come from. figure: see `page`.
    """
    plain: Any = unsteered.set_index("concept")["success"]
    drawn: dict[str, Any] = {}
    for concept, table in {"agreement": agreement, "valence": valence}.items():
        own = table.query("budget == 'kl' and level == @level")
        series = pd.Series(ALL, own.index).mask(own["reached"] < SPENT, FEW).mask(own["method"] == "random", "placebo")
        drawn[concept] = own.assign(concept=concept, series=series, name=own["method"].replace(FORMER)).rename(
            columns={"success": "value"})  # fmt: skip
    order = list(drawn["agreement"].sort_values("value", ascending=False, kind="stable")["name"])
    panels = [Panel(drawn[concept], "success (share)", title, float(plain[concept]), True)
              for concept, title in TITLES.items()]  # fmt: skip
    with page(figure, PAGE, height(order)) as figure:
        for axis in draw_rows(figure, order, panels, SERIES):
            axis.set_xlim(0.2, 1.0)
        caption = CAPTION.format(n=counts(unsteered["n"]), methods=len(order), level=level, spent=SPENT, source=source)
        return Drawing(figure, "methods", caption, pd.concat(drawn.values(), ignore_index=True))
