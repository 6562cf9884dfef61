"""Checks: was every token steered that was to be? An engine says nothing when a hook fails, so nothing is believed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from odesteer_tl._display import Result, of, rows, spread
from odesteer_tl.serving.hook import AUDIT, ERROR, SEEN, STEERED, SteeringHook, chosen_tokens

if TYPE_CHECKING:
    import pandas as pd

#: tokens that an engine may compute behind the last one it returns, scheduled before it saw that the text ended
AHEAD = 1


class NotSteered(RuntimeError):
    """A text came back from an engine that was not steered as it was asked to be.

    Attributes:
        request: which one.
    """

    def __init__(self, request: str, what: str) -> None:
        super().__init__(f"{request}: {what}")
        self.request = request


@dataclass(frozen=True, repr=False)
class Audit(Result):
    """What a barrier says of every steered token, as it was and as it was written; one row a token.

    Attributes:
        position: of the token in its request, prompt included; from `prompt_length` − 1 on, what is read there writes
            the text's next token.
        h_before, h: before and after.
        log_ratio: the calibrated h, in nats; NaN where the barrier is not calibrated.
        proved: h as written is no lower than before: a proof, of the numbers in the model's own precision.
        refuted: it is lower, likewise a proof.
    """

    position: Int[Tensor, " tokens"]
    h_before: Float[Tensor, " tokens"]
    h: Float[Tensor, " tokens"]
    log_ratio: Float[Tensor, " tokens"]
    proved: Bool[Tensor, " tokens"]
    refuted: Bool[Tensor, " tokens"]

    def frame(self) -> pd.DataFrame:
        """One row a steered token."""
        return rows(["token"], {name: getattr(self, name) for name in AUDIT})

    def _facts(self) -> dict[str, object]:
        n = len(self.position)
        return {
            "h before": spread(self.h_before) if n else "no token",
            "h after": spread(self.h) if n else "no token",
            "proved no lower, as written": of(int(self.proved.sum()), n),
            "lower, as written": of(int(self.refuted.sum()), n),
        }


def checked(
    request: str,
    hooks: Sequence[tuple[SteeringHook, Any]],
    results: Mapping[str, Mapping[str, Any]] | None,
    n_tokens: int,
) -> tuple[list[int], list[Audit | None]]:
    """How many tokens each steerer of a request has steered, and what its auditor saw.

    Args:
        request: its name, for messages.
        hooks: those that were sent, with the steerer of each.
        results: what came back, `hook_results` of the engine's output.
        n_tokens: tokens that the text took: all but the last, of which only the identity is known.

    Returns:
        Tokens steered and audit of every steerer, in their order.

    Raises:
        NotSteered: a hook was never called, raised, or saw or steered another number of tokens than it was to.
    """
    counts: list[int] = []
    audits: list[Audit | None] = []
    for i, (hook, steerer) in enumerate(hooks):
        saved = (results or {}).get(str(i))
        if saved is None:
            raise NotSteered(
                request,
                f"steerer {i} was never called, so that the text is not steered; is vllm-lens installed where the "
                "workers run, VLLM_LENS_DISABLE unset and the layer on this model? Look into the engine's log",
            )
        if ERROR in saved:
            raise NotSteered(
                request,
                f"steerer {i} failed inside the engine, so that the text is not steered as asked: {saved[ERROR]}",
            )
        seen, steered = int(saved.get(SEEN, 0)), int(saved.get(STEERED, 0))
        if not n_tokens <= seen <= n_tokens + AHEAD:
            raise NotSteered(
                request,
                f"steerer {i} saw {seen} tokens, and the text took {n_tokens}: the engine computed some of them out of "
                "its sight (a prefix cache, another engine that reads the prompt), or twice, having run out of cache; "
                "raise gpu_memory_utilization or VLLM_CPU_KVCACHE_SPACE, or lower max_num_seqs",
            )
        args = (hook.prompt_length, hook.begins_special)
        expected = len(chosen_tokens(str(steerer.positions), 0, seen, *args))
        if steered != expected:
            raise NotSteered(
                request,
                f"steerer {i} steered {steered} tokens where its rule {steerer.positions!r} takes {expected}; another "
                "hook of the engine has failed in a pass of this request: look into the engine's log",
            )
        counts.append(len(chosen_tokens(str(steerer.positions), 0, n_tokens, *args)))
        audits.append(None if hook.audit is None else _audit(saved, n_tokens))
    return counts, audits


def _audit(saved: Mapping[str, Any], n_tokens: int) -> Audit:
    """What came back of the tokens that the text took."""
    empty = (torch.int64, *[torch.float32] * 3, torch.bool, torch.bool)
    found = [saved.get(name, torch.empty(0, dtype=kind)) for name, kind in zip(AUDIT, empty, strict=True)]
    kept = found[0] < n_tokens
    return Audit(*(x[kept] for x in found))
