"""How far the hash seed decides the direction: agreement of ∇h against features, by width."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.ticker import NullLocator

from figures.captions import counts
from figures.looks import LOOKS, label_ends
from figures.save import PAGE, STYLE, save

PANELS = {"kernel": "(a) sketch against the exact kernel", "another seed": "(b) sketch against another hash seed"}
CAPTION = """\
Cosine of the direction of steering (the gradient of h at held-out activations) between (a) a count sketch's barrier
and the exact kernel's of the same gamma, coef0 and C, and (b) two sketches that differ in the hash seed alone.
Marks: mean over {seeds} seeds ({pairs} pairs) of the median over N = {n} activations; bars: the lowest and the
highest of them. The published setting has 8000 features (dotted). Synthetic: two Gaussian classes of one distance
whatever the width d. {source}"""


def draw_sketch(table: pd.DataFrame, out: Path, source: str = "") -> list[Path]:
    """Draw mean and range over seeds of `cosine` against `n_components`, by `source` and `d`.

    Args:
        table: one row a sketch against the kernel or a pair of sketches (`against`).
        source: sentences for the caption on where the table comes from.
    """
    groups = table.groupby(["against", "source", "d", "n_components"], sort=False)["cosine"]
    found = groups.agg(["mean", "min", "max", "count"]).reset_index()
    curves = list(dict.fromkeys(zip(found["source"], found["d"], strict=True)))
    labels = {(name, d): f"{name}, d = {d}" if name == "synthetic" else name for name, d in curves}
    looks = {labels[curve]: look for curve, look in zip(curves, LOOKS, strict=False)}
    with plt.style.context(STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(PAGE, 2.4), sharey=True)
        ends: dict[str, tuple[float, float]] = {}
        for axis, (against, title) in zip(axes, PANELS.items(), strict=True):
            for (name, d), label in labels.items():
                rows = found[(found["against"] == against) & (found["source"] == name) & (found["d"] == d)]
                errors = [rows["mean"] - rows["min"], rows["max"] - rows["mean"]]
                axis.errorbar(rows["n_components"], rows["mean"], yerr=errors, ms=3, lw=1.1, elinewidth=0.7,
                              capsize=1.5, **looks[label])  # fmt: skip
                ends[label] = (rows["n_components"].tolist()[-1], rows["mean"].tolist()[-1])
            axis.axvline(8000, color="0.5", lw=0.8, ls=(0, (1, 2)), zorder=0)
            axis.set(xscale="log", title=title, xlabel="sketch features", ylim=(min(0.0, found["min"].min()), 1.02))
            ticks = sorted(set(found["n_components"]))
            axis.set_xticks(ticks, [f"{n}" for n in ticks])
            axis.xaxis.set_minor_locator(NullLocator())
        axes[0].set_ylabel("cosine of ∇h")
        label_ends(axes[1], ends, looks)
        pairs = counts(found.query("against == 'another seed'")["count"])
        caption = CAPTION.format(seeds=table["seed"].nunique(), pairs=pairs, n=counts(table["n"]), source=source)
        written = save(figure, out, "sketch", caption, found)
        plt.close(figure)
    return written
