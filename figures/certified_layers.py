"""Up to which angle the published path climbs at every layer, and how well the h that it climbs reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.image import AxesImage

from figures.captions import SHORT, counts
from figures.drawing import PAGE, Drawing, Place, page
from figures.looks import LOOKS

#: from none to all of the prompts
SHADES = LinearSegmentedColormap.from_list("falls", ["#ffffff", LOOKS[1]["color"]]).with_extremes(bad="0.75")
TICKS = 6
#: runs side by side
ACROSS = 3
CAPTION = """\
Following the published barrier h by ten Euler steps from the last token of {n} prompts a model and concept. Above:
share of prompts on whose path h provably falls somewhere, by layer and by the angle asked for (radians); white: none of
them, which bounds the share by {bound:.3f} (95 %, exact); grey: a layer where there was nothing to certify. Below: AUC
with which that h tells held-out wordings apart,
with its 95 % interval; grey: layers at which it is not shown to be above ½, so that a certificate there is about
nothing. {source}"""


def draw_certified_layers(
    angles: pd.DataFrame, layers: pd.DataFrame, titles: Mapping[str, str], *, source: str = "", figure: Place = None
) -> Drawing:
    """Draw a heat map of `violating` by layer and angle, and the AUC by layer, for every model and concept.

    Args:
        angles: `model`, `concept`, `layer`, `angle`, `violating`, `n`.
        layers: `model`, `concept`, `layer`, `auc`, `auc_low`, `auc_high`.
        titles: of concepts whose names do not tell what they are, with a letter before it.
        source: sentences for the caption on where the tables come from. figure: see `page`.
    """
    runs = list(dict.fromkeys(zip(angles["model"], angles["concept"], strict=True)))
    down = -(-len(runs) // ACROSS)
    across = -(-len(runs) // down)
    with page(figure, PAGE, min(2.5 * down, 8.8)) as figure:  # of a page at most
        axes = figure.subplots(2 * down, across, squeeze=False, height_ratios=[3, 1.4] * down, sharey="row")
        image = None
        for place, (model, concept) in enumerate(runs):
            row, column = divmod(place, across)
            above, below = axes[2 * row, column], axes[2 * row + 1, column]
            own = layers.query("model == @model and concept == @concept")
            image = _heat(above, angles.query("model == @model and concept == @concept"), sorted(own["layer"]))
            named = titles.get(str(concept), str(concept)).partition(") ")[2] or concept
            above.set_title(f"({chr(97 + place)}) {named}, {SHORT.get(str(model), model)}", fontsize=7)
            _reads(below, own)
            if column == 0:
                above.set_ylabel("angle (rad)")
                below.set_ylabel("AUC of h")
        for place in range(len(runs), down * across):
            for part in (0, 1):
                axes[2 * (place // across) + part, place % across].set_axis_off()
        assert image is not None
        bar = figure.colorbar(image, ax=axes, location="right", shrink=0.5, aspect=25, pad=0.015)
        bar.set_label("share of prompts on whose path h falls")
        n = int(angles["n"].to_numpy().min())
        caption = CAPTION.format(n=counts(angles["n"]), bound=1 - 0.025 ** (1 / n), source=source)
        return Drawing(figure, "certified_layers", caption, angles)


def _heat(axis: Axes, rows: pd.DataFrame, layers: Sequence[int]) -> AxesImage:
    wide = rows.pivot(index="angle", columns="layer", values="violating").sort_index().reindex(columns=layers)
    image = axis.imshow(wide, aspect="auto", origin="lower", cmap=SHADES, vmin=0, vmax=1, interpolation="nearest",
                        extent=(-0.5, wide.shape[1] - 0.5, -0.5, wide.shape[0] - 0.5))  # fmt: skip
    axis.set_yticks(range(len(wide)), [f"{angle:g}" for angle in wide.index])
    axis.set_xticks(_ticks(wide.columns), labels=[])
    return image


def _reads(axis: Axes, rows: Any) -> None:
    rows = rows.sort_values("layer")
    x = np.arange(len(rows))
    axis.fill_between(x, rows["auc_low"], rows["auc_high"], color=LOOKS[0]["color"], alpha=0.25, lw=0)
    axis.plot(x, rows["auc"], color=LOOKS[0]["color"], lw=1.2)
    for k in x[(rows["auc_low"] <= 0.5).to_numpy()]:
        axis.axvspan(k - 0.5, k + 0.5, color="0.9", lw=0, zorder=0)
    axis.axhline(0.5, color="0.4", lw=0.7, ls=":")
    axis.set(ylim=(0.3, 1.03), xlim=(-0.5, len(rows) - 0.5), xlabel="layer")
    shown = _ticks(rows["layer"])
    axis.set_xticks(shown, [str(int(rows["layer"].iloc[k])) for k in shown])


def _ticks(layers: Any) -> list[int]:
    return [int(k) for k in np.unique(np.linspace(0, len(layers) - 1, min(TICKS, len(layers))).round())]
