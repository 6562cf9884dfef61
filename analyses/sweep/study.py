"""A study: what is computed, on what, for which cells. Its hash is of everything that determines a cell's result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd

#: JSON scalars by name: one cell's settings
Config = Mapping[str, Any]


@dataclass(frozen=True)
class Cell:
    """The unit of work and of writing: one config, and the name of the file that will hold its rows."""

    key: str
    config: Config


@dataclass(frozen=True)
class Refused:
    """In the place of a cell's rows, or of anything else that cannot be had.

    Attributes:
        why: in the words of what refused.
    """

    why: str


@dataclass(frozen=True)
class Study:
    """A computation over a grid of cells.

    Args:
        name: the first part of the directory's name.
        function: `(context, config) → rows`, or `Refused`: the cell is done then, has no rows, and says why; a
            module-level function, so that it can be sent to other processes.
        context: makes what all cells share (model, data, fits) and cannot be sent: called once in each process. A
            module-level function, a `functools.partial` of one, or an instance of a module-level class. It also
            sets what a process shares by nature, such as torch's number of threads.
        settings: everything else that determines the result, JSON-able: model identity, data digest, seeds.
        version: of `function` and `context`; raise it when their code changes results.
        cells: one config a cell; the final table has their order.
        group: a config key; cells that share its value run in one process, one after the other, so that what the
            context caches for them is made once. Empty: every cell by itself.

    Raises:
        ValueError: no cells, two equal ones, one that lacks `group`, or something that is not JSON-able.
    """

    name: str
    function: Callable[[Any, Config], pd.DataFrame | Refused]
    context: Callable[[], Any]
    settings: Mapping[str, Any]
    version: str
    cells: tuple[Config, ...]
    group: str = ""
    description: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.cells:
            raise ValueError("cells is empty; a study needs at least one")
        for config in self.cells:
            if self.group and self.group not in config:
                raise ValueError(f"group={self.group!r} is not in cell {dict(config)}; every cell needs it")
        object.__setattr__(self, "description", _json("the study", {
            "name": self.name,
            # not its module: that is "__main__" when the study is run by `python -m`
            "function": self.function.__qualname__,
            "version": self.version,
            "settings": self.settings,
        }))  # fmt: skip
        seen: set[str] = set()
        for cell in self.keyed:
            if cell.key in seen:
                raise ValueError(f"cells holds {dict(cell.config)} twice; name what tells them apart in the config")
            seen.add(cell.key)

    @property
    def digest(self) -> str:
        """Hash of all that determines a cell beside its own config: another model, data or version is another study.

        More cells are not: they are kept in the same folder, and those that are there already are not run again.
        """
        return _hash(self.description)

    @cached_property
    def keyed(self) -> tuple[Cell, ...]:
        """The cells with their keys, in the order of the table."""
        digest = self.digest
        return tuple(Cell(_hash(digest + _json("a cell", config)), config) for config in self.cells)

    @property
    def groups(self) -> tuple[tuple[Cell, ...], ...]:
        """The cells by value of `group`, in order of first appearance."""
        found: dict[str, list[Cell]] = {}
        for cell in self.keyed:
            found.setdefault(_json("a group", cell.config[self.group]) if self.group else cell.key, []).append(cell)
        return tuple(tuple(cells) for cells in found.values())


def _json(what: str, content: Any) -> str:
    try:
        # configs may be any mapping; NaN is not JSON and equals nothing, itself included
        return json.dumps(content, sort_keys=True, allow_nan=False, default=_plain)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} is not JSON-able ({error}); use strings, finite numbers, booleans, lists") from error


def _plain(x: Any) -> dict[str, Any]:
    if isinstance(x, Mapping):
        return dict(x)  # pyright: ignore[reportUnknownArgumentType]
    raise TypeError(f"{x!r} of type {type(x).__name__}")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
