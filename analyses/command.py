"""What a command line does around a study: read the settings, run, and say in one line why something is refused."""

from __future__ import annotations

import contextlib
import io
import resource
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import partial, wraps
from inspect import isroutine
from pathlib import Path
from pkgutil import resolve_name
from types import TracebackType
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import tyro

from analyses.options import Formerly, Within
from analyses.sweep import IncompleteStudy, StoreError, WillRepeat
from odesteer_tl._renamed import said_now

#: packages whose errors are written for users
OURS = ("odesteer_tl", "analyses", "figures")
#: what reads tables, and what it calls the file
READERS = {"read_parquet": "path", "read_csv": "filepath_or_buffer"}
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
        print(_line(error), file=sys.stderr)
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
    config: Any = None
    try:
        config = _read(settings, description, args)
        _require_within(config)
        return (resolve_name(main) if isinstance(main, str) else main)(config) or 0
    except (ValueError, OSError, ImportError) as error:
        told = _line(error) if _is_refusal(error) else _unreadable(error, config)
        if told is None:
            raise
        print(told, file=sys.stderr)
        return 2


def _line(error: Exception) -> str:
    """What an error says, in one line; of a file that is not there some libraries give no more than its name."""
    said = " ".join(str(error).split())
    if isinstance(error, FileNotFoundError):
        name = error.filename or (said if " " not in said else None)
        return said if name is None else f"{str(name)!r} is not there; check the path"
    return said


def _given(config: Any, prefix: str = "") -> Iterator[tuple[str, Any, Sequence[Any]]]:
    """Each option of settings that were read, or of the call that was: its name, its value, its notes."""
    if isinstance(config, partial):
        kind, values = config.func, dict(config.keywords)
        kind = getattr(kind, "__wrapped__", kind)
    elif is_dataclass(config):
        kind, values = type(config), {each.name: getattr(config, each.name) for each in fields(config)}
    else:
        return
    hints = get_type_hints(kind, include_extras=True)
    for name, value in values.items():
        notes = getattr(hints[name], "__metadata__", ())
        if is_dataclass(value):
            yield from _given(value, prefix if UNPREFIXED in notes else f"{prefix}{name}.")
        else:
            yield f"{prefix}{_named(name, notes).replace('-', '_')}", value, notes


def _require_within(config: Any) -> None:
    """Raise `ValueError` for a number that its option does not take, or for nothing where something must be named."""
    needed = {each.name for each in fields(config) if _has_no_default(each)} if is_dataclass(config) else set[str]()
    for name, value, notes in _given(config):
        for note in notes:
            if isinstance(note, Within):
                note.require(name, value)
        if name in needed and value == ():
            raise ValueError(f"{name} is empty; give at least one")


def _has_no_default(each: Field[Any]) -> bool:
    return each.default is MISSING and each.default_factory is MISSING


def _unreadable(error: Exception, config: Any) -> str | None:
    """What is said of a table that pandas could not read, by the option that named it or the folder it stands in."""
    at: TracebackType | None = error.__traceback__
    while at is not None:
        inside = at.tb_frame.f_globals.get("__name__", "")
        if inside.startswith("pandas.io.") and at.tb_frame.f_code.co_name in READERS:
            file = at.tb_frame.f_locals.get(READERS[at.tb_frame.f_code.co_name])
            name = next(_naming(config, Path(file)), "") if isinstance(file, str | Path) else ""
            return (
                f"{name}{str(file)!r} is no table that can be read ({_line(error).rstrip('.')}); check the path, "
                "or write the file anew"
            )
        at = at.tb_next
    return None


def _naming(config: Any, file: Path) -> Iterator[str]:
    """What to begin with of a file: each option that names it, or with its value one that names a folder of it."""
    for name, value, _ in _given(config):
        for each in value if isinstance(value, tuple) else (value,):
            if isinstance(each, Path) and each == file:
                yield f"{name}="
            elif isinstance(each, Path) and each in file.parents:
                yield f"{name}={str(each)!r}: "


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
    """The words of a command line: option, `=` and value, as they are called now, and what is said of former names."""
    former, values, found, current = _former(settings), _values(settings), list[tuple[str, str, str, str]](), ""
    for word in args:
        option, equals, given = word.partition("=") if word.startswith("-") else ("", "", word)
        told = list[str]()
        if option.startswith("--"):
            current = former.get(option.replace("_", "-"), option).replace("_", "-")
            if current != option.replace("_", "-"):
                told.append(said_now(option, current))
                option = current
        value = values.get(current, str)(given)
        if value != given:
            told.append(said_now(given, value))
        found.append((option, equals, value, "\n".join(told)))
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
    for *_, told in parts:
        if told:
            print(told, file=sys.stderr)
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
