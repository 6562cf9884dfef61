"""How much likelier ways to steer make texts of concepts, layer by layer, and what that costs in fluency."""

from __future__ import annotations

from typing import Any

import pandas as pd

from figures.captions import SHORT
from figures.dodged import UNSTEERED, WIDE, draw_dodged
from figures.drawing import PAGE, Drawing, Place, page
from figures.looks import marks
from odesteer_tl.looks import looks

CAPTION = """\
Steering toward {n} concepts of AxBench at {level:g} nats of KL, by the layer steered at. Above: by how much likelier a
held-out text of the concept becomes next to another text (change of the log-odds from unsteered, nats a text). Below:
change of the log-likelihood, under the unsteered model, of 20 written tokens (nats a token). Small, pale marks: one
concept each; large ones: their mean with Student's t interval (95 %) over {n} concepts. Dotted: unsteered. Crosses:
placebo, a random direction. {source}"""
#: columns above and below, and what they are called
PARTS = {"change": "change of log-odds\n(nats a text)", "fluency": "change of fluency\n(nats a token)"}


def draw_steering(
    table: pd.DataFrame,
    means: pd.DataFrame,
    level: float,
    *,
    source: str = "",
    figure: Place = None,
) -> Drawing:
    """Draw effect and fluency by layer for every way to steer, a column a model: every concept, and their mean.

    Args:
        table: `model`, `concept`, `layer`, `label`, `level`, `change`, `log_likelihood`; unsteered among them.
        means: `model`, `layer`, `label`, `n`, and `change` and `fluency`, each with `_low` and `_high`.
        level: of KL, nats.
        source: sentences for the caption on where the tables come from. figure: see `page`.

    Raises:
        ValueError: nothing is at that level.
    """
    table = table.loc[table["level"].isin([0, level])]
    unsteered = table.loc[table["label"] == UNSTEERED, ["model", "concept", "log_likelihood"]]
    each = table.merge(unsteered, on=["model", "concept"], suffixes=("", "_unsteered"))
    each["fluency"] = each["log_likelihood"] - each["log_likelihood_unsteered"]
    each = each.loc[each["label"] != UNSTEERED]
    models = list(dict.fromkeys(each["model"]))
    if not models:
        raise ValueError(f"table has nothing steered at level={level} of KL")
    drawn = looks(dict.fromkeys(label for label in means["label"] if label != UNSTEERED))
    with page(figure, PAGE, 4.6) as figure:
        axes: Any = figure.subplots(2, len(models), sharex="col", sharey="row", squeeze=False, height_ratios=(3, 2))
        for column, model in zip(axes.T, models, strict=True):
            own, mean = each[each["model"] == model], means[means["model"] == model]
            for axis, (name, said) in zip(column, PARTS.items(), strict=True):
                _scatter(axis, own, name, drawn)
                draw_dodged(axis, mean, name, drawn, (f"{name}_low", f"{name}_high"))
                if axis.get_subplotspec().is_first_col():
                    axis.set_ylabel(said)
            column[0].set_title(f"{SHORT.get(model, model)} (N = {own['concept'].nunique()} concepts)")
            column[1].set_xlabel("layer steered at")
        figure.legend(handles=marks(drawn), loc="outside upper left", ncols=3)
        caption = CAPTION.format(level=level, n=each["concept"].nunique(), source=source)
        shown = pd.concat([means, each[["model", "concept", "layer", "label", *PARTS]]], ignore_index=True)
        return Drawing(figure, "steering", caption, shown)


def _scatter(axis: Any, rows: Any, name: str, drawn: Any) -> None:
    """A small mark a concept, left of where `draw_dodged` puts the mean."""
    layers = sorted({*rows["layer"]})
    for k, (label, look) in enumerate(drawn.items()):
        own = rows[rows["label"] == label]
        x = own["layer"].map(layers.index) + WIDE * (k / max(len(drawn) - 1, 1) - 0.5) - 0.06
        axis.scatter(x, own[name], s=5, lw=0, alpha=0.4, color=look["color"])
