"""How much likelier ways to steer make texts of concepts, layer by layer, and how likely what they write remains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd

from figures.captions import counts
from figures.dodged import UNSTEERED, draw_dodged
from figures.looks import handles
from figures.save import PAGE, STYLE, save
from odesteer_tl.looks import looks

CAPTION = """\
Steering toward concepts of AxBench at {level:g} nats of KL, by the layer steered at; a column a concept and model.
Above: by how much likelier a held-out text of the concept becomes next to another text (mean change of the log-odds,
nats a text, with 95 % intervals); dotted: unsteered. Below: mean log-likelihood, under the unsteered model, of 20
tokens that the steered model writes (with intervals where these were kept); dotted: of those that the unsteered one
writes. Crosses: placebo, a random direction. N = {n} pairs of texts a point. {source}"""


def draw_steering(
    table: pd.DataFrame, level: float, panels: dict[tuple[str, str], str], out: Path, source: str = ""
) -> list[Path]:
    """Draw effect and fluency by layer for every way to steer, a column a concept and model.

    Args:
        table: `model`, `concept`, `layer`, `label`, `level`, `change`, `low`, `high`, `log_likelihood` and
            its ends, `n`.
        level: of KL, nats.
        panels: titles, by model and concept.
        source: sentences for the caption on where the table comes from.

    Raises:
        ValueError: a panel has nothing at that level.
    """
    own: dict[tuple[str, str], Any] = {
        (model, concept): table.loc[(table["model"] == model) & (table["concept"] == concept)
                                    & table["level"].isin([0, level])]
        for model, concept in panels
    }  # fmt: skip
    if missing := [key for key, rows in own.items() if not len(rows.loc[rows["label"] != UNSTEERED])]:
        raise ValueError(f"table has nothing of {missing} at level={level} of KL")
    drawn = looks(dict.fromkeys(label for rows in own.values() for label in rows["label"] if label != UNSTEERED))
    with plt.style.context(STYLE):
        figure, axes = plt.subplots(2, len(panels), figsize=(PAGE, 3.6), sharex="col", sharey="row",
                                    squeeze=False, height_ratios=(3, 2))  # fmt: skip
        for column, (key, title) in zip(axes.T, panels.items(), strict=True):
            rows = own[key]
            draw_dodged(column[0], rows, "change", drawn, ("low", "high"))
            draw_dodged(column[1], rows, "log_likelihood", drawn, ("log_likelihood_low", "log_likelihood_high"))
            column[0].set_title(title, fontsize=7)
            column[1].set_xlabel("layer steered at")
        axes[0][0].set_ylabel("change of log-odds\n(nats a text)")
        axes[1][0].set_ylabel("fluency\n(nats a token)")
        figure.legend(handles=handles({name: {**look, "ls": ""} for name, look in drawn.items()}),
                      loc="outside upper left", ncols=3)  # fmt: skip
        rows = pd.concat(own.values(), ignore_index=True)
        caption = CAPTION.format(level=level, n=counts(rows["n"]), source=source)
        return save(figure, out, "steering", caption, rows)
