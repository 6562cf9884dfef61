"""FLAS: a learned flow of activations, told of a concept in words and trained through the model (arXiv 2605.05892)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cosine_similarity

from odesteer_tl._check import require_at_least
from odesteer_tl._renamed import renamed
from odesteer_tl._tokens import fitting_tokens, is_special
from odesteer_tl.activations import collect_activations
from odesteer_tl.contrast import ContrastSet
from odesteer_tl.fields import ConceptFlowField
from odesteer_tl.fields.attention import CLOCK
from odesteer_tl.fields.base import Seen
from odesteer_tl.flow import Flow
from odesteer_tl.methods.learned_flow import GATE, STEPS
from odesteer_tl.methods.registry import register_trained
from odesteer_tl.models import ModelIdentity, hosted
from odesteer_tl.plain import AnyModel, Model, PlainModel, hooked, unbridged
from odesteer_tl.positions import PositionFn
from odesteer_tl.sites import BLOCK_OUTPUT, Layer, Place, place
from odesteer_tl.steerer import Steerer
from odesteer_tl.training import Course, Learner, Training, train

#: FLAS: time T of 1 in 3 Euler steps
FLOW = Flow(T=1.0, steps=STEPS, solver="euler")
SOURCE = "FLAS, arXiv 2605.05892; its recipe read"


@register_trained("flas", solver="euler", steps=STEPS, T=1.0, source=SOURCE, idea="follow a trained flow of texts")
def flas(course: Course, seed: int = 0, *, concept: str | None = None, blocks: int = 1) -> ConceptFlowField:
    """da/dt = v(a, t, c) for the time T in 3 Euler steps, v of attention blocks over the text and the concept's tokens.

    Each block adds, through a gate a channel that is 0.1 at first, a time embedding, attention to the concept's tokens,
    causal attention to the text and a gated network; the concept's tokens are encoded by the model's own blocks up to
    the layer; trained through the frozen model on the likelihood of texts of the concept, T uniform in
    `training.strengths`. For one flow of many concepts see `concept_flow`.

    Reconstructed: norms and network start from the steered block's where it has them under Llama's names, and at random
    else; attention is without rotary positions; outputs of both attentions start at 0; the limit on the divergence is
    ours; v is what the blocks add. "generated" steers as everywhere here; the original steers every token
    (`steer_position="all_and_bos"`).

    Args:
        seed: of the start, minibatches and strengths.
        concept: what the concept is called in words; without, the first positive text stands for it.
        blocks: B.

    Raises:
        ValueError: blocks < 1, or another place than a block's output.
    """
    words = course.contrast.positive[0] if concept is None else concept
    start = fresh_flow(course.model, Place(course.layer, course.site), words, course.median_norm, blocks, seed)
    trained = course.train(_learner(start, [start.tensors["concept"]], 0.0), seed, flow=FLOW)
    assert isinstance(trained, ConceptFlowField)
    return trained


@dataclass(frozen=True)
class ConceptFlow:
    """One flow of many concepts.

    Attributes:
        field: of one of them; `steerer` tells it of any.
        record: of the training.
    """

    field: ConceptFlowField
    model: ModelIdentity
    at: Place
    positions: str | PositionFn
    record: dict[str, Any]

    def steerer(self, model: AnyModel, concept: str, flow: Flow = FLOW) -> Steerer:
        """The steerer of a concept, one trained on or not.

        Raises:
            ValueError: another model than the one trained through.
        """
        self.model.require(hosted(model))
        assert self.field.median_norm is not None
        states = encoded(hosted(model), self.at, concept, self.field.median_norm)
        provenance = {"method": "flas", "source": SOURCE, "concept": concept, "training": self.record}
        told = self.field.told(concept, states)
        return Steerer(told, flow, self.at.layer, self.positions, self.model, provenance, self.at.site)


@renamed(positions="steer_position")
def concept_flow(
    model: AnyModel,
    contrasts: Mapping[str, ContrastSet],
    layer: Layer,
    *,
    blocks: int = 1,
    diversity: float = 0.1,
    steer_position: str | PositionFn = "generated",
    training: Training | None = None,
    seed: int = 0,
) -> ConceptFlow:
    """Train one flow on several concepts, each step on one of them; see `flas`.

    Beside the likelihood, `diversity` times the mean cosine between the pooled velocities that the same texts have for
    this concept and for the others is made small, as in FLAS. Reconstructed, beside what `flas` says: velocities are
    compared at the start of the flow, pooled over the tokens that are steered, and the unit of length is that of the
    first concept's texts.

    Args:
        contrasts: concept in words → its texts.
        layer: the block steered.
        blocks: B.
        diversity: the weight of the cosine.

    Returns:
        The flow of all these concepts, and how it was trained.

    Raises:
        ValueError: no concepts, blocks < 1, or another place than a block's output.
    """
    host = hosted(model)
    if not contrasts:
        raise ValueError("contrasts is empty; give at least one concept with its texts")
    at = place(layer, None, model=host)
    acts = collect_activations(host, next(iter(contrasts.values())), [at.layer])[at.layer]
    norm = float(torch.cat([acts.positive, acts.negative]).double().norm(dim=-1).median())
    states = [encoded(host, at, concept, norm) for concept in contrasts]
    start = fresh_flow(host, at, next(iter(contrasts)), norm, blocks, seed)
    trained = train(
        _learner(start, states, diversity), host, list(contrasts.values()), layer, flow=FLOW,
        steer_position=steer_position, training=training, seed=seed,
    )  # fmt: skip
    assert isinstance(trained.field, ConceptFlowField)
    record = {**trained.record, "concepts": list(contrasts)}
    return ConceptFlow(trained.field, ModelIdentity.of(host), at, steer_position, record)


class _Telling(ConceptFlowField):
    """A flow that is told of one of several concepts at a time, and how alike their velocities are."""

    def within(self, seen: Seen) -> ConceptFlowField:
        vars(self)["last"] = seen
        return super().within(seen)

    def likeness(self, others: Sequence[Tensor]) -> Float[Tensor, ""]:
        """Mean cosine between the pooled velocities at the start of the last texts for this and for other concepts."""
        seen: Seen = vars(self)["last"]
        mine = self.tensors["concept"]
        a = torch.where(seen.real[..., None], seen.states, seen.states[seen.real][0])
        pooled: list[Tensor] = []
        for states in (mine, *others):
            self._tell(states)
            v = super().within(seen)(a.float())
            pooled.append(v.sum(1) / seen.moves.sum(1, keepdim=True).clamp_min(1))
        self._tell(mine)
        return torch.stack([cosine_similarity(pooled[0], other, dim=-1).mean() for other in pooled[1:]]).mean()

    def _tell(self, states: Tensor) -> None:
        self.tensors["concept"] = states
        self._cast.clear()


def _learner(start: ConceptFlowField, concepts: Sequence[Tensor], diversity: float) -> Learner:
    """All of the blocks' tensors, and which concept is told."""
    settings, tensors = start.dump()
    names = [name for name in tensors if name != "concept"]
    telling = _Telling.load(settings, tensors)
    learning, leaves = telling.learning(names)
    # a step of the learning rate is relative to what a coordinate of a random matrix is
    scales = {name: 1.0 if name.endswith("gates") else tensors[name].shape[-1] ** -0.5 for name in names}
    chosen = {"now": 0}

    def choose(which: int) -> None:
        chosen["now"] = which
        learning._tell(concepts[which])  # pyright: ignore[reportPrivateUsage]

    def extra() -> Tensor:
        return diversity * learning.likeness([c for i, c in enumerate(concepts) if i != chosen["now"]])

    def settled() -> ConceptFlowField:
        found = {name: x.detach().clone() for name, x in leaves.items()}
        return ConceptFlowField.load(settings, {**tensors, **found})

    said = {"diversity": diversity, "concepts": list(concepts)}
    more = extra if diversity and len(concepts) > 1 else None
    return Learner(learning, leaves, settled, scales, more, choose, said)


def encoded(model: Model, at: Place, concept: str, norm: float) -> Float[Tensor, "tokens d"]:
    """A concept's tokens as the model's own blocks up to the layer see them, in units of a coordinate.

    Raises:
        ValueError: the text has no token, or does not fit the context.
    """
    tokens = fitting_tokens(model, concept)
    kept = ~is_special(model, tokens)
    if not bool(kept.any()):
        raise ValueError(f"concept={concept!r} has no token; describe it in words")
    found: list[Tensor] = []
    with torch.no_grad(), hooked(model, [(at.hook_name, lambda x, hook=None: found.append(x[0]))]) as run:
        run(input_ids=tokens[None].to(model.cfg.device))
    return found[0][kept.to(found[0].device)].float().cpu() * (found[0].shape[-1] ** 0.5 / norm)


def fresh_flow(model: Model, at: Place, concept: str, norm: float, blocks: int, seed: int) -> ConceptFlowField:
    """A flow before training.

    Raises:
        ValueError: blocks < 1, or another place than a block's output.
    """
    require_at_least("blocks", blocks, 1)
    if at.site != BLOCK_OUTPUT:
        raise ValueError(f"site={at.site!r}: FLAS is a flow of the residual stream; steer a block's output")
    states = encoded(model, at, concept, norm)
    generator, d = torch.Generator().manual_seed(seed), states.shape[1]
    heads = int(model.cfg.n_heads) if d % int(model.cfg.n_heads) == 0 else 1
    own = block_tensors(model, at.layer, d)
    tensors = {"concept": states}
    for i in range(blocks):
        random = {"time": (CLOCK, d), **{f"{kind}.{part}": (d, d) for kind in ("cross", "self") for part in "qkv"},
                  "mlp.gate": (4 * d, d), "mlp.up": (4 * d, d), "mlp.down": (d, 4 * d)}  # fmt: skip
        drawn = {name: torch.randn(*shape, generator=generator) / shape[1] ** 0.5 for name, shape in random.items()}
        zero = {f"{kind}.o": torch.zeros(d, d) for kind in ("cross", "self")}
        norms = {f"norm.{kind}": torch.ones(d) for kind in ("cross", "self", "mlp")}
        gates = {"gates": torch.full((4, d), GATE)}
        tensors |= {f"{i}.{name}": x for name, x in {**drawn, **zero, **norms, **gates, **own}.items()}
    return ConceptFlowField(tensors, concept, blocks, heads, norm)


def block_tensors(model: Model, layer: int, d: int) -> dict[str, Tensor]:
    """The norms and the gated network of a block, where it has them under Llama's names; else nothing."""

    def weight(block: Any, path: str) -> Tensor | None:
        for name in path.split("."):
            block = getattr(block, name, None)
        return block.detach().float().cpu().clone() if isinstance(block, Tensor) else None

    def read(block: Any) -> dict[str, Tensor]:
        norms = {
            "norm.cross": "input_layernorm",
            "norm.self": "input_layernorm",
            "norm.mlp": "post_attention_layernorm",
        }
        parts = {"mlp.gate": "mlp.gate_proj", "mlp.up": "mlp.up_proj", "mlp.down": "mlp.down_proj"}
        found = {name: weight(block, f"{path}.weight") for name, path in {**norms, **parts}.items()}
        return {name: x for name, x in found.items() if x is not None} if all(
            x is not None and d in x.shape for x in found.values()) else {}  # fmt: skip

    if isinstance(model, PlainModel):
        return read(model.blocks[layer])
    with unbridged(model) as plain:
        return read(plain[layer])
