"""Writing a figure: vector PDF and PNG, its caption and its numbers; the same bytes for the same table."""

from __future__ import annotations

import warnings
from pathlib import Path
from textwrap import fill

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from figures.legible import faults

STYLE = str(Path(__file__).parent / "odesteer.mplstyle")
#: widths in inches at which figures are printed: one column of two, and the page
COLUMN, PAGE = 3.25, 6.75


class IllegibleWarning(UserWarning):
    """A figure whose text overlaps, is cut off or is too small to print."""


def save(figure: Figure, out: Path, name: str, caption: str, drawn: pd.DataFrame) -> list[Path]:
    """Write `name.pdf` and `name.png` without dates or software versions, `name_caption.txt` and `name_data.csv`.

    The figure is closed.

    Args:
        drawn: the numbers in the figure, one row a mark.

    Warns:
        IllegibleWarning: once a fault of `legible.faults`; the figure is written all the same.
    """
    out.mkdir(parents=True, exist_ok=True)
    # the layout once: it costs more than the drawing, and both files are to have the same
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for fault in faults(figure):
        warnings.warn(f"{name}: {fault}", IllegibleWarning, stacklevel=2)
    pdf, png, text, csv = (out / f"{name}{end}" for end in (".pdf", ".png", "_caption.txt", "_data.csv"))
    figure.savefig(pdf, metadata={"CreationDate": None, "Creator": None, "Producer": None})
    figure.savefig(png, metadata={"Software": None})
    # a palette takes a third of the bytes, and looks the same
    with Image.open(png) as picture:
        picture.convert("RGB").quantize(256).save(png, optimize=True, dpi=picture.info["dpi"])
    plt.close(figure)
    text.write_text(fill(" ".join(caption.split()).replace(" %", "\u00a0%"), 100) + "\n", encoding="utf-8")
    # more digits than print shows, fewer than the last ones of a table read back from text
    drawn.to_csv(csv, index=False, float_format="%.8g")
    return [pdf, png, text, csv]
