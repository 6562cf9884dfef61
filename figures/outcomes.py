"""What steering achieves and what it costs: success and fluency by method, with exact intervals."""

from __future__ import annotations

import pandas as pd
from matplotlib.lines import Line2D

from figures.captions import counts
from figures.drawing import PAGE, Drawing, Place, page
from figures.looks import ACROSS, handles, looks

TITLES = {"success": "(a) texts judged positive", "parses": "(b) texts that parse exactly"}
UNSTEERED = "unsteered"
CAPTION = """\
(a) Share of steered continuations that the judge calls positive and (b) share that parse exactly, by method, at
temperatures {temperatures} ({faces}); bars: 95 % exact (Clopper-Pearson) intervals.{plain} N = {n} test prompts a mark.
{source}"""
PLAIN = " Black, dotted: the unsteered model, at each temperature."
#: of a mark at the lower temperature and at the higher
FACES = ("filled", "hollow")


def draw_outcomes(table: pd.DataFrame, *, source: str = "", figure: Place = None) -> Drawing:
    """Draw `success` and `parses` (with `_low` and `_high`) by `method`, filled and hollow for two temperatures.

    Args:
        source: sentences for the caption on where the table comes from. figure: see `page`.
    """
    methods = list(dict.fromkeys(map(str, table["method"])))
    drawn, faces = looks(methods), dict(zip(sorted(set(table["temperature"])), FACES, strict=False))
    with page(figure, PAGE, 2.2) as figure:
        axes = figure.subplots(1, 2, sharey=True)
        for axis, (column, title) in zip(axes, TITLES.items(), strict=True):
            for plain in table.loc[table["method"] == UNSTEERED, column]:
                axis.axvline(plain, **ACROSS)
            for row in table.to_dict("records"):
                own, hollow = drawn[str(row["method"])], faces[row["temperature"]] == FACES[1]
                error = [[row[column] - row[f"{column}_low"]], [row[f"{column}_high"] - row[column]]]
                axis.errorbar(row[column], methods.index(str(row["method"])) + (0.16 if hollow else -0.16), xerr=error,
                              capsize=2, mfc="white" if hollow else own["color"],
                              **{**own, "ls": "", "zorder": 3})  # fmt: skip
            axis.set_title(title)
            axis.set_xlim(0, 1.02)
            axis.set_xlabel("share of prompts")
        axes[0].set_yticks(range(len(methods)), methods)
        axes[0].invert_yaxis()
        marks = [Line2D([], [], ls="", marker="o", color="black", mfc="black" if face == FACES[0] else "white",
                        label=f"temperature {temperature:g}") for temperature, face in faces.items()]  # fmt: skip
        lines = handles({UNSTEERED: ACROSS}) if UNSTEERED in methods else []
        figure.legend(handles=[*marks, *lines], loc="outside upper left", ncols=3)
        said = " and ".join(f"{t:g}" for t in faces)
        caption = CAPTION.format(temperatures=said, faces=" and ".join(faces.values()), n=counts(table["n"]),
                                 plain=PLAIN if lines else "", source=source)  # fmt: skip
        shown = ["method", "temperature", *(f"{c}{end}" for c in TITLES for end in ("", "_low", "_high")), "n"]
        return Drawing(figure, "outcomes", caption, table.loc[:, shown])
