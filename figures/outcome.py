"""What becomes of the text against what the steered states are worth."""

from __future__ import annotations

from typing import Any

import pandas as pd

from figures.captions import counts
from figures.drawing import PAGE, Drawing, Place, page
from figures.looks import ACROSS
from figures.reference import LINES, PLACEBO, SCALED, legend, means, nats

UNSTEERED = "unsteered"
PLAIN = " Black, dotted: the unsteered model's texts."
PANELS = {"tokens_log_positive": ("(a) text against likelihood", "mean log p₊ over tokens (nats)"),
          "tokens_h_calibrated": ("(b) text against barrier", "mean calibrated h over tokens (nats)")}  # fmt: skip
CAPTION = """\
{outcome} against the mean over its steered states of (a) log p₊ and (b) calibrated h; a mark a method and strength,
lines join growing strengths.{plain} Means over N = {n} prompts; bars: 95 % intervals (studentised bootstrap). The
axis of (a) leaves the placebo out of view where it falls further. {scaled} {source}"""


def draw_outcome(texts: pd.DataFrame, *, source: str = "", figure: Place = None) -> Drawing:
    """Draw what becomes of the text against what the steered states are worth; a mark a method and strength.

    Args:
        texts: by `method`, `strength` and `prompt`: `score` (or, without a judge, `log_likelihood`, nats a token),
            and the mean over steered tokens of log p₊ and of calibrated h.
        source: sentences for the caption on where the table comes from. figure: see `page`.
    """
    outcome, vertical, said = (
        ("score", "mean score of the text", "The judge's score of the text")
        if "score" in texts
        else ("log_likelihood", "mean log-likelihood\nof the text (nats/token)", "Log-likelihood of the text")
    )
    by_cell = texts.groupby(["method", "strength"], sort=False)
    cells = pd.concat({name: means(by_cell[name]) for name in (outcome, *PANELS)}, axis=1)
    methods = [str(m) for m in texts["method"].unique()]
    with page(figure, PAGE, 2.8) as figure:
        axes = figure.subplots(1, 2, sharey=True)
        for axis, (quantity, (title, label)) in zip(axes, PANELS.items(), strict=True):
            for method in methods:
                rows = cells.loc[[method]].sort_index(level="strength")
                across, up = ((rows[name]["mean"], whiskers(rows[name])) for name in (quantity, outcome))
                axis.errorbar(across[0], up[0], xerr=across[1], yerr=up[1], ms=4, lw=1, elinewidth=0.6, **LINES[method])
            if UNSTEERED in methods:
                axis.axhline(cells.loc[UNSTEERED][outcome]["mean"].iloc[0], **ACROSS)
            axis.set(title=title, xlabel=label)
        real = cells.loc[cells.index.get_level_values("method") != PLACEBO]["tokens_log_positive"]["mean"]
        scaled = nats(axes[0], [real.min(), real.max()], along="x")
        axes[0].set_ylabel(vertical)
        legend(figure, methods, bands=False)
        caption = CAPTION.format(outcome=said, n=counts([texts["prompt"].nunique()]), source=source,
                                 plain=PLAIN if UNSTEERED in methods else "",
                                 scaled=SCALED if scaled else "")  # fmt: skip
        drawn = cells.set_axis([f"{a}_{b}" for a, b in cells.columns], axis=1).reset_index()
        return Drawing(figure, "outcome", caption, drawn)


def whiskers(rows: Any) -> list[Any]:
    """Lengths of the interval below and above the mean."""
    return [rows["mean"] - rows["low"], rows["high"] - rows["mean"]]
