"""How much likelier ways to steer make texts of concepts, layer by layer, and how likely what they write remains."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.figure import FigureBase

from figures.captions import counts
from figures.dodged import UNSTEERED, draw_dodged
from figures.drawing import PAGE, Drawing, Place, page
from figures.looks import marks
from odesteer_tl.looks import looks

#: panels side by side
ACROSS = 4
CAPTION = """\
Steering toward concepts of AxBench at {level:g} nats of KL, by the layer steered at; two panels a concept and model.
Above: by how much likelier a held-out text of the concept becomes next to another text (mean change of the log-odds,
nats a text, with 95 % intervals); dotted: unsteered. Below: mean log-likelihood, under the unsteered model, of 20
tokens that the steered model writes, with intervals; dotted: of those that the unsteered one
writes. Crosses: placebo, a random direction. N = {n} pairs of texts a point. {source}"""


def draw_steering(
    table: pd.DataFrame, level: float, panels: dict[tuple[str, str], str], *, source: str = "", figure: Place = None
) -> Drawing:
    """Draw effect and fluency by layer for every way to steer, a column a concept and model.

    Args:
        table: `model`, `concept`, `layer`, `label`, `level`, `change`, `low`, `high`, `log_likelihood` and
            its ends, `n`.
        level: of KL, nats.
        panels: titles, by model and concept.
        source: sentences for the caption on where the table comes from. figure: see `page`.

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
    down = -(-len(panels) // ACROSS)
    with page(figure, PAGE, 0.5 + 3.1 * down) as figure:
        above, below = _places(figure, len(panels), down)
        for effect, fluency, (key, title) in zip(above, below, panels.items(), strict=True):
            rows = own[key]
            draw_dodged(effect, rows, "change", drawn, ("low", "high"))
            draw_dodged(fluency, rows, "log_likelihood", drawn, ("log_likelihood_low", "log_likelihood_high"))
            effect.set_title(title, fontsize=7)
            effect.tick_params(labelbottom=False)
            fluency.set_xlabel("layer steered at")
            for axis, said in ((effect, "change of log-odds\n(nats a text)"), (fluency, "fluency\n(nats a token)")):
                if axis.get_subplotspec().is_first_col():
                    axis.set_ylabel(said)
                else:
                    axis.tick_params(labelleft=False)
        figure.legend(handles=marks(drawn), loc="outside upper left", ncols=3)
        rows = pd.concat(own.values(), ignore_index=True)
        caption = CAPTION.format(level=level, n=counts(rows["n"]), source=source)
        return Drawing(figure, "steering", caption, rows)


def _places(figure: FigureBase, panels: int, down: int) -> tuple[list[Any], list[Any]]:
    """Axes of every panel's effect, and under each those of its fluency; all of a kind of one scale."""
    across = -(-panels // down)
    grid = figure.add_gridspec(2 * down, across, height_ratios=(3, 2) * down)
    found: tuple[list[Any], list[Any]] = ([], [])
    for place in range(panels):
        row, column = divmod(place, across)
        for part, axes in enumerate(found):
            shared: Any = axes[0] if axes else None
            beside: Any = found[0][place] if part else None
            axes.append(figure.add_subplot(grid[2 * row + part, column], sharey=shared, sharex=beside))
    return found
