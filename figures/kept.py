"""The figures of the findings on real models, drawn from tables that are kept beside the code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from analyses.measured.__main__ import FOLDER, kept
from figures.audited import draw_audited
from figures.certified_layers import draw_certified_layers
from figures.detection import draw_detection
from figures.layer_changes import draw_layer_changes
from figures.readers import draw_readers

OUT = Path(__file__).parent
#: kept tables, by the figure that is drawn from them
TABLES: dict[str, tuple[str, ...]] = {
    "audited": ("audit",),
    "certified_layers": ("evidence-angles", "evidence-certification"),
    "detection": ("evidence-detection",),
    "layer_changes": ("evidence-layers",),
    "readers": ("evidence-readers",),
}


def _said(*names: str) -> str:
    """Which kept tables, and of which commits."""
    firsts = [(FOLDER / f"{name}.csv").read_text().partition("\n")[0].partition("commit ")[2] for name in names]
    said = "; ".join(f"{name}, commit {commit}" for name, commit in zip(names, firsts, strict=True))
    return f"Kept tables: {said}."


def _audited(out: Path) -> list[Path]:
    (name,) = TABLES["audited"]
    return draw_audited(kept(name), 0.1, "SmolLM2", out, _said(name))


def _certified_layers(out: Path) -> list[Path]:
    names = TABLES["certified_layers"]
    return draw_certified_layers(kept(names[0]), kept(names[1]), out, _said(*names))


def _detection(out: Path) -> list[Path]:
    (name,) = TABLES["detection"]
    return draw_detection(kept(name), out, _said(name))


def _layer_changes(out: Path) -> list[Path]:
    (name,) = TABLES["layer_changes"]
    return draw_layer_changes(kept(name), out, _said(name))


def _readers(out: Path) -> list[Path]:
    (name,) = TABLES["readers"]
    return draw_readers(kept(name), out, _said(name))


#: by the name of its files
KEPT: dict[str, Callable[[Path], list[Path]]] = {
    "audited": _audited,
    "certified_layers": _certified_layers,
    "detection": _detection,
    "layer_changes": _layer_changes,
    "readers": _readers,
}
