"""What a study's command line does around it: print its report, or say in one line why there is none."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable
from typing import TypeVar

import tyro

from analyses.sweep import IncompleteStudy, StoreError, WillRepeat


def command(study: Callable[[], tuple[object, object]]) -> int:
    """Run a study and print its report and its folder.

    Returns:
        The exit status: 0, or 1 if a cell failed, or 2 if an argument or a file was refused.
    """
    try:
        report, directory = study()
    except (IncompleteStudy, WillRepeat, StoreError) as error:
        print(error, file=sys.stderr)
        return 1
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{report}\n\n{directory}")
    print(f"peak memory: {peak_mib():,.0f} MiB", file=sys.stderr)
    return 0


def peak_mib() -> float:
    """The most memory that this process, or one that it started and that has ended, has held, MiB."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    most = max(resource.getrusage(kind).ru_maxrss for kind in kinds)
    return most / (2**20 if sys.platform == "darwin" else 2**10)


Config = TypeVar("Config")


def from_command_line(settings: type[Config], main: Callable[[Config], int], description: str | None) -> int:
    """Read the settings from the command line and run; a setting that is refused is one line, as all else."""
    try:
        config = tyro.cli(settings, description=description)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    return main(config)
