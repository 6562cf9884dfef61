"""Executes the notebooks: every `.py` (py:percent) becomes an `.ipynb` with its outputs.

`python -m notebooks.build` does all of them, in place, and `python -m notebooks.build 04_layer_sweep` that one; a pair
is edited in its `.py`. `--address` executes nothing: it writes `OWNER` into every link and installation command, the
README's and pyproject.toml's too.
`--model smollm2 --out DIR` runs them on another model and keeps what they show there.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import tyro
from nbclient import NotebookClient
from tyro.conf import Positional

from odesteer_tl._check import require_one_of

#: whose the repository on GitHub is: the one place that says so, for `--address` to write wherever it is quoted
OWNER = "OWNER"
QUOTED = re.compile(r"(github(?:\.com)?/)[\w-]+(?=/odesteer_tl\b)")
#: what the README says as long as there is no owner, and the remark that explains it
PLACEHOLDER = re.compile(r"(?<=git\+)URL\b|(?<=git clone )URL\b")
REMARK = "URL: this repository's address; "
HERE = Path(__file__).parent
SECONDS_A_CELL = 180
#: of another model, which may be a large one
SECONDS_ON_ANOTHER = 3600
#: the line of a notebook that chooses the model
MODEL = 'MODEL = "organism"'
#: nothing is fetched, and sums do not depend on the number of threads
QUIET = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
WIDGET = "application/vnd.jupyter.widget-view+json"


def sources() -> list[Path]:
    """The notebooks' sources, in order."""
    return sorted(HERE.glob("[0-9]*.py"))


def read(source: Path) -> Any:
    """The notebook of a py:percent source, without outputs and with cell ids that depend on the order alone."""
    notebook = jupytext.read(source)
    for i, cell in enumerate(notebook.cells):
        cell.id = f"cell-{i}"
    return notebook


def on(notebook: Any, model: str) -> Any:
    """The notebook with another model."""
    for cell in notebook.cells:
        cell.source = cell.source.replace(MODEL, f"MODEL = {model!r}")
    return notebook


def execute(notebook: Any, folder: Path, seconds: int = SECONDS_A_CELL) -> Any:
    """Run every cell with `folder` as working directory, and drop what differs from run to run.

    Raises:
        CellExecutionError: a cell failed.
    """
    client = NotebookClient(
        notebook, timeout=seconds, kernel_name="python3", resources={"metadata": {"path": str(folder)}},
        record_timing=False,
    )  # fmt: skip
    done = client.execute(env={**os.environ, **QUIET})
    for cell in done.cells:
        if cell.cell_type == "code":
            cell.outputs = [x for x in cell.outputs if not _passing(x)]
    done.metadata.pop("widgets", None)
    done.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    done.metadata["language_info"] = {"name": "python"}
    return done


def _passing(output: Any) -> bool:
    """Whether an output is of the run and not of the result: warnings and progress bars."""
    return output.get("name") == "stderr" or WIDGET in output.get("data", {})


def addressed(text: str, owner: str) -> str:
    """The text with every address of the repository, Colab's too, at this owner's."""
    if owner != "OWNER":
        text = PLACEHOLDER.sub("https://github.com/OWNER/odesteer_tl", text.replace(REMARK, ""))
    return QUOTED.sub(rf"\g<1>{owner}", text)


def main(
    names: Positional[tuple[str, ...]] = (), address: bool = False, model: str | None = None, out: Path | None = None
) -> None:
    """Execute the notebooks of these names in place; by default all of them.

    Args:
        names: the notebooks, as `04_layer_sweep`.
        address: write the repository's address into them, and execute nothing.
        model: another one than the embedded model, as `smollm2`; then `out` is needed.
        out: the folder for what was executed on `model`.

    Raises:
        ValueError: there is no notebook of a name, or `model` without `out` or the other way round.
    """
    known = {source.stem: source for source in sources()}
    for name in names:
        require_one_of("names", name, known)
    if (model is None) != (out is None):
        raise ValueError(f"model={model!r} and out={out!r} go together; give both or none")
    if model is not None and out is not None:
        out.mkdir(parents=True, exist_ok=True)
        for name in names or known:
            done = execute(on(read(known[name]), model), out, SECONDS_ON_ANOTHER)
            nbformat.write(done, out / f"{name}.ipynb")
            print(out / f"{name}.ipynb")
        return
    for file in (HERE.parent / name for name in ("README.md", "pyproject.toml") if address):
        file.write_text(addressed(file.read_text(encoding="utf-8"), OWNER), encoding="utf-8")
    for source in (known[name] for name in names or known):
        for file in (source, source.with_suffix(".ipynb")):
            file.write_text(addressed(file.read_text(encoding="utf-8"), OWNER), encoding="utf-8")
        if address:
            continue
        notebook = execute(read(source), HERE)
        nbformat.write(notebook, source.with_suffix(".ipynb"))
        print(source.stem)


if __name__ == "__main__":
    tyro.cli(main)
