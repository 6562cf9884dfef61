"""Pages that are made at each build: the table of methods, and the notebooks with their outputs."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import odesteer_tl as ode

HERE = Path(__file__).parent
NOTEBOOKS = HERE.parents[1] / "notebooks"
#: lines of an output that are shown
LONGEST = 40


def write_methods() -> None:
    """`methods.md`: the overview of `METHODS`, which a page includes."""
    table = ode.METHODS.frame()
    lines = ["| name | idea | source | made | acts at | certificate |", "|:--|:--|:--|:--|:--|:--|"]
    for row in table.to_dict("records"):
        against = row["certificate"].removeprefix("against ").removeprefix("of ")
        cells = (f"`{row['method']}`", row["idea"], row["source"], row["made"], f"`{row['site']}`", against)
        lines.append("| " + " | ".join(str(x).replace("|", "\\|") for x in cells) + " |")
    _write(HERE / "methods.md", "\n".join(lines) + "\n")


def write_notebooks() -> None:
    """A page a notebook: its text, its code, and what the code printed and drew."""
    for file in sorted(NOTEBOOKS.glob("*.ipynb")):
        cells: list[Any] = json.loads(file.read_text(encoding="utf-8"))["cells"]
        parts = [_cell(cell, f"{file.stem}-{i}") for i, cell in enumerate(cells)]
        _write(HERE / f"{file.stem}.md", "\n\n".join(part for part in parts if part) + "\n")


def _cell(cell: Any, name: str) -> str:
    source = "".join(cell["source"]).strip()
    if cell["cell_type"] != "code":
        return source
    parts = [f"```python\n{source}\n```"] if source else []
    for k, output in enumerate(cell["outputs"]):
        parts.append(_output(output, f"{name}-{k}"))
    return "\n\n".join(part for part in parts if part)


def _output(output: Any, name: str) -> str:
    data = output.get("data", {"text/plain": output.get("text", "")})
    if "image/png" in data:
        image = HERE / f"{name}.png"
        content = base64.b64decode("".join(data["image/png"]))
        if not image.exists() or image.read_bytes() != content:
            image.write_bytes(content)
        return f"![output]({name}.png)"
    if "text/html" in data:
        # a fence whose content no Markdown is looked for in
        return "```{raw} html\n" + "".join(data["text/html"]).replace("```", "") + "\n```"
    lines = "".join(data.get("text/plain", "")).rstrip().splitlines()
    if not lines:
        return ""
    shown = lines[:LONGEST] + (["…"] if len(lines) > LONGEST else [])
    return "```text\n" + re.sub(r"`{3,}", "", "\n".join(shown)) + "\n```"


def _write(file: Path, text: str) -> None:
    """Only what is new, so that an unchanged page is not built again."""
    if not file.exists() or file.read_text(encoding="utf-8") != text:
        file.write_text(text, encoding="utf-8")
