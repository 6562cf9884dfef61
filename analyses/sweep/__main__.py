"""Look at a study from outside: `python -m analyses.sweep status DIR`, `python -m analyses.sweep report DIR`.

Both leave with 0 if every cell is done, with 1 if some failed or are missing, with 2 if there is no readable study.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import tyro

from analyses.command import from_command_line
from analyses.sweep.store import Status, Store, StoreError

Directory = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(help="of the study, with its study.json")]


def status(directory: Directory) -> Status:
    """Count done, failed and missing cells, and show the error of each failed one."""
    store = Store.at(directory)
    for key in sorted(store.failed()):
        failure = store.failure(key)
        print(f"failed: {failure['config']}: {failure['error']} (traceback: failed/{key}.json)")
    return store.status()


def report(directory: Directory) -> Status:
    """Write table.parquet from the cells finished so far, in the study's order."""
    store = Store.at(directory)
    print(store.save_table())
    return store.status()


COMMANDS = {"status": status, "report": report}


def main(args: list[str] | None = None) -> int:
    """Run a command and return its exit code."""
    return from_command_line(COMMANDS, run, None, args)


def run(call: Any) -> int:
    """Look at a study by a call without arguments that gives its `Status`, and print what there is."""
    try:
        found = call()
    except StoreError as error:
        print(error, file=sys.stderr)
        return 2
    print(found)
    return 0 if found.complete else 1


if __name__ == "__main__":
    sys.exit(main())
