"""What methods do at one budget on several concepts beside each other, fitted and trained."""

from __future__ import annotations

from typing import Any

import pandas as pd

from figures.audited import EFFECT, SERIES
from figures.captions import counts
from figures.drawing import PAGE, Drawing, Place, page
from figures.rows import Panel, draw_rows, height

#: share of prompts that must spend the budget, as the audit has it
SPENT = 0.95
CAPTION = """\
How much more likely a held-out text of a concept becomes next to another text (mean change of the log-odds, nats a
text, with 95 % intervals), for every method that spends {level:g} nats of KL on {spent:g} of the prompts or more; layer
{layers} of {model}; fitted on activations or trained through the model, all on the same texts. A column is a concept:
{concepts}; the order is that of the mean over them. Black, dotted: the unsteered model,
0 by definition. N = {n} pairs of texts a point. {source}"""


def draw_audited_concepts(
    table: pd.DataFrame, level: float, model: str, concepts: dict[str, str], *, source: str = "", figure: Place = None
) -> Drawing:
    """Draw the effect, a row a method, a panel a concept.

    Args:
        table: as `analyses.effects.audit.audit` makes it, of each concept, with the column `table`.
        level: of KL, nats.
        concepts: titles, by how `table` begins.
        source: sentences for the caption on where the table comes from. figure: see `page`.

    Raises:
        ValueError: a concept has nothing at that level.
    """
    own = table.query("budget == 'kl' and level == @level").assign(
        concept=lambda rows: rows["table"].str.partition("/")[0].map(concepts)
    )
    if {*own["concept"]} != {*concepts.values()}:
        raise ValueError(f"table has {sorted({*own['concept'].dropna()})} at level={level} of KL, and not {concepts}")
    short = set(own.query("measure == 'budget reached' and value < @SPENT")["method"])
    own = own.loc[(own["measure"] == EFFECT) & ~own["method"].isin(list(short))]
    series = own["made"].mask(own["method"] == "random", "placebo")
    rows: Any = own.rename(columns={"method": "name"}).assign(series=series)
    effect: Any = own.groupby("method")["value"].mean()
    order = list(map(str, effect.sort_values(ascending=False).index))
    with page(figure, PAGE, height(order)) as figure:
        panels = [Panel(rows[rows["concept"] == title], "nats a text", title, 0.0, unsteered=True)
                  for title in concepts.values()]  # fmt: skip
        draw_rows(figure, order, panels, {name: look for name, look in SERIES.items() if name in set(series)})
        caption = CAPTION.format(level=level, spent=SPENT, n=counts(own["n"]), layers=counts(own["layer"]), model=model,
                                 concepts=", ".join(concepts.values()), source=source)  # fmt: skip
        return Drawing(figure, "audited_concepts", caption, own)
