"""What a command line does around a study: read the settings, run, and say in one line why something is refused."""

from __future__ import annotations

import contextlib
import io
import resource
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import partial, wraps
from inspect import isroutine
from pkgutil import resolve_name
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import tyro

from analyses.options import Formerly
from analyses.sweep import IncompleteStudy, StoreError, WillRepeat
from odesteer_tl._renamed import said_now

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
    settings: type[Config] | Mapping[str, Callable[..., Config]],
    main: Callable[[Config], int | None] | str,
    description: str | None,
    args: Sequence[str] | None = None,
) -> int:
    """Read the settings from the command line and run; what is refused is said in one line.

    Args:
        settings: their class; or functions by the name of a subcommand, of which `main` then gets the call that was
            asked for, to be made there.
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
        print(_line(error), file=sys.stderr)
        return 2


def _line(error: Exception) -> str:
    """What an error says, in one line; of a file that is not there some libraries give no more than its name."""
    said = " ".join(str(error).split())
    if isinstance(error, FileNotFoundError):
        name = error.filename or (said if " " not in said else None)
        return said if name is None else f"{str(name)!r} is not there; check the path"
    return said


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
        name = _named(each.name, notes)
        if isinstance(value, bool):
            found.append(f"--{'' if value else 'no-'}{name}")
        else:
            found += [f"--{name}", *map(str, value if isinstance(value, tuple) else [value])]
    return found


def renamed(settings: Any, args: Sequence[str]) -> list[str]:
    """A command line with the former names of options, and of methods that they take, replaced by the current ones.

    Args:
        settings: as `from_command_line` has them.
    """
    return [option + equals + value for option, equals, value, _ in _renamed(settings, args)]


def _renamed(settings: Any, args: Sequence[str]) -> list[tuple[str, str, str, str]]:
    """The words of a command line: option, `=` and value, as they are called now, and the value as it was given."""
    former, values, found, current = _former(settings), _values(settings), list[tuple[str, str, str, str]](), ""
    for word in args:
        option, equals, given = word.partition("=") if word.startswith("-") else ("", "", word)
        if option.startswith("--"):
            option = former.get(option.replace("_", "-"), option)
            current = option.replace("_", "-")
        found.append((option, equals, values.get(current, str)(given), given))
    return found


def _values(settings: Any) -> dict[str, Callable[[str], str]]:
    """By option: what makes a former name that it is given today's."""
    return {f"--{prefix}{name}": note.value for prefix, name, note in _noted(settings) if note.value is not None}


def _former(settings: Any) -> dict[str, str]:
    """The current name of each option's former ones."""
    return {f"--{prefix}{old}": f"--{prefix}{name}" for prefix, name, note in _noted(settings) for old in note.names}


def _noted(settings: Any, prefix: str = "") -> Iterator[tuple[str, str, Formerly]]:
    """Each option that has former names, or takes what has some: its prefix, its name, and these."""
    if isinstance(settings, Mapping):
        parts = tuple(settings.values())
    elif is_dataclass(settings) or isroutine(settings):
        parts = None
    else:
        parts = get_args(settings)[:1] if get_origin(settings) is Annotated else get_args(settings)
    if parts is not None:  # of subcommands
        for part in parts:
            yield from _noted(part, prefix)
        return
    for name, hint in get_type_hints(settings, include_extras=True).items():
        notes = getattr(hint, "__metadata__", ())
        if is_dataclass(kind := get_args(hint)[0] if notes else hint):
            yield from _noted(kind, prefix if UNPREFIXED in notes else f"{prefix}{name}.")
        yield from ((prefix, _named(name, notes), note) for note in notes if isinstance(note, Formerly))


def _named(name: str, notes: Sequence[Any]) -> str:
    """What an option is called on a command line, but for its prefix."""
    return str(next((note.name for note in notes if getattr(note, "name", None)), name)).replace("_", "-")


def _deferred(function: Callable[..., Config]) -> Callable[..., Callable[[], Config]]:
    """A function of the same arguments that returns the call instead of making it."""

    @wraps(function)
    def call(*args: Any, **named: Any) -> Callable[[], Config]:
        return partial(function, *args, **named)

    return call


def _read(settings: Any, description: str | None, args: Sequence[str] | None) -> Any:
    """The settings of a command line.

    Raises:
        ValueError: settings refuse a value; tyro would draw a box around what they say.
        SystemExit: anything else that tyro has said.
    """
    said, parts = io.StringIO(), _renamed(settings, sys.argv[1:] if args is None else args)
    words = [option + equals + value for option, equals, value, _ in parts]
    for *_, value, given in parts:
        if value != given:
            print(said_now(given, value), file=sys.stderr)
    try:
        with contextlib.redirect_stderr(said):
            if isinstance(settings, Mapping):
                calls = {name: _deferred(function) for name, function in settings.items()}
                found = tyro.extras.subcommand_cli_from_dict(calls, description=description, args=words)
            else:
                found = tyro.cli(settings, description=description, args=words)
    except SystemExit as end:
        cause = end.__context__
        while cause is not None:
            if isinstance(cause, ValueError) and _is_refusal(cause):
                raise cause from None
            cause = cause.__context__
        sys.stderr.write(said.getvalue())
        raise
    sys.stderr.write(said.getvalue())
    return found


def _is_refusal(error: Exception) -> bool:
    """Whether the error is one of ours, or a file's: another one is a fault, whose traceback is wanted."""
    if isinstance(error, OSError):
        return True
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return str(frame.f_globals.get("__name__")).partition(".")[0] in (*OURS, "__main__")
