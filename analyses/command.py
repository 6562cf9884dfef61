"""What a study's command line does around it: print its report, or say in one line why there is none."""

from __future__ import annotations

import sys
from collections.abc import Callable

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
    return 0
