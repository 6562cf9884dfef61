"""Where following ∇h stops climbing: violations, saturation and norm drift against the angle asked for."""

from __future__ import annotations

import pandas as pd

from figures.captions import counts
from figures.drawing import PAGE, Drawing, Place, page
from figures.looks import Look, look

#: marks that may coincide are seen behind each other by their sizes
SIZES = {"euler": 5.0, "geodesic": 3.5, "certified": 3.0}
NAMES = {"euler": "Euler, as published", "geodesic": "geodesic", "certified": "certified"}
PANELS = {"violating": ("(a) h falls somewhere", "share of prompts with\na step on which h falls"),
          "saturation": ("(b) climb", "share of the way to\nthe ceiling of h"),
          "norm_ratio": ("(c) norm", "norm after / before")}  # fmt: skip
CAPTION = """\
Following the gradient of the barrier h at layer {layer}, by the angle asked for. (a) Share of prompts with at least
one step on which h provably falls somewhere; bands: 95 % exact (Clopper-Pearson) intervals. (b) Median share of the
way from the start to the ceiling of h; bands: 10-90 % of prompts. (c) Median norm after steering over the norm
before. The prompt is the unit; N = {n} prompts. {source}"""


def draw_certification(
    table: pd.DataFrame, *, layer: int | None = None, source: str = "", figure: Place = None
) -> Drawing:
    """Draw `violating` (with its interval), `saturation` (10–90 % band) and `norm_ratio` against `angle`.

    Args:
        table: one row an integrator × angle (× layer).
        layer: which one; by default the middle one of the table.
        source: sentences for the caption on where the table comes from. figure: see `page`.
    """
    layers = sorted(set(table["layer"]))
    chosen = layers[len(layers) // 2] if layer is None else layer
    rows = table.loc[table["layer"] == chosen]
    with page(figure, PAGE, 2.35) as figure:
        axes = figure.subplots(1, 3)
        for name, group in rows.groupby("integrator", sort=False):
            drawn: Look = {**look(str(name)), "ms": SIZES[str(name)], "lw": 1.2}
            for axis, quantity in zip(axes, PANELS, strict=True):
                # a hollow marker shows the one below it where curves coincide
                axis.plot(group["angle"], group[quantity], mfc="white", mew=0.9, label=NAMES[str(name)], **drawn)
                if f"{quantity}_low" in group:
                    axis.fill_between(group["angle"], group[f"{quantity}_low"], group[f"{quantity}_high"],
                                      color=drawn["color"], alpha=0.15, lw=0)  # fmt: skip
        for axis, (title, label) in zip(axes, PANELS.values(), strict=True):
            axis.set(title=title, xlabel="angle asked for (rad)", ylabel=label)
        axes[0].set_ylim(-0.03, 1.03)
        axes[1].set_ylim(0, 1.05)
        known = axes[0].get_legend_handles_labels()
        figure.legend(*known, loc="outside upper left", ncols=len(SIZES), handlelength=3)
        caption = CAPTION.format(layer=chosen, n=counts(rows["n"]), source=source)
        shown = [c for c in rows.columns if c in ("integrator", "layer", "angle", "n") or c.startswith(tuple(PANELS))]
        return Drawing(figure, "certification", caption, rows.loc[:, shown])
