"""The frontier of methods at equal budgets: what they achieve and what is left of the text, against what they cost."""

from __future__ import annotations

import pandas as pd

from figures.captions import counts, listed
from figures.drawing import PAGE, Drawing, Place, page
from figures.looks import highlighted
from figures.multiples import Row, draw_multiples

#: column and title of what is given equally
BUDGETS = {"angle": ("level", "angle asked for (rad)", "equal angle"),
           "kl": ("kl", "KL from the unsteered model (nats)", "equal KL")}  # fmt: skip
#: inches of a row of panels, and of titles and labels
TALL, AROUND = 1.25, 0.7
CAPTION = """\
Every method at equal budgets, concept {concept}, layer {layers}; a column has one in colour, with its 95 %
interval, and the others in grey. {panels} Lines join growing strengths. N = {n} prompts a point. In colour: {shown}.
In grey throughout: {rest}. {plain}{source}"""
UNSTEERED = "unsteered"
PLAIN = "Black, dotted: the unsteered model. "


def draw_frontier(table: pd.DataFrame, *, source: str = "", figure: Place = None) -> Drawing:
    """Draw `success` and `parses` against the budget, a row of panels a budget, a line a method.

    Args:
        table: of one concept: `method`, `budget` ("angle" or "kl"), `level`, `kl`, `success` (both with `_low` and
            `_high`), `parses`, `n`, `concept`, `layer`.
        source: sentences for the caption on where the table comes from. figure: see `page`.

    Raises:
        ValueError: the table has more than one concept, or neither budget; rows of any other are not drawn, but the
            unsteered model's as a line.
    """
    concepts = sorted(set(table["concept"]))
    if len(concepts) != 1:
        raise ValueError(f"table has the concepts {', '.join(concepts)}; draw one at a time")
    unsteered = table.loc[table["method"] == UNSTEERED]
    table = table.loc[table["budget"].isin(list(BUDGETS))]
    budgets = [budget for budget in BUDGETS if budget in set(table["budget"])]
    if not budgets:
        raise ValueError(
            f"table has no row whose budget is one of {', '.join(BUDGETS)}; there is nothing to compare at"
        )
    scores = {str(name): max(rows["success"].tolist()) for name, rows in table.groupby("method", sort=False)}
    looks = highlighted(scores)
    said: list[str] = []
    rows: list[Row] = []
    letters = iter("abcdefgh")
    for budget in budgets:
        found, (column, title, short) = table.loc[table["budget"] == budget], BUDGETS[budget]
        first, second = next(letters), next(letters)
        rows.append(Row(found, column, "success", ("", f"success\n({first}) {short}"), unsteered, logarithmic=True))
        parses = f"texts that parse\n({second}) {short}"
        rows.append(Row(found, column, "parses", (title, parses), unsteered, logarithmic=True))
        short_of = "; who cannot spend a level stands before it" if budget == "kl" else ""
        said.append(f"({first}) Success and ({second}) share of texts that parse against the {title}{short_of}.")
    with page(figure, PAGE, TALL * len(rows) + AROUND) as figure:
        axes = draw_multiples(figure, rows, looks)
        for row in axes:
            row[0].set_ylim(-0.03, 1.05)
        caption = CAPTION.format(
            plain=PLAIN if len(unsteered) else "",
            concept=concepts[0], layers=counts(table["layer"]), panels=" ".join(said), n=counts(table["n"]),
            shown=listed(looks), rest=listed(m for m in scores if m not in looks) or "nothing", source=source,
        )  # fmt: skip
        return Drawing(figure, "frontier", caption, table)
