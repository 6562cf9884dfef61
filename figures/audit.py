"""The audit of methods: success at equal KL, those trained through the model beside those fitted on activations."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from figures.captions import counts, listed
from figures.looks import REST, Look, highlighted, label_ends
from figures.save import PAGE, STYLE, save

#: how a method is made, by marker
MARKERS = {"trained": "^", "fitted": "o"}
PLACEBO = "random"
UNSTEERED = "unsteered"
NEEDED = ("method", "made", "budget", "level", "measure", "value", "low", "high", "n", "layer")
CAPTION = """\
Success at equal KL of every method, layer {layers}. Triangles: trained through the model; circles: fitted on its
activations; all learned from the same texts. Bars: 95 % intervals. N = {n} prompts a point. In colour: {shown}. In
grey: {rest}.{missed}{plain} {source}"""


def draw_audit(table: pd.DataFrame, out: Path, source: str = "") -> list[Path]:
    """Draw success against the KL asked for, a line a method, a marker by how it is made.

    Args:
        table: as `analyses.effects.audit.audit` makes it.
        source: sentences for the caption on where the table comes from.

    Raises:
        ValueError: a column is missing, or there is no success at a level of KL.
    """
    missing = [name for name in NEEDED if name not in table]
    if missing:
        raise ValueError(f"table lacks {', '.join(missing)}; give the audit of a comparison")
    reached = table.query("budget == 'kl' and measure == 'budget reached' and value < 0.95")
    table = table.query("measure == 'success'")
    plain, rows = table.query("method == @UNSTEERED"), table.query("budget == 'kl'")
    if not len(rows):
        raise ValueError("table has no success at a level of KL; run the comparison with --kl")
    looks = _looks(rows)
    with plt.style.context(STYLE):
        figure, axis = plt.subplots(figsize=(PAGE, 3.2))
        ends = _lines(axis, rows, looks)
        for height in plain["value"]:
            axis.axhline(height, color="black", ls=":", lw=0.9, zorder=1)
        levels = sorted(set(rows["level"]))
        axis.set(xscale="log", ylim=(-0.03, 1.05), xlim=(0.8 * levels[0], 1.25 * levels[-1]),
                 xlabel="KL from the unsteered model asked for (nats)", ylabel="success")  # fmt: skip
        axis.set_xticks(levels, [f"{level:g}" for level in levels])
        axis.xaxis.set_minor_locator(NullLocator())
        kinds = [Line2D([], [], color="0.4", ls="", ms=4, marker=mark, label=name) for name, mark in MARKERS.items()]
        axis.legend(handles=kinds, loc="lower left")
        label_ends(axis, ends, looks)
        names = list(dict.fromkeys(map(str, rows["method"])))
        short = listed(str(name) for name in reached["method"])
        caption = CAPTION.format(
            layers=counts(rows["layer"]), n=counts(rows["n"]), shown=listed(looks), source=source,
            rest=listed(name for name in names if name not in looks) or "nothing",
            missed=f" Not at equal budget, since some prompts could not spend it: {short}." if short else "",
            plain=" Black, dotted: the unsteered model." if len(plain) else "",
        )  # fmt: skip
        written = save(figure, out, "audit", caption, table.query("method == @UNSTEERED or budget == 'kl'"))
        plt.close(figure)
    return written


def _looks(rows: pd.DataFrame) -> dict[str, Look]:
    """Known methods in their own colours, then the best trained ones; each with the marker of how it is made."""
    made: dict[str, str] = dict(zip(rows["method"], rows["made"], strict=True))
    # whatever is known comes first; of the others those that are trained
    best = {name: max(found["value"].tolist()) for name, found in rows.groupby("method", sort=False)}
    looks = highlighted({str(name): value + (made[str(name)] == "trained") for name, value in best.items()})
    return {n: look if n == PLACEBO else {**look, "marker": MARKERS[made[n]]} for n, look in looks.items()}


def _lines(axis: Axes, rows: pd.DataFrame, looks: dict[str, Look]) -> dict[str, tuple[float, float]]:
    """A line a method; where the highlighted ones end."""
    ends: dict[str, tuple[float, float]] = {}
    for name, found in rows.sort_values("level").groupby("method", sort=False):
        look, x, y = looks.get(str(name)), found["level"].to_numpy(), found["value"].to_numpy()
        if look is None:
            rest: Look = {**REST, "marker": MARKERS[str(found["made"].iloc[0])], "ms": 2.5}
            axis.plot(x, y, **rest)
            continue
        errors = [y - found["low"].to_numpy(), found["high"].to_numpy() - y]
        axis.errorbar(x, y, yerr=errors, ms=4, lw=1.2, elinewidth=0.6, zorder=3, **look)
        ends[str(name)] = (float(x[-1]), float(y[-1]))
    return ends
