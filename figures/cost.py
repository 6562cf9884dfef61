"""What steering costs: a call against the published form, more steps, and a whole generation."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from figures.looks import LOOKS, handles
from figures.save import PAGE, STYLE, save

CALL = re.compile(r"steering call, (?:kernel barrier, )?d = (?P<d>\d+), batch (?P<batch>\d+)")
REAL = re.compile(r"the same, against it with real transforms, batch (?P<batch>\d+)")
STEPS = re.compile(r"(?P<many>\d+) steps against (?P<few>\d+), d = (?P<d>\d+), batch (?P<batch>\d+)")
#: what is shown of the rest: time with our part over time without it
WHOLE = {r"generation, .*, sketch, steered": "generating, sketch",
         r"generation, .*, kernel, steered": "generating, kernel", r"collecting all": "collecting all layers",
         r"certifying .* against steering, .* batch 16$": "certifying, batch 16"}  # fmt: skip
LOOK = {"published form": LOOKS[1], "the same, real transforms": LOOKS[2], "ours": LOOKS[0]}
CAPTION = """\
(a, b) Seconds a steering call of ten Euler steps takes against the batch, at d = {widths}: the published form (nine
Fourier transforms a step, complex or real) and ours, {speedups} times faster than the published form. {barriers}
(c) Time with over time without: 1000 steps against 10 (d = 768), and whole runs of a 124 M-parameter model: {ratios}.
Dashed: no extra time. Medians of runs taken in turn in one process on a CPU; times hang on the machine, ratios less.
{source}"""

#: what the two forms followed; until wide sketches had a form of their own, ours followed the kernel barrier there
SAME = "Both follow one sketch barrier to the same end points."
KERNEL = ("At d = 768 both follow one sketch barrier to the same end points; at d = 4096 ours follows the kernel "
          "barrier, which has no hashes.")  # fmt: skip


def calls(table: pd.DataFrame) -> pd.DataFrame:
    """Seconds a call by `d`, `batch` and `form`, read from the benchmark's rows."""
    rows: list[dict[str, Any]] = []
    d = 0
    for row in table.to_dict("records"):
        what = str(row["what"]).strip()
        if found := CALL.fullmatch(what):
            d, batch = int(found["d"]), int(found["batch"])
            rows += [{"d": d, "batch": batch, "form": "published form", "seconds": row["reference"]},
                     {"d": d, "batch": batch, "form": "ours", "seconds": row["ours"]}]  # fmt: skip
        elif (found := REAL.fullmatch(what)) and d:
            # the row below the call it repeats
            rows.append({"d": d, "batch": int(found["batch"]), "form": "the same, real transforms",
                         "seconds": row["reference"]})  # fmt: skip
    return pd.DataFrame(rows)


def ratios(table: pd.DataFrame) -> pd.DataFrame:
    """Time with over time without, for more steps and for whole runs of a model."""
    rows: list[dict[str, Any]] = []
    for row in table.to_dict("records"):
        what = str(row["what"]).strip()
        labels = [label for pattern, label in WHOLE.items() if re.match(pattern, what)]
        if found := STEPS.fullmatch(what):
            labels.append(f"{found['many']} steps / {found['few']}, batch {found['batch']}")
        rows += [{"what": label, "ratio": row["ratio"]} for label in labels]
    return pd.DataFrame(rows, columns=["what", "ratio"])


def draw_cost(table: pd.DataFrame, out: Path, source: str = "") -> list[Path]:
    """Draw seconds a call by batch, form and width, and the ratios of the rest.

    Args:
        table: of `analyses.bench`: `what`, `reference`, `ours`, `ratio`.
        source: sentences for the caption on where the table comes from.

    Raises:
        ValueError: the table has no row of a steering call.
    """
    seconds, rest = calls(table), ratios(table)
    if seconds.empty:
        raise ValueError("table has no row 'steering call, …'; run `python -m analyses.bench` without --only")
    widths = sorted(set(seconds["d"]))
    with plt.style.context(STYLE):
        figure, axes = plt.subplots(1, len(widths) + 1, figsize=(PAGE, 2.3))
        for axis, d, letter in zip(axes, widths, "abcdef", strict=False):
            _calls(axis, seconds.loc[seconds["d"] == d])
            axis.set(title=f"({letter}) a call, d = {d}", xlabel="batch (activations)")
        axes[0].set_ylabel("time of a call")
        _ratios(axes[-1], rest)
        axes[-1].set_title(f"({'abcdef'[len(widths)]}) ratio of times")
        used = {form: look for form, look in LOOK.items() if form in set(seconds["form"])}
        figure.legend(handles=handles(used), loc="outside upper left", ncols=3, handlelength=3)
        wide = seconds.pivot(index=["d", "batch"], columns="form", values="seconds")
        speedups = (wide["published form"] / wide["ours"]).to_dict()
        caption = CAPTION.format(
            widths=" and ".join(str(d) for d in widths), source=source,
            speedups=", ".join(f"{x:.1f} (d = {d}, batch {b})" for (d, b), x in speedups.items()),
            barriers=KERNEL if table["what"].str.contains("steering call, kernel barrier").any() else SAME,
            ratios=", ".join(f"{what} {x:.2f}" for what, x in rest.itertuples(index=False)) or "not in the table",
        )  # fmt: skip
        written = save(figure, out, "cost", caption, pd.concat([seconds, rest]))
        plt.close(figure)
    return written


def _calls(axis: Axes, seconds: pd.DataFrame) -> None:
    for form, rows in seconds.groupby("form", sort=False):
        axis.plot(rows["batch"], rows["seconds"], ms=4, lw=1.2, **LOOK[str(form)])
    batches = sorted(set(seconds["batch"]))
    axis.set(xscale="log", yscale="log", ylim=(2e-4, 1.5))
    axis.set_xticks(batches, [str(b) for b in batches])
    axis.set_yticks([1e-3, 1e-2, 1e-1, 1], ["1 ms", "10 ms", "100 ms", "1 s"])
    axis.xaxis.set_minor_locator(NullLocator())


def _ratios(axis: Axes, rest: pd.DataFrame) -> None:
    axis.plot(rest["ratio"], range(len(rest)), "o", color="C0", mec="black", mew=0.5)
    axis.axvline(1, color="0.3", lw=0.8, ls=(0, (4, 2)), zorder=0)
    axis.set_yticks(range(len(rest)), [str(w) for w in rest["what"]])
    axis.set(ylim=(len(rest) - 0.5, -0.5), xlim=(0, None))
