"""Measuring: medians of interleaved runs, and the memory a call allocates."""

from __future__ import annotations

import statistics
import time
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

#: about how long one turn lasts
TURN_SECONDS = 0.05


def interleaved(
    first: Callable[[], Any],
    second: Callable[[], Any],
    rounds: int = 15,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[float, float]:
    """Median seconds of two calls run in turn (A B A B …), after one warm-up each.

    A turn of a short call is as many calls as fill `TURN_SECONDS`, timed together, so that neither is charged for the
    other's evicted caches.

    Args:
        clock: `time.process_time` for those of this process alone.
    """
    times: tuple[list[float], list[float]] = ([], [])
    repeats: list[int] = []
    for call in (first, second):
        call()
        repeats.append(max(1, round(TURN_SECONDS / spent(call, clock=clock))))
    for _ in range(rounds):
        for call, n, found in zip((first, second), repeats, times, strict=True):
            found.append(spent(call, n, clock))
    return statistics.median(times[0]), statistics.median(times[1])


def spent(call: Callable[[], Any], times: int = 1, clock: Callable[[], float] = time.process_time) -> float:
    """Seconds a call takes, by default of this process: other programs do not count.

    What was handed to an accelerator is waited for.
    """
    wait = torch.accelerator.synchronize if torch.accelerator.is_available() else lambda: None
    wait()
    start = clock()
    for _ in range(times):
        call()
    wait()
    return (clock() - start) / times


class PeakMemory(TorchDispatchMode):
    """Peak bytes of tensors allocated inside the block and alive at once (buffers inside an operator are not seen)."""

    def __init__(self) -> None:
        super().__init__()
        self.live, self.peak = 0, 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        before = {x.untyped_storage().data_ptr() for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)}
        out = func(*args, **(kwargs or {}))
        for x in tree_leaves(out):
            if isinstance(x, torch.Tensor):
                storage = x.untyped_storage()
                key = storage.data_ptr()
                if key not in self._known and key not in before:
                    size = storage.nbytes()
                    self._known.add(key)
                    self.live += size
                    self.peak = max(self.peak, self.live)
                    weakref.finalize(storage, self._freed, key, size)
        return out

    def _freed(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.live -= size


def peak_memory(call: Callable[[], Any]) -> int:
    """Peak bytes allocated by a call, after one warm-up."""
    call()
    with PeakMemory() as meter:
        call()
    return meter.peak
