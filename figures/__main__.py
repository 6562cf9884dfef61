"""Draw every figure whose tables exist, and say which are left out. `make figures`

Those of the findings are drawn from the tables kept in `analyses/measured`, into `figures`: they need no results.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from tqdm.auto import tqdm

from analyses.command import from_command_line


@dataclass(frozen=True)
class FiguresConfig:
    """Where tables are read and figures written."""

    results: Path = Path("results")
    """where the tables of studies are"""
    out: Path = Path("results/figures")
    """a figure stands at the place in here that its tables have in `results`"""
    only: tuple[str, ...] = ()
    """names of figures; left out, all"""


def main(config: FiguresConfig) -> None:
    """Draw and report.

    Raises:
        ValueError: `results` is named and no folder, or a name in `only` is none of the figures'.
    """
    from figures.catalogue import FIGURES  # which needs matplotlib
    from figures.kept import KEPT, OUT

    # a fresh clone has no `results`, and all that the findings' figures are drawn from
    if config.results != FiguresConfig.results and not config.results.is_dir():
        raise ValueError(f"results={str(config.results)!r} is no folder; run a study first or name another")
    names = [*(entry.name for entry in FIGURES), *KEPT]
    if unknown := set(config.only) - set(names):
        raise ValueError(f"only={sorted(unknown)} names no figure; choose from {', '.join(names)}")
    for name in KEPT:
        if not config.only or name in config.only:
            KEPT[name](OUT)
            print(f"{name}: {OUT.name}, from analyses/measured")
    chosen = [entry for entry in FIGURES if not config.only or entry.name in config.only]
    work = [(entry, list(entry.folders(config.results))) for entry in chosen]
    tasks = [(entry, folder) for entry, folders in work for folder in folders]
    written = [
        file
        for entry, folder in tqdm(tasks, desc="drawing")
        for file in entry.drawn(folder).save(config.out / folder.relative_to(config.results))
    ]
    pictures = [str(file) for file in written if file.suffix == ".pdf"]
    for picture in pictures:
        print(picture)
    for entry, folders in work:
        if not folders:
            print(f"{entry.name}: left out, no {' + '.join(entry.files)} under {config.results}; `{entry.made_by}`")
    print(f"{len(pictures)} drawn; beside each PDF stand a PNG, the caption and the numbers drawn")


if __name__ == "__main__":
    sys.exit(from_command_line(FiguresConfig, main, __doc__))
