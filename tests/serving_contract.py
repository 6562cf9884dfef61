"""The contract between a hook and an engine that calls it: what vllm-lens does with a batch, without vLLM.

Written from vllm-lens 1.3.0 (`_worker_ext._hook_inner`): every request of a pass is given its slice of a clone of the
stream, what its hook returns takes the slice's place, a request keeps one context, and an exception is logged and
leaves the whole pass as it was. `tests/vllm` runs the same tests through the plugin's own types.
"""

from __future__ import annotations

import pickle
from types import SimpleNamespace

import torch
from torch import Tensor


def arrived(hook):
    """A hook as it arrives in a worker, pickled; `tests/vllm` puts the plugin's own way in this place."""
    content = pickle.dumps(hook)
    assert len(content) < 1000
    return pickle.loads(content)


class Worker:
    """Passes of an engine over several requests.

    Args:
        hooks: those of every request, as they arrived.
    """

    def __init__(self, hooks: list[list]) -> None:
        self.hooks = hooks
        self.contexts = [[SimpleNamespace(saved={}) for _ in each] for each in hooks]

    def run(self, slices: list[Tensor]) -> list[Tensor]:
        """One pass, given each request's rows (of none where it has none in this pass)."""
        stream = [x.clone() for x in slices]
        try:
            for i, each in enumerate(self.hooks):
                for hook, context in zip(each, self.contexts[i], strict=True):
                    if not len(stream[i]):
                        continue
                    result = hook(context, stream[i])
                    if result is not None:
                        stream[i] = result
        except Exception:
            return [x.clone() for x in slices]
        return stream

    def results(self, i: int) -> dict[str, dict]:
        """What comes back with a request's text."""
        return {str(j): context.saved for j, context in enumerate(self.contexts[i])}


def in_passes(worker: Worker, requests: list[Tensor], cuts: list[list[int]]) -> list[Tensor]:
    """The requests, each cut into passes of its own lengths, all in one batch as long as they last."""
    parts = [list(x.split(lengths)) for x, lengths in zip(requests, cuts, strict=True)]
    out: list[list[Tensor]] = [[] for _ in requests]
    for step in range(max(map(len, parts))):
        slices = [each[step] if step < len(each) else each[0][:0] for each in parts]
        for i, rows in enumerate(worker.run(slices)):
            out[i].append(rows)
    return [torch.cat(rows) for rows in out]
