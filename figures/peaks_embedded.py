"""Where paths of the embedded model stop getting likelier, and how far they close the gap to real positives."""

from __future__ import annotations

import pandas as pd

from figures.dodged import draw_dodged
from figures.drawing import PAGE, Drawing, Place, page
from figures.looks import ACROSS, looks, marks

#: of the paths' table; the two-layer model of stories has a page of its own
CONCEPTS = ("agreement", "valence")
TICKS = (1, 0, -1, -10, -100, -1000)
CAPTION = """\
Paths of the embedded model from {n} held-out prompts, by layer. Above: T*, the strength at which the mean of log
p₊, the likelihood under the positives' own density, peaks; at 0 no strength raises it. Below: what {angle:g} rad
change in that mean, as a share of the gap between the start and real positives; at 1 (grey) a path is as likely as
these, at 0 (black, dotted) as unsteered, below 0 less; the scale is logarithmic beyond ±1. Bars: 95 % intervals,
below those of the change alone. Crosses: placebo, a random direction. {source}"""


def draw_peaks_embedded(
    t_star: pd.DataFrame, declared: pd.DataFrame, angle: float, n: int, *, source: str = "", figure: Place = None
) -> Drawing:
    """Draw T* and the share of the gap that is closed, a column a concept.

    Args:
        t_star: `model` (the concept), `layer`, `method`, `gap`, `t_star` with `_low` and `_high`.
        declared: `model`, `layer`, `method`, `rad`, `log_positive_change` with `_low` and `_high`.
        angle: at which changes were measured, radians.
        n: prompts.
        source: sentences for the caption on where the tables come from. figure: see `page`.
    """
    change = "log_positive_change"
    both = t_star.query("model in @CONCEPTS").rename(columns={"method": "label"})
    short = declared.query("rad == @angle").rename(columns={"method": "label"})
    short = short.merge(both[["model", "layer", "label", "gap"]])
    short = short.assign(**{f"closed{end}": short[f"{change}{end}"] / short["gap"] for end in ("", "_low", "_high")})
    drawn = looks(dict.fromkeys(both["label"]))
    with page(figure, PAGE, 4.4) as figure:
        axes = figure.subplots(2, len(CONCEPTS), sharey="row")
        for (above, below), concept in zip(axes.T, CONCEPTS, strict=True):
            for axis, rows, name in ((above, both, "t_star"), (below, short, "closed")):
                axis.axhline(0.0, **ACROSS)
                draw_dodged(axis, rows[rows["model"] == concept], name, drawn, (f"{name}_low", f"{name}_high"))
            below.axhline(1.0, color="0.4", lw=0.7)
            below.set_yscale("symlog", linthresh=1.0)
            below.set_yticks(TICKS, [f"{tick:,}".replace("-", "−") for tick in TICKS])
            above.set_title(concept)
            below.set_xlabel("layer")
        axes[0, 0].set_ylabel("T*, where mean\nlog p₊ peaks (rad)")
        axes[1, 0].set_ylabel(f"share of the gap\nclosed at {angle:g} rad")
        figure.legend(handles=marks(drawn), loc="outside upper left", ncols=4)
        caption = CAPTION.format(angle=angle, n=n, source=source)
        return Drawing(figure, "peaks_embedded", caption, pd.concat([both, short], ignore_index=True))
