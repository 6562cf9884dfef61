"""How much likelier ways to steer make texts of concepts, layer by layer, and how likely what they write remains."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from figures.captions import counts
from figures.dodged import UNSTEERED, draw_dodged
from figures.looks import handles
from figures.save import PAGE, STYLE, save
from odesteer_tl.looks import looks

CAPTION = """\
Steering toward three concepts of AxBench at {level:g} nats of KL, {model}, by the layer steered at; a column a concept.
Above: by how much likelier a held-out text of the concept becomes next to another text (mean change of the log-odds,
nats a text, with 95 % intervals); dotted: unsteered. Below: mean log-likelihood, under the unsteered model, of 20
tokens that the steered model writes (no intervals were kept); dotted: of those that the unsteered one writes.
Crosses: placebo, a random direction. N = {n} pairs of texts a point. {source}"""


def draw_steering(
    table: pd.DataFrame, level: float, model: str, concepts: dict[str, str], out: Path, source: str = ""
) -> list[Path]:
    """Draw effect and fluency by layer for every way to steer, a column a concept.

    Args:
        table: `concept`, `layer`, `label`, `level`, `change`, `low`, `high`, `log_likelihood`, `n`; of one model.
        level: of KL, nats.
        concepts: titles, by concept.
        source: sentences for the caption on where the table comes from.

    Raises:
        ValueError: a concept has nothing at that level, or the table has several models.
    """
    plain = table["label"] == UNSTEERED
    steered = table.loc[~plain & (table["level"] == level)]
    if missing := {*concepts} - {*steered["concept"]}:
        raise ValueError(f"table has no {sorted(missing)} at level={level} of KL")
    if len(models := sorted({*table["model"]})) != 1:
        raise ValueError(f"table has {models}; draw one model at a time")
    own = table.loc[(plain | (table["level"] == level)) & table["concept"].isin(list(concepts))]
    drawn = looks(dict.fromkeys(steered["label"]))
    with plt.style.context(STYLE):
        figure, axes = plt.subplots(2, len(concepts), figsize=(PAGE, 3.6), sharex=True, sharey="row",
                                    squeeze=False, height_ratios=(3, 2))  # fmt: skip
        for column, (concept, title) in zip(axes.T, concepts.items(), strict=True):
            rows = own[own["concept"] == concept]
            draw_dodged(column[0], rows, "change", drawn, ("low", "high"))
            draw_dodged(column[1], rows, "log_likelihood", drawn, None)
            column[0].set_title(title, fontsize=7)
            column[1].set_xlabel("layer steered at")
        axes[0][0].set_ylabel("change of log-odds\n(nats a text)")
        axes[1][0].set_ylabel("fluency\n(nats a token)")
        figure.legend(handles=handles({name: {**look, "ls": ""} for name, look in drawn.items()}),
                      loc="outside upper left", ncols=len(drawn))  # fmt: skip
        caption = CAPTION.format(level=level, model=model, n=counts(own["n"]), source=source)
        return save(figure, out, "steering", caption, own)
