"""What a command line does around a study: read the settings, run, and say in one line why something is refused."""

from __future__ import annotations

import contextlib
import io
import resource
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pkgutil import resolve_name
from typing import Any, TypeVar, get_args, get_type_hints

import tyro

from analyses.sweep import IncompleteStudy, StoreError, WillRepeat

#: packages whose errors are written for users
OURS = ("odesteer_tl", "analyses", "figures")
#: the mark of settings within settings whose options have no prefix
UNPREFIXED = get_args(tyro.conf.OmitArgPrefixes[int])[1]


def command(study: Callable[[], tuple[object, object]], dry_run: bool = False) -> int:
    """Run a study and print its report and its folder.

    Args:
        dry_run: whether the folder is one that is not written.

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
    print(f"{report}\n\n{'nothing is written; it would go to ' if dry_run else ''}{directory}")
    print(f"peak memory: {peak_mib():,.0f} MiB", file=sys.stderr)
    return 0


def peak_mib() -> float:
    """The most memory that this process, or one that it started and that has ended, has held, MiB."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    most = max(resource.getrusage(kind).ru_maxrss for kind in kinds)
    return most / (2**20 if sys.platform == "darwin" else 2**10)


Config = TypeVar("Config")


def from_command_line(
    settings: type[Config],
    main: Callable[[Config], int | None] | str,
    description: str | None,
    args: Sequence[str] | None = None,
) -> int:
    """Read the settings from the command line and run; what is refused is said in one line.

    Args:
        main: a function, or "module:function", which is imported once the settings are read, with what it needs.

    Returns:
        The exit status: that of `main`, or 0 where it gives none; 2 if something was refused.

    Raises:
        SystemExit: the command line was asked for help, or is none.
    """
    try:
        config = _read(settings, description, args)
        return (resolve_name(main) if isinstance(main, str) else main)(config) or 0
    except (ValueError, OSError, ImportError) as error:
        if not _is_refusal(error):
            raise
        print(" ".join(str(error).split()), file=sys.stderr)
        return 2


def arguments(config: Any) -> list[str]:
    """The command line from which `from_command_line` reads these settings: every one that differs from its default."""
    hints, found = get_type_hints(type(config), include_extras=True), list[str]()
    for each in fields(config):
        value, notes = getattr(config, each.name), getattr(hints[each.name], "__metadata__", ())
        if value == (each.default if each.default_factory is MISSING else each.default_factory()):
            continue
        if is_dataclass(value):
            prefix = "" if UNPREFIXED in notes else f"{each.name}."
            found += [word.replace("--", f"--{prefix}", 1) for word in arguments(value)]
            continue
        name = next((note.name for note in notes if getattr(note, "name", None)), each.name).replace("_", "-")
        if isinstance(value, bool):
            found.append(f"--{'' if value else 'no-'}{name}")
        else:
            found += [f"--{name}", *map(str, value if isinstance(value, tuple) else [value])]
    return found


def _read(settings: type[Config], description: str | None, args: Sequence[str] | None) -> Config:
    """The settings of a command line.

    Raises:
        ValueError: settings refuse a value; tyro would draw a box around what they say.
        SystemExit: anything else that tyro has said.
    """
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(settings, description=description, args=args)
    except SystemExit as end:
        cause = end.__context__
        while cause is not None:
            if isinstance(cause, ValueError) and _is_refusal(cause):
                raise cause from None
            cause = cause.__context__
        sys.stderr.write(said.getvalue())
        raise


def _is_refusal(error: Exception) -> bool:
    """Whether the error is one of ours, or a file's: another one is a fault, whose traceback is wanted."""
    if isinstance(error, OSError):
        return True
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return str(frame.f_globals.get("__name__")).partition(".")[0] in (*OURS, "__main__")
