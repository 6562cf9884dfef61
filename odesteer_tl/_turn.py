"""Turns: one thread at a time works on a model, whose hooks and replaced blocks all its passes would share."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any
from warnings import warn
from weakref import WeakKeyDictionary

from torch import nn

from odesteer_tl.passes import listen

_LOCKS: WeakKeyDictionary[nn.Module, Any] = WeakKeyDictionary()
_GUARD = threading.Lock()
#: seconds after which a thread that waits says so
PATIENCE = 60.0


@contextmanager
def turn(model: Any) -> Generator[None]:
    """Hold a model for this thread; others wait. The same thread may hold it any number of times.

    Raises:
        ValueError: the model is in training mode, where dropout makes every pass another one.
    """
    module: nn.Module = getattr(model, "original_model", model)
    require_evaluation(module)
    listen(model)
    with _GUARD:
        lock = _LOCKS.setdefault(module, threading.RLock())
    if not lock.acquire(timeout=PATIENCE):
        warn(
            "another thread holds this model, and this one waits for it: leave its `with steerer.on(model)` before "
            "other threads are to use the model",
            stacklevel=3,
        )
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def require_evaluation(module: nn.Module) -> None:
    """Raise `ValueError` if any part of a model is in training mode."""
    training = [name or type(part).__name__ for name, part in module.named_modules() if part.training]
    if training:
        raise ValueError(
            f"model is in training mode ({len(training)} modules, the first {training[0]!r}), where dropout makes "
            "every pass another one; call model.eval() first"
        )
