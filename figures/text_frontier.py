"""What ways to steer achieve in texts, and what is left of the texts' fluency, against what they cost."""

from __future__ import annotations

import pandas as pd

from figures.captions import MODELS, counts
from figures.drawing import PAGE, Drawing, Place, page
from figures.looks import ACROSS, PLACEBO, handles, looks
from figures.multiples import Row, draw_multiples

UNSTEERED = "unsteered"
COST = "KL of the next token from unsteered (nats)"
CAPTION = """\
Texts toward {concept}, {model}, layer {layer} (which other prompts chose), against the KL of the next token's
distribution that every prompt is given; a column has one way to steer in colour with its 95 % interval, and the others
in grey. (a) Share of texts that succeed. (b) Mean log-likelihood of the texts under the unsteered model. Grey crosses:
placebo, a random direction; dotted: unsteered, with its interval. N = {n} prompts a point. {short}{source}"""
#: share of the prompts that must have spent the KL, for the comparison to be one at equal KL
SPENT = 0.9


def draw_text_frontier(table: pd.DataFrame, *, source: str = "", figure: Place = None) -> Drawing:
    """Draw success and fluency against KL, a column a way to steer.

    Args:
        table: of one model and concept: `label`, `level`, `success` and `log_likelihood` with `_low` and `_high`,
            `layer`, `reached`, `n`.
        source: sentences for the caption on where the table comes from. figure: see `page`.

    Raises:
        ValueError: the table has several models or concepts.
    """
    if len(runs := set(zip(table["model"], table["concept"], strict=True))) != 1:
        raise ValueError(f"table has {sorted(runs)}; draw one model and concept at a time")
    ((model, concept),) = runs
    rows = table.rename(columns={"label": "method"})
    steered, unsteered = rows.loc[rows["method"] != UNSTEERED], rows.loc[rows["method"] == UNSTEERED]
    with page(figure, PAGE, 3.6) as figure:
        both = [Row(steered, "level", "success", ("", "(a) success"), unsteered, logarithmic=True),
                Row(steered, "level", "log_likelihood", (COST, "(b) fluency\n(nats a token)"), unsteered,
                    logarithmic=True)]  # fmt: skip
        axes = draw_multiples(figure, both, looks(dict.fromkeys(steered["method"])))
        axes[0][0].set_ylim(-0.03, 1.03)
        figure.legend(
            handles=handles({"random, geodesic": PLACEBO, "unsteered": ACROSS}), loc="outside upper left", ncols=2
        )
        few = steered.loc[steered["reached"] < SPENT].to_dict("records")
        short = "".join(f"Of {row['method']}, {row['reached']:.0%} of the prompts could spend {row['level']:g} nats. "
                        for row in few)  # fmt: skip
        caption = CAPTION.format(concept=concept, model=MODELS.get(model, model), layer=counts(table["layer"]),
                                 n=counts(table["n"]), short=short, source=source)  # fmt: skip
        return Drawing(figure, "text_frontier", caption, table)
