"""Attention-guided directions: learned where a text looks at a concept, from how much it looks (arXiv 2602.00333)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from odesteer_tl._check import require_texts
from odesteer_tl._renamed import renamed
from odesteer_tl._tokens import text_tokens, tokens_of
from odesteer_tl.composition import Composition, compose
from odesteer_tl.flow import Flow
from odesteer_tl.methods.rfm import rfm
from odesteer_tl.models import ModelIdentity, hosted
from odesteer_tl.plain import AnyModel, Model
from odesteer_tl.positions import PositionFn
from odesteer_tl.sites import BLOCK_OUTPUT, Layer, Place, places
from odesteer_tl.steerer import Steerer


@dataclass(frozen=True)
class Attended:
    """One layer's states at the token of each statement that attends most to the concept before it.

    Attributes:
        positive: of the statements behind the concept, float32 on the CPU.
        negative: of the statements alone, at the same tokens.
        attention: what each of the positive tokens pays to the concept, in [0, 1].
        from_end: which token it was; 1 is the last.
    """

    positive: Float[Tensor, "n d_model"]
    negative: Float[Tensor, "n d_model"]
    attention: Float[Tensor, " n"]
    from_end: Int[Tensor, " n"]

    @property
    def labels(self) -> Float[Tensor, " rows"]:
        """The soft labels of `rfm`: the attention for the positive rows, then 0 for the negative ones."""
        return torch.cat([self.attention, torch.zeros(len(self.negative))])


def most_attending(
    pattern: Float[Tensor, "head query key"], concept: slice, last: int
) -> tuple[int, Float[Tensor, ""]]:
    """The query among the last `last` ones behind the concept that attends to it most, and how much.

    The attention is the mean over heads of the sum over the concept's keys. Of equal queries the earliest is taken.

    Args:
        pattern: attention weights of one text, [head, query, key].
        concept: the concept's keys.
        last: how many of the last queries may be chosen.

    Returns:
        The query's position and its attention.
    """
    attention = pattern.float().mean(0)[:, concept].sum(-1)
    start = max(concept.stop, len(attention) - last)
    best = start + int(attention[start:].argmax())
    return best, attention[best]


@torch.no_grad()
def collect_attended(
    model: AnyModel,
    statements: Sequence[str],
    concept: str,
    layers: Sequence[Layer],
    *,
    last: int = 8,
    prepend_bos: bool | None = None,
) -> dict[int, Attended]:
    """States after each block at the tokens that attend to `concept` most, from one pass over each text.

    Each statement is read twice: behind the concept, and alone. A block's own attention pattern chooses the token for
    that block. Reconstructed: the mean over heads, the same token of the statement alone as its negative, and N.

    Args:
        statements: what is said about anything; each is one token at least.
        concept: a prefix that sets the concept ("You are afraid of heights. "), put right before each statement.
        layers: blocks, by number or by the names of their outputs.
        last: N, how many of the last tokens may be chosen.
        prepend_bos: as in TransformerLens. A BOS is not part of the concept: every token attends to it.

    Returns:
        Layer → states with and without the concept, and the attention paid to it.

    Raises:
        ValueError: a layer is unknown, the model does not give its attention patterns, `last` < 1, there is no
            statement, or concept and statement have other tokens together than apart.
    """
    model = hosted(model)
    if last < 1:
        raise ValueError(f"last={last} must be at least 1")
    (concept,), statements = require_texts("concept", [concept]), require_texts("statements", statements)
    whole = tokens_of(model, "statements", [concept + statement for statement in statements], prepend_bos)
    names = {layer: Place(layer, BLOCK_OUTPUT).hook_name for layer in places(model, layers, BLOCK_OUTPUT)[0]}
    for name in names.values():
        if pattern_hook(name) not in model.hook_dict:
            raise ValueError(f"model has no {pattern_hook(name)!r}; load it with eager attention, or use 'rfm'")
    found: dict[int, list[tuple[Tensor, Tensor, Tensor, int]]] = {layer: [] for layer in names}
    for statement, behind in zip(statements, (row[None] for row in whole), strict=True):
        alone = text_tokens(model, statement, prepend_bos)[None]
        start = int(alone[0, 0] == getattr(model.tokenizer, "bos_token_id", None))
        stop = start + behind.shape[1] - alone.shape[1]
        if not start < stop < behind.shape[1] or not torch.equal(behind[0, stop:], alone[0, start:]):
            raise ValueError(
                f"concept={concept!r} and statement {statement!r} are other tokens together than apart; "
                "let one end or the other begin with a space or a line break"
            )
        with_concept, without = _states(model, behind, names), _states(model, alone, names)
        for layer, name in names.items():
            at, attention = most_attending(with_concept[pattern_hook(name)], slice(start, stop), last)
            ends = behind.shape[1] - at
            found[layer].append((with_concept[name][at], without[name][-ends], attention, ends))
    return {layer: _stack(rows) for layer, rows in found.items()}


@renamed(positions="steer_position")
def attended_rfm(
    model: AnyModel,
    statements: Sequence[str],
    concept: str,
    flow: Flow,
    layers: Sequence[Layer] | None = None,
    *,
    last: int = 8,
    steer_position: str | PositionFn = "generated",
) -> Composition:
    """`a + c·u` at several blocks, u from a recursive feature machine with attention for labels (arXiv 2602.00333).

    At each block, positives are the statements' most attending tokens behind the concept, negatives the same tokens
    without it, and the labels are the attention paid to the concept, 0 for the negatives; then `rfm`. Nothing is
    steered while a layer is fitted, and nothing is random.

    Args:
        flow: c is T, in activation units: `Flow(T=c, steps=1, solver="euler")`; any other flow goes too.
        layers: by default the blocks 1 … n_layers − 1, as in the paper.

    Returns:
        One steerer a layer, together.

    Raises:
        ValueError: see `collect_attended`.
    """
    model = hosted(model)
    wanted = range(1, int(model.cfg.n_layers)) if layers is None else layers
    attended = collect_attended(model, statements, concept, wanted, last=last)
    provenance = {
        "method": "attended_rfm",
        "source": "attention-guided RFM, arXiv 2602.00333; recipe read",
        "concept": concept,
        "statements": list(statements),
        "last": last,
    }
    fields = {layer: rfm(acts.positive, acts.negative, labels=acts.labels) for layer, acts in attended.items()}
    identity = ModelIdentity.of(model)
    return compose([Steerer(field, flow, at, steer_position, identity, provenance) for at, field in fields.items()])


def _stack(rows: list[tuple[Tensor, Tensor, Tensor, int]]) -> Attended:
    positive, negative, attention, from_end = zip(*rows, strict=True)
    return Attended(torch.stack(positive), torch.stack(negative), torch.stack(attention), torch.tensor(from_end))


def _states(model: Model, tokens: Int[Tensor, "1 pos"], names: dict[int, str]) -> dict[str, Tensor]:
    """Block outputs [pos, d_model] and attention patterns [head, query, key] of one text, by hook name."""
    seen: dict[str, Tensor] = {}

    def keep(x: Tensor, hook: Any, name: str) -> None:
        seen[name] = x[0].float().cpu()

    wanted = [name for resid in names.values() for name in (pattern_hook(resid), resid)]
    with model.hooks(fwd_hooks=[(name, partial(keep, name=name)) for name in wanted]):
        model(tokens, return_type=None)
    return seen


def pattern_hook(hook_name: str) -> str:
    """The attention pattern of the block a hook belongs to."""
    return f"blocks.{hook_name.split('.')[1]}.attn.hook_pattern"
