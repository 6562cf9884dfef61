"""Writing a figure: vector PDF and PNG, the same bytes for the same table."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

STYLE = str(Path(__file__).parent / "odesteer.mplstyle")


def save(figure: Figure, out: Path, name: str) -> list[Path]:
    """Write `out/name.pdf` and `out/name.png` without dates or software versions in them."""
    out.mkdir(parents=True, exist_ok=True)
    pdf, png = out / f"{name}.pdf", out / f"{name}.png"
    figure.savefig(pdf, metadata={"CreationDate": None, "Creator": None, "Producer": None})
    figure.savefig(png, metadata={"Software": None})
    return [pdf, png]
