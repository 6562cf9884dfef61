"""Two barriers that read a concept equally well, of which one steers: agreement, on the embedded model."""

from __future__ import annotations

import pandas as pd

from figures.captions import counts, listed
from figures.drawing import PAGE, Drawing, Place, page
from figures.looks import KNOWN, Look
from figures.reading import LINEAR, draw_reading

CEILING = "Bayes ceiling"
READS: dict[str, Look] = {"linear barrier": LINEAR, "quadratic barrier": KNOWN["odesteer_kernel"]}
STEERS: dict[str, Look] = {"random": KNOWN["random"], "caa": KNOWN["caa"], **READS}
#: names in the tables, and those of the page
NAMES = {"linear": "linear barrier", "quadratic": "quadratic barrier", "odesteer_kernel": "quadratic barrier"}
COLUMNS = {"method": "label", "barrier": "label", "angle": "layer", "auc": "value", "success": "value",
           "success_low": "low", "success_high": "high"}  # fmt: skip
SEEDS = {"organism": "seed-0"}
#: share of texts that the grammar can produce, under which a cell is named
PARSES = 0.9
CAPTION = """\
Agreement (weather and place match) on three embedded models, a column a training seed. Above: AUC with which a linear
and a quadratic barrier tell {texts} held-out texts apart, by layer; dotted: ½, of one who knows nothing, and
{best:.3f}, the best possible. Below: share of {n} prompts whose steered text agrees, by the angle steered by, at each
method's best of three layers; black, dotted: unsteered, with its interval shaded. Bars: 95 % intervals. Crosses:
placebo, a random direction. {short}{source}"""


def draw_read_agreement(
    reading: pd.DataFrame, steering: pd.DataFrame, *, source: str = "", figure: Place = None
) -> Drawing:
    """Draw reading above and steering below, a column a model.

    Args:
        reading: `model`, `layer`, `barrier`, `auc`, `low`, `high`, `n`; one row a model is `CEILING`.
        steering: `model`, `method`, `angle`, `success` with `_low` and `_high`, `parses`, `n`.
        source: sentences for the caption on where the tables come from. figure: see `page`.
    """
    steer: pd.DataFrame = (
        steering.drop(columns="layer").replace({"model": SEEDS, "method": NAMES}).rename(columns=COLUMNS)
    )
    read = reading.replace({"model": SEEDS, "barrier": NAMES}).rename(columns=COLUMNS)
    (best,) = set(read.loc[read["label"] == CEILING, "value"])
    read = read.loc[read["label"] != CEILING]
    columns = {
        str(model).replace("-", " "): (rows, steer[steer["model"] == model]) for model, rows in read.groupby("model")
    }
    with page(figure, PAGE, 4.2) as figure:
        draw_reading(figure, columns, (READS, STEERS), ("AUC", "success (share)"), ("layer read", "angle (rad)"),
                     [0.5, best])  # fmt: skip
        few = steer.loc[steer["parses"] < PARSES]
        cells = listed(f"{label}, {angle:g} rad" for label, angle in zip(few["label"], few["layer"], strict=True))
        short = f"On some seed fewer than {PARSES:.0%} of the texts parse of {cells}. " if cells else ""
        caption = CAPTION.format(texts=counts(reading["n"]), best=best, n=counts(steer["n"]), short=short,
                                 source=source)  # fmt: skip
        return Drawing(figure, "read_agreement", caption, pd.concat([read, steer], ignore_index=True))
