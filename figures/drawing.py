"""A drawn figure, and where it is drawn: on a page of its own, or in a place of the reader's; written when it is asked.

Every `draw_…` of a figure returns a `Drawing`, and takes `figure`, a matplotlib figure or a SubFigure to draw into.
"""

from __future__ import annotations

import warnings
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from textwrap import fill

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from PIL import Image

from figures.legible import faults

STYLE = str(Path(__file__).parent / "odesteer.mplstyle")
#: widths in inches at which figures are printed: one column of two, and the page
COLUMN, PAGE = 3.25, 6.75
#: where a figure may be drawn; None is a page of its own
Place = Figure | SubFigure | None


class IllegibleWarning(UserWarning):
    """A figure whose text overlaps, is cut off or is too small to print."""


@contextmanager
def page(figure: Place, width: float, height: float) -> Generator[Figure | SubFigure]:
    """Draw within: the style holds, and the place to draw is given.

    Args:
        figure: drawn into, its size left alone; its layout is to be constrained, or the legend lies on the panels.
        width, height: of a new one, where none is given, inches. It is none of pyplot's, so nothing shows it by itself.
    """
    with plt.style.context(STYLE):
        yield figure or Figure(figsize=(width, height))


@dataclass(frozen=True, eq=False)
class Drawing:
    """A figure that was drawn.

    Attributes:
        figure: it, or the place in one that was given.
        name: of its files.
        caption: what is drawn, of what and from which tables.
        data: the numbers in it, one row a mark.
    """

    figure: Figure | SubFigure
    name: str
    caption: str = field(repr=False)
    data: pd.DataFrame = field(repr=False)

    @property
    def axes(self) -> list[Axes]:
        """The figure's, in the order in which they were drawn."""
        return self.figure.axes

    def save(self, out: Path) -> list[Path]:
        """Write `name.pdf` and `name.png` without dates or software versions, `name_caption.txt` and `name_data.csv`.

        The same bytes for the same table, unless the figure was shown before. It is closed.

        Raises:
            ValueError: it was drawn into a SubFigure, which is a part of a page.

        Warns:
            IllegibleWarning: once a fault of `legible.faults`; the figure is written all the same.
        """
        figure = self.figure
        if isinstance(figure, SubFigure):
            raise ValueError("figure= is a SubFigure, a part of a page; save the whole page: page.savefig('page.pdf')")
        out.mkdir(parents=True, exist_ok=True)
        pdf, png, text, csv = (out / f"{self.name}{end}" for end in (".pdf", ".png", "_caption.txt", "_data.csv"))
        with plt.style.context(STYLE):
            # the layout once: it costs more than the drawing, and both files are to have the same
            figure.draw_without_rendering()
            figure.set_layout_engine("none")
            for fault in faults(figure):
                warnings.warn(f"{self.name}: {fault}", IllegibleWarning, stacklevel=2)
            figure.savefig(pdf, metadata={"CreationDate": None, "Creator": None, "Producer": None})
            figure.savefig(png, metadata={"Software": None})
        # a palette takes a third of the bytes, and looks the same
        with Image.open(png) as picture:
            picture.convert("RGB").quantize(256).save(png, optimize=True, dpi=picture.info["dpi"])
        plt.close(figure)
        text.write_text(fill(" ".join(self.caption.split()).replace(" %", "\u00a0%"), 100) + "\n", encoding="utf-8")
        # more digits than print shows, fewer than the last ones of a table read back from text
        self.data.to_csv(csv, index=False, float_format="%.8g")
        return [pdf, png, text, csv]

    def _repr_png_(self) -> bytes | None:
        """For notebooks; a part of a page shows with its page."""
        if isinstance(self.figure, SubFigure):
            return None
        with plt.style.context(STYLE):
            self.figure.savefig(shown := BytesIO(), format="png", dpi="figure")
        return shown.getvalue()
