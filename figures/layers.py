"""At which layer steering works, at each strength, and how fluent what is written stays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.transforms import ScaledTranslation

from analyses.effects.tables import UNSTEERED, measure
from figures.captions import counts, listed
from figures.drawing import PAGE, Drawing, Place, page
from figures.looks import ACROSS, KNOWN, PLACEBO, REST, SHADE, Look, handles, highlighted
from figures.multiples import ASIDE, BAND, DOTS, Row, columns, draw_multiples

#: of a text, under the unsteered model: nats a token, the median over prompts
FLUENCY = "log_likelihood"
#: nats that its axis spans at least
LEAST_RANGE = 0.5
#: inches of a row of panels, of the outcome and of fluency; of titles, labels and legend
TALL, LOW, AROUND = 1.25, 0.75, 0.8
#: inches of a page, to which rows shrink, as far as this
HIGHEST, LEAST_ROW = 9.0, 0.65
#: layers up to which each is drawn by itself, without lines between them, and the placebo with its intervals too
FEW = 5
#: where no interval reaches above this, axes of success end where the highest does
HALF = 0.5
#: about what was chosen
RING: Look = {"ls": "", "marker": "o", "ms": 7, "mfc": "none", "mec": "black", "mew": 0.8, "zorder": 4}
UNITS = {"angle": "rad", "kl": "nats"}
STRENGTHS = {"angle": "an angle (rad)", "kl": "the KL of the next token (nats)"}
CAPTION = """\
{outcome}, by the layer steered at; a row has one strength, {strengths}; {columns} one method in colour, with its 95 %
intervals, and in grey {others}the placebo (crosses{placebo}). {fluent}N = {n} {asked}
a point. {looks} {plain}{chosen}{source}"""
OUTCOMES = {"success": "Success", "score": "The mean score"}
JUDGED = {"success": " (share of prompts{mean}; judge: {outcome})", "score": " (judge: {outcome})"}
#: methods that have their colour in another column, or in none: as points, or as lines
OTHERS = {True: "the other methods (dots) and ", False: "the other methods (lines) and "}
#: of groups of prompts
MEAN = {False: "", True: ", the mean over their groups"}
#: why it is not success that is drawn
SCORED = "Success tells little here: the unsteered model is at its ceiling, or all methods are at one end. "
PLAIN = "Black, dotted: the unsteered model, with its interval. "
FLUENT = """\
Fluency: the mean log-likelihood of a text's tokens under the unsteered model (nats), median over prompts. """


def draw_layers(
    table: pd.DataFrame, *, source: str = "", outcome: str = "", chosen: pd.DataFrame | None = None,
    asked: str = "test prompts", written: str = "", figure: Place = None,
) -> Drawing:  # fmt: skip
    """Draw success by layer, a row of panels a strength, a column a method in colour; below each, where texts were
    written, their fluency. Where success tells little (`measure`), the judge's score is drawn in its place. Of
    up to `FEW` layers each stands by itself, without a line to the next.

    Where neither a method nor the unsteered model comes near one half, axes of success end where the highest interval
    does.

    Args:
        table: `layer`, `method`, `budget` ("angle" or "kl"), `level`, `success` with `_low` and `_high`, `n`; `score`
            with the same if the judge gives one; `log_likelihood` of the texts if any were written.
        source: sentences for the caption on where the table comes from. outcome: the name of what judged.
        chosen: `label`, `layer`, `budget` and `level` of what was chosen on other prompts: ringed.
        asked: what N counts. written: how texts were, where any were. figure: see `page`.

    Raises:
        ValueError: the table has neither budget. The unsteered model's row is drawn as a line across all layers.
    """
    unsteered = table.loc[table["method"] == UNSTEERED]
    table = table.loc[table["budget"].isin(list(UNITS))]
    if not len(table):
        raise ValueError(f"table has no row whose budget is one of {', '.join(UNITS)}; there is nothing to compare at")
    shown = measure(pd.concat([unsteered, table]))
    scores = {str(name): max(rows[shown].tolist()) for name, rows in table.groupby("method", sort=False)}
    looks = highlighted(scores)
    rows = _rows(table, unsteered, shown)
    heights = [LOW if row.y == FLUENCY else TALL for row in rows]
    tall = max(LEAST_ROW * len(rows), min(HIGHEST - AROUND, sum(heights))) + AROUND
    with page(figure, PAGE, tall) as figure:
        drawn = draw_multiples(figure, rows, looks, heights)
        for quantity in {row.y for row in rows}:
            first = [axes[0] for row, axes in zip(rows, drawn, strict=True) if row.y == quantity]
            success = quantity == "success"
            _share(first, quantity, [*unsteered["success_high"], *table["success_high"]] if success else ())
        for axes in drawn[:-1]:
            for axis in axes:  # all rows are over the same layers
                axis.tick_params(labelbottom=False)
        picked = _picked(chosen, table)
        ringed = _ring(drawn, rows, columns(looks), picked, shown)
        several = sum(KNOWN.get(name) is not PLACEBO for name in scores) > 1
        _legend(figure, looks, bool(len(unsteered)), f"{shown}_low" in table, rows[0].apart, several, ringed)
        caption = CAPTION.format(
            outcome=OUTCOMES[shown] + (JUDGED[shown].format(outcome=outcome, mean=MEAN[asked.startswith("groups")])
                                          if outcome else ""),
            others=OTHERS[rows[0].apart] if several else "",
            columns="a column has" if len(columns(looks)) > 1 else "there is",
            strengths=" or ".join(STRENGTHS[budget] for budget in UNITS if budget in set(table["budget"])),
            placebo=", with its intervals" if rows[0].apart and f"{shown}_low" in table else "",
            fluent=written + FLUENT if rows[-1].y == FLUENCY else "", n=counts(table["n"]), asked=asked,
            looks=_said(scores, looks), source=source,
            chosen=_said_of(picked, columns(looks)),
            plain=(SCORED if shown == "score" else "") + (PLAIN if len(unsteered) else ""),
        )  # fmt: skip
        return Drawing(figure, "layers", caption, pd.concat([unsteered, table]))


def _share(first: Sequence[Axes], quantity: str, highs: Sequence[float]) -> None:
    """One scale for the rows of a quantity, as strengths are compared.

    Args:
        first: the first panel of each row.
        highs: of success, the upper ends of all intervals.
    """
    lows, tops = zip(*(axis.get_ylim() for axis in first), strict=True)
    for axis in first[1:]:  # which takes the limits of the first
        axis.sharey(first[0])
    low, high = min(lows), max(tops)
    if highs:
        low, high = -0.03 * _top(highs), 1.03 * _top(highs)
    # (marks at an end stand clear of the axis)
    least = max(0.06 * (high - low), (LEAST_RANGE - (high - low)) / 2) if quantity == FLUENCY else 0.0
    first[0].set_ylim(low - least, high + least)


def _legend(
    figure: FigureBase,
    looks: Mapping[str, Look],
    unsteered: bool,
    bands: bool,
    apart: bool,
    several: bool,
    ringed: bool,
) -> None:
    """Below the panels each line that all of them have, those with an interval on its shade, or bar where points stand
    apart; a method that has the only column is named here too, of `several` the others, in grey, and what is ringed."""
    own, baselines = columns(looks), [name for name, look in looks.items() if look is PLACEBO]
    entries: dict[str, Any] = {}
    named: list[str] = own[:] if len(own) == 1 else []
    named += [*([UNSTEERED] if unsteered else []), *(name for name in baselines if name not in named)]
    for name in named:
        if name == UNSTEERED:
            (line,), behind = handles({name: ACROSS}), Patch(lw=0, **SHADE)
        else:
            (line,) = handles({name: {**looks[name], "ls": ""} if apart else looks[name]})
            line.set_markersize(2.6)
            behind = _bar(looks[name]) if apart else Patch(lw=0, color=looks[name]["color"], alpha=BAND)
        ranged = bands and (apart or name not in baselines or name in own)
        said = f"{name} (placebo)" if name in baselines else name
        entries[f"{said}, 95 % interval" if ranged else said] = (behind, line) if ranged else line
    if several:
        entries["the other methods"] = Line2D([], [], **{**REST, **(DOTS if apart else {})})
    if ringed:
        entries["chosen on other prompts"] = Line2D([], [], **RING)
    ncols = 2 if len(entries) == 4 else 3
    figure.legend(list(entries.values()), list(entries), loc="outside lower center", ncols=ncols)


def _bar(look: Look) -> Line2D:
    """An interval in a legend, where it is a bar."""
    return Line2D([], [], color=look["color"], ls="", marker="|", ms=9)


def _rows(table: pd.DataFrame, unsteered: pd.DataFrame, shown: str) -> list[Row]:
    """The rows of panels: what is shown by layer at each strength, and fluency below where texts were written."""
    fluent = FLUENCY in table and bool(table[FLUENCY].notna().any())
    names = {shown: shown, **({FLUENCY: "fluency"} if fluent else {})}
    apart = len(set(table["layer"])) <= FEW
    rows = [
        Row(found, "layer", quantity, ("", f"{name}\n{level:g} {unit}"), unsteered, apart=apart)
        for budget, unit in UNITS.items()
        for level, found in table.loc[table["budget"] == budget].groupby("level")
        for quantity, name in names.items()
    ]
    return [*rows[:-1], replace(rows[-1], labels=("layer", rows[-1].labels[1]))]


def _said(scores: Mapping[str, float], looks: Mapping[str, Look]) -> str:
    """Which methods are in colour and which in grey, the placebo among them."""
    placebos = [f"{name} (crosses)" for name, look in looks.items() if look is PLACEBO]
    grey = listed([*placebos, *(name for name in scores if name not in looks)])
    return f"In colour: {listed(n for n in looks if looks[n] is not PLACEBO)}. In grey: {grey or 'nothing'}."


def _picked(chosen: pd.DataFrame | None, table: pd.DataFrame) -> list[dict[str, Any]]:
    """What was chosen, of the methods and not the placebo, where there was something to choose."""
    sizes: Any = table.groupby(["method", "budget"]).size()
    rows: list[Any] = [] if chosen is None else chosen.to_dict("records")
    return [row for row in rows
            if sizes.get((row["label"], row["budget"]), 0) > 1 and KNOWN.get(row["label"]) is not PLACEBO]  # fmt: skip


def _ring(
    drawn: Sequence[list[Axes]], rows: Sequence[Row], names: Sequence[str], picked: Sequence[dict[str, Any]], shown: str
) -> bool:
    """A ring about what was chosen, in the panel of its strength and method, where the method has one; whether any."""
    ringed = False
    for row, axes in zip(rows, drawn, strict=True):
        for pick in picked if row.y == shown else ():
            cell = pd.Series({"method": pick["label"], **{name: pick[name] for name in ("budget", "level", "layer")}})
            at = row.table.loc[(row.table[cell.index] == cell).all(axis=1)]
            if len(at) and pick["label"] in names:
                axis = axes[list(names).index(pick["label"])]
                place = axis.transData + ScaledTranslation(row.apart * ASIDE / 72, 0, axis.figure.dpi_scale_trans)
                axis.plot(at["layer"], at[shown], transform=place, **RING)
                ringed = True
    return ringed


def _said_of(picked: Sequence[dict[str, Any]], names: Sequence[str]) -> str:
    """Which cells were chosen."""
    cells = [f"{row['label']} at layer {row['layer']} and {row['level']:g} {UNITS[row['budget']]}" for row in picked]
    ringed = "ringed" if all(row["label"] in names for row in picked) else "ringed where in colour"
    return f"Chosen on the select prompts ({ringed}): {listed(cells)}. " if cells else ""


def _top(highs: Sequence[float]) -> float:
    """Where axes of success end."""
    highest = max(highs)
    return highest if 0 < highest < HALF else 1.0
