"""How often a judge finds the concept in what a steered model writes, layer by layer and by way to steer."""

from __future__ import annotations

from typing import Any

import pandas as pd

from figures.captions import MODELS, SHORT, counts, listed
from figures.dodged import UNSTEERED, draw_dodged
from figures.drawing import PAGE, Drawing, Place, page
from figures.looks import marks
from odesteer_tl.looks import looks

CAPTION = """\
Share of texts in which a judge finds the concept, by the layer steered at, at {level:g} nats of KL, with 95 %
intervals; {n} prompts each, 20 tokens; dotted: unsteered, with its interval shaded. Crosses: placebo, a random
direction. Judges: {judges}. {source}"""
COLUMNS = 4


def draw_judged(
    table: pd.DataFrame, level: float, concepts: dict[str, tuple[str, str]], *, source: str = "", figure: Place = None
) -> Drawing:
    """Draw success by layer for every way to steer, a panel a model and concept.

    Args:
        table: `model`, `concept`, `layer`, `label`, `level`, `success` with `success_low` and `success_high`, and `n`.
        level: of KL, nats.
        concepts: by their names in the table, what panels are titled and who judges.
        source: sentences for the caption on where the table comes from. figure: see `page`.

    Raises:
        ValueError: nothing of these concepts at that level.
    """
    own: Any = table.loc[table["level"].isin([0, level]) & table["concept"].isin(list(concepts))]
    steered = own.loc[own["label"] != UNSTEERED]
    if steered.empty:
        raise ValueError(f"the table has nothing of {', '.join(concepts)} at level={level} of KL")
    panels = [(model, concept) for concept in concepts for model in MODELS
              if len(own.loc[(own["model"] == model) & (own["concept"] == concept)])]  # fmt: skip
    shared = {str(model): _shared(rows) for model, rows in steered.groupby("model")}
    drawn = looks(dict.fromkeys(steered["label"]))
    high = -(-len(panels) // COLUMNS)
    with page(figure, PAGE, 0.6 + 1.7 * high) as figure:
        axes = figure.subplots(high, COLUMNS, sharey=True, squeeze=False)
        kept = list[pd.DataFrame]()
        for axis, (model, concept) in zip(axes.flat, panels, strict=False):
            part = own.loc[(own["model"] == model) & (own["concept"] == concept)
                           & own["layer"].isin([-1, *shared[model]])]  # fmt: skip
            plain = part.loc[part["label"] == UNSTEERED].iloc[0]
            axis.axhspan(plain["success_low"], plain["success_high"], color="0.93", lw=0, zorder=-1)
            draw_dodged(axis, part, "success", drawn, ("success_low", "success_high"))
            axis.set_title(f"{concepts[concept][0]}, {SHORT[model]}")
            kept.append(part)
        for axis in axes.flat[len(panels) :]:
            axis.set_visible(False)
        for axis in axes[:, 0]:
            axis.set_ylabel("share")
        for axis in axes[-1]:
            axis.set_xlabel("layer steered at")
        figure.legend(handles=marks(drawn), loc="outside upper left", ncols=4)
        judges = listed(f"{title}, {judge}" for title, judge in concepts.values())
        caption = CAPTION.format(level=level, n=counts(own["n"]), judges=judges, source=source)
        return Drawing(figure, "judged", caption, pd.concat(kept, ignore_index=True))


def _shared(rows: Any) -> list[int]:
    """The layers at which all of a model's concepts were steered."""
    each = [{*part["layer"]} for _, part in rows.groupby("concept")]
    return sorted(set.intersection(*each))
