"""The hook that an inference engine runs: a saved steerer's path and a few numbers, which steer one request.

vllm-lens calls it `fn(ctx, hidden)` with the rows `[tokens, d_model]` of one request in one pass, and what it returns
takes their place. It neither says where those tokens stand in the request nor lets an exception out, so the hook counts
the tokens itself, and what happened comes back in `ctx.saved`, which `odesteer_tl.serving.checks` reads.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from odesteer_tl.barriers import Barrier
from odesteer_tl.certify import certify_written
from odesteer_tl.flow import Flow
from odesteer_tl.passes import Pass
from odesteer_tl.positions import position_rule
from odesteer_tl.steerer import Steerer

#: keys of `ctx.saved`. Tensors, numbers and strings alone: of lists, the plugin joins those of all ranks to one
SEEN, STEERED, ERROR = "odesteer_seen", "odesteer_steered", "odesteer_error"
#: what an audit keeps of every steered token, one tensor each
AUDIT = ("position", "h_before", "h", "log_ratio", "proved", "refuted")


@runtime_checkable
class Context(Protocol):
    """What the hook uses of vllm-lens's `HookContext`: a dict that a request keeps from pass to pass."""

    saved: dict[str, Any]


@dataclass(frozen=True)
class Saved:
    """A saved steerer, as it is told to workers.

    Attributes:
        path: its folder, readable under this name on every worker.
        digest: SHA-256 of its `steerer.json`, which holds that of its tensors: another one in its place is refused.
    """

    path: str
    digest: str

    @classmethod
    def at(cls, path: str | Path) -> Saved:
        """The one in a folder.

        Raises:
            ValueError: there is none.
        """
        return cls(str(Path(path).resolve()), _digest(path))

    def load(self) -> Steerer:
        """The steerer, read once a process.

        Raises:
            ValueError: it cannot be read, or is not the one that was meant.
        """
        return _loaded(self)


@dataclass(frozen=True)
class SteeringHook:
    """Steers one request inside an engine, by the steerer's own position rule; picklable, and small.

    Args:
        steerer: saved.
        prompt_length: tokens of this request's prompt.
        begins_special: whether its first token is special (BOS, the mark of a turn), which the rule "all" leaves alone.
        strength: in the flow's own unit, in place of the steerer's.
        audit: a saved steerer whose barrier is read before and after every steered token (the steerer itself, if its
            field follows one); left out, nothing is kept of them.
    """

    steerer: Saved
    prompt_length: int
    begins_special: bool
    strength: float | str | None = None
    audit: Saved | None = None

    def __call__(self, ctx: Context, hidden: Float[Tensor, "tokens d"]) -> Float[Tensor, "tokens d"] | None:
        """The rows with those of the rule steered; None where none is to be.

        Nothing is raised: the plugin would log it, leave this pass of every request of the batch unsteered, and go on.
        """
        saved = ctx.saved
        if ERROR in saved:
            return None
        try:
            with torch.no_grad():
                return self._steered(saved, hidden)
        except Exception as error:
            saved[ERROR] = f"{type(error).__name__}: {error}"
            return None

    def _steered(self, saved: dict[str, Any], hidden: Float[Tensor, "tokens d"]) -> Float[Tensor, "tokens d"] | None:
        seen = int(saved.get(SEEN, 0))
        self._require_next(seen, len(hidden))
        steerer = self.steerer.load()
        require_servable(steerer)
        at = chosen_tokens(str(steerer.positions), seen, len(hidden), self.prompt_length, self.begins_special)
        saved[SEEN], saved[STEERED] = seen + len(hidden), int(saved.get(STEERED, 0)) + len(at)
        if not len(at):
            return None
        whole = len(at) == len(hidden)
        before = hidden if whole else hidden[at.to(hidden.device)]
        path = at_strength(steerer.flow, self.strength).solve(steerer.field, before)
        if self.audit is not None:
            _keep(saved, _audited(barrier_of(self.audit.load()), seen + at, before, path.end))
        return path.end if whole else hidden.index_copy(0, at.to(hidden.device), path.end)

    def _require_next(self, seen: int, length: int) -> None:
        """Raise where the tokens of a pass cannot be the next ones.

        Behind its prompt a request is given one token a pass. More are one that is computed again from its beginning,
        since the engine had to take its cache away, or guesses of a draft model of which some will be dropped.
        """
        if length > 1 and seen + length > self.prompt_length:
            raise ValueError(
                f"a pass brings {length} tokens behind the {seen} seen of a prompt of {self.prompt_length}, so that "
                "nothing says where they stand: the engine ran out of cache and computes the request again (raise "
                "gpu_memory_utilization or VLLM_CPU_KVCACHE_SPACE, or lower max_num_seqs), or it decodes speculatively "
                "(leave speculative_config out)"
            )


def chosen_tokens(
    positions: str, seen: int, length: int, prompt_length: int, begins_special: bool
) -> Int[Tensor, " chosen"]:
    """Which of a request's tokens `seen` to `seen + length − 1` a position rule takes, counted from `seen`."""
    if length == 1 and seen >= prompt_length:  # all alike, and most passes bring one
        return _behind_prompt(positions)
    return _chosen(positions, seen, length, prompt_length, begins_special)


@cache
def _behind_prompt(positions: str) -> Int[Tensor, " chosen"]:
    return _chosen(positions, seen=1, length=1, prompt_length=1, begins_special=False)


def _chosen(positions: str, seen: int, length: int, prompt_length: int, begins_special: bool) -> Int[Tensor, " chosen"]:
    # of what the tokens are, the rules that can be saved ask one thing: whether the first is special
    ids = torch.zeros(1, length, dtype=torch.int64)
    if seen == 0:
        ids[0, 0] = int(begins_special)
    told = Pass(1, length, seen, mask=None, position_ids=None, input_ids=ids, special_ids=(1,))
    return position_rule(positions).mask(told, prompt_length)[0].nonzero().squeeze(1)


def require_servable(steerer: Steerer) -> None:
    """Raise `ValueError` for a steerer that must know more of a text than the token it steers.

    One is a condition, which is decided on the whole prompt at a block of its own; another a field that looks at the
    tokens before.
    """
    if steerer.field.context:
        raise ValueError(
            f"field={type(steerer.field).__name__} looks at the tokens before its own, which an engine's hook is not "
            "given together; generate on a bridge"
        )
    if steerer.condition is not None:
        raise ValueError(
            "condition: an engine gives a hook the prompt in pieces, at the steered block alone, and nothing can be "
            "decided on the whole of it; decide outside and pass None for a prompt that is not to be steered, gate the "
            "field instead (odesteer_tl.methods.gate), or generate on a bridge"
        )


def at_strength(flow: Flow, strength: float | str | None) -> Flow:
    """The flow at another strength, in its own unit."""
    return flow if strength is None else replace(flow, **{flow.unit: strength})


def barrier_of(steerer: Steerer) -> Barrier:
    """The barrier that a steerer's field follows.

    Raises:
        ValueError: it follows none.
    """
    barrier = getattr(steerer.field, "barrier", None)
    if not isinstance(barrier, Barrier):
        raise ValueError(
            f"audit: the field is a {type(steerer.field).__name__}, which follows no barrier; pass a steerer of a "
            "BarrierField, fitted at the same layer"
        )
    return barrier


def _audited(
    barrier: Barrier, position: Tensor, before: Float[Tensor, "rows d"], end: Float[Tensor, "rows d"]
) -> dict[str, Tensor]:
    """What is known of rows as they were and as they are written, in the model's own precision."""
    h = barrier.value(end)
    verdict = certify_written(barrier, before, end)
    ratio = torch.full_like(h, torch.nan) if barrier.calibration is None else barrier.calibration(h)
    found = (position, barrier.value(before), h, ratio, verdict.proved, verdict.refuted)
    return {name: x.cpu() for name, x in zip(AUDIT, found, strict=True)}


def _keep(saved: dict[str, Any], rows: dict[str, Tensor]) -> None:
    for name, x in rows.items():
        saved[name] = torch.cat([saved[name], x]) if name in saved else x


def _digest(path: str | Path) -> str:
    file = Path(path) / "steerer.json"
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise ValueError(
            f"path={str(path)!r} is not a readable steerer ({error}); save it where every worker can read it"
        ) from error


@lru_cache(maxsize=256)
def _loaded(saved: Saved) -> Steerer:
    found = _digest(saved.path)
    if found != saved.digest:
        raise ValueError(
            f"path={saved.path!r} holds another steerer than when the request was made (steerer.json is {found[:12]}…, "
            f"not {saved.digest[:12]}…); save steerers under names of their own"
        )
    return Steerer.load(saved.path)
