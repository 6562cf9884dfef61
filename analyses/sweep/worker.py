"""What runs in a worker: the cells of one group, with the context its process made once."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analyses.sweep.store import Store, StoreError
from analyses.sweep.study import Cell, Config, Refused

_LOCK = threading.Lock()
#: a context holds a model, whose hooks every thread's passes would share
_TURN = threading.RLock()
_CONTEXT: dict[str, Any] = {}


class WillRepeat(Exception):
    """A cell failed for a reason that is not its own: every other would fail like it, so the run ends."""


@dataclass(frozen=True)
class Group:
    """Cells to run one after the other, and all a worker must know to run them."""

    digest: str
    function: Callable[[Any, Config], pd.DataFrame | Refused]
    context: Callable[[], Any]
    store: Store
    cells: tuple[Cell, ...]


def run_group(group: Group) -> None:
    """Run the cells that are not done yet and write each as it ends; one that raises is recorded and passed over.

    Cells of one process run one after the other, whatever threads it has: they share its context.

    Raises:
        StoreError: a result cannot be written.
        WillRepeat: a cell says that all would fail like it.
        Exception: whatever the context raises: no cell could run without it.
    """
    for cell in group.cells:
        if group.store.has(cell):
            continue
        context = shared_context(group.digest, group.context)
        try:
            with _TURN:
                rows = group.function(context, cell.config)
            group.store.save_rows(cell, rows)
        except StoreError:
            raise
        except WillRepeat as error:
            group.store.save_failure(cell, f"{type(error).__name__}: {error}", traceback.format_exc())
            raise
        except Exception as error:
            group.store.save_failure(cell, f"{type(error).__name__}: {error}", traceback.format_exc())


def shared_context(digest: str, make: Callable[[], Any]) -> Any:
    """This process's context of a study, made at the first call; that of another study is let go."""
    with _LOCK:
        if digest not in _CONTEXT:
            _CONTEXT.clear()
            _CONTEXT[digest] = make()
        return _CONTEXT[digest]


def forget_context() -> None:
    """Let this process's context go, where others will do the work: it holds a model."""
    with _LOCK:
        _CONTEXT.clear()
