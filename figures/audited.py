"""What the audit measures of every method at one budget: effect, fluency, how straight its path is, where it ends."""

from __future__ import annotations

from typing import Any

import pandas as pd

from figures.captions import counts
from figures.drawing import PAGE, Drawing, Place, page
from figures.looks import PLACEBO, Look
from figures.rows import Panel, draw_rows, height

UNSTEERED = "unsteered"
#: by how a method is made, but for the placebo
SERIES: dict[str, Look] = {
    "fitted": {"color": "black", "marker": "o", "mfc": "white"},
    "trained": {"color": "black", "marker": "^"},
    "placebo": PLACEBO,
}
EFFECT, FLUENCY = "change of the score from unsteered", "log-likelihood of the text, nats a token"
#: measure: label of the axis, and title
PANELS = {
    EFFECT: ("nats", "change of log-odds"),
    FLUENCY: ("nats a token", "texts' likelihood"),
    "bend of the path, rad": ("rad", "bend of the path"),
    "gain at the last layer, nats": ("nats", "gain in the last h"),
}
CAPTION = """\
Every method at {level:g} nats of KL on {n} prompts, layer {layers} of {model}, with 95 % intervals; fitted on
activations or trained through the model, all on the same texts. Change of the log-odds of the
concept's words (mean), likelihood of the texts under the unsteered model (median), how far a path's direction turns on
the way (median; 0 is a great circle), and what is left of the gain in the calibrated h of the last layer (median).
Black, dotted: the unsteered model. {source}"""


def draw_audited(table: pd.DataFrame, level: float, model: str, *, source: str = "", figure: Place = None) -> Drawing:
    """Draw four measures, a row a method, the largest effect on top.

    Args:
        table: as `analyses.effects.audit.audit` makes it.
        level: of KL, nats.
        source: sentences for the caption on where the table comes from. figure: see `page`.

    Raises:
        ValueError: there is nothing at that level.
    """
    own = table.query("budget == 'kl' and level == @level and measure in @PANELS")
    if not len(own):
        raise ValueError(f"table has nothing at level={level} of KL; there are {sorted(table['level'].unique())}")
    plain = table.query("method == @UNSTEERED and measure == @FLUENCY")["value"]
    series = own["made"].mask(own["method"] == "random", "placebo")
    rows: Any = own.rename(columns={"method": "name"}).assign(series=series)
    effect: Any = own.query("measure == @EFFECT").set_index("method")["value"]
    order = list(map(str, effect.sort_values(ascending=False).index))
    with page(figure, PAGE, height(order)) as figure:
        references = {EFFECT: 0.0, FLUENCY: float(plain.iloc[0]) if len(plain) else None}
        panels = [Panel(rows[rows["measure"] == measure], label, title, references.get(measure), True)
                  for measure, (label, title) in PANELS.items()]  # fmt: skip
        draw_rows(figure, order, panels, {name: look for name, look in SERIES.items() if name in set(series)})
        n = own.loc[own["measure"] == EFFECT, "n"]
        caption = CAPTION.format(level=level, n=counts(n), layers=counts(own["layer"]), model=model, source=source)
        return Drawing(figure, "audited", caption, own)
