"""What later blocks make of an edit of the stream: their read-outs, the next token, and the loss."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

import odesteer_tl as ode
from analyses.effects.writing import left_padded
from analyses.reading import planes as lp
from analyses.reading.states import AgreementStates
from odesteer_tl import stats
from odesteer_tl.indicators import divergence

READ_OUTS = ("agreement", *lp.LATENTS)


@dataclass(frozen=True)
class PairedTexts:
    """The first test pairs: row i and row i + n share opening and length, and differ in one latent.

    Attributes:
        prefix: of all rows, every position editable.
        n: pairs.
        targets: what each read-out should say, by its sign [2n, 3]: agreement, weather, place.
    """

    prefix: ode.Prefix
    n: int
    targets: Float[np.ndarray, "rows 3"]

    @classmethod
    def of(cls, states: AgreementStates) -> PairedTexts:
        n = states.config.causal_pairs
        texts = [*states.test.positive[:n], *states.test.negative[:n]]
        prefix = ode.collect_prefix(states.model, *left_padded(states.model, texts))
        agreement = np.repeat([1.0, -1.0], n)[:, None]
        return cls(prefix, n, np.concatenate([agreement, lp.log_odds(texts)], axis=1))

    def directions(self, layer: int) -> tuple[Float[Tensor, "rows pos d"], Float[Tensor, "rows pos 1"]]:
        """Directions and norms of every position."""
        x = self.prefix.residuals[layer]
        return lp.directions_of(x), x.norm(dim=-1, keepdim=True)

    def partners(self, x: Float[Tensor, "rows *rest"]) -> Float[Tensor, "rows *rest"]:
        """Every row's partner's row."""
        return x.roll(self.n, dims=0)


class ReadOuts:
    """Linear read-outs of one layer, fitted on the fitting texts: agreement's barrier and a probe of each latent.

    Scores are in standard deviations over the test texts.
    """

    def __init__(self, states: AgreementStates, layer: int) -> None:
        acts = states.fit_acts[layer]
        u, _ = states.rows(acts)
        self._barrier = ode.KernelBarrier(degree=1).fit_activations(acts)
        self._probes = [lp.probe(u, odds) for odds in states.fit_odds.T]
        self._scale = self._raw(states.rows(states.test_acts[layer])[0]).std(axis=0)

    @property
    def direction(self) -> Float[Tensor, "d 1"]:
        """The direction along which agreement is read linearly."""
        return lp.orthonormal(self._barrier.quadratic.b[:, None])

    def __call__(self, a: Float[Tensor, "rows d"]) -> Float[np.ndarray, "rows 3"]:
        """Agreement, weather, place."""
        return self._raw(lp.directions_of(a)) / self._scale

    def _raw(self, u: Float[Tensor, "rows d"]) -> Float[np.ndarray, "rows 3"]:
        linear = self._barrier.value(u).numpy()
        return np.stack([linear, *(probe.decision_function(u.numpy()) for probe in self._probes)], axis=1)


def exchange(states: AgreementStates) -> Iterator[dict[str, Any]]:
    """Parts of the stream taken over, at every position, from the partner; what the last token is read as later.

    `toward` is the mean change of a read-out toward its partner's side, over pairs that differ in what it reads;
    "everything" exchanged is what is there to be had.
    """
    pairs, last = PairedTexts.of(states), max(states.fit_acts)
    layers = [layer for layer in states.config.layers if layer < last]
    out = {at: ReadOuts(states, at) for at in {*layers, *(layer + 1 for layer in layers), last}}
    for layer in layers:
        u, norm = pairs.directions(layer)
        planes = states.planes(layer)
        own = {later: out[later](pairs.prefix.residuals[later][:, -1]) for later in (layer + 1, last)}
        parts = {f"inside {name}": lp.part(pairs.partners(u) - u, planes[name], inside=True)
                 for name in ("means", "probes", "random")}  # fmt: skip
        parts["outside means"] = lp.part(pairs.partners(u) - u, planes["means"], inside=False)
        parts["linear read-out"] = lp.part(pairs.partners(u) - u, out[layer].direction, inside=True)
        parts["everything"] = pairs.partners(u) - u
        for name, change in parts.items():
            edited = (norm * lp.directions_of(u + change)).to(norm)
            later = pairs.prefix.later_residuals(layer, edited, sorted({layer + 1, last}))
            for at, residual in later.items():
                moved = out[at](residual[:, -1]) - own[at]
                for index, what in enumerate(READ_OUTS):
                    shift = toward(moved[:, index], pairs.targets[:, index], pairs.n)
                    yield {"layer": layer, "exchanged": name, "read at": at, "read-out": what, **shift}


def toward(moved: Float[np.ndarray, " rows"], target: Float[np.ndarray, " rows"], n: int) -> dict[str, float]:
    """Mean movement toward the partner's side with its interval; a unit is a pair whose targets differ in sign."""
    sign = np.sign(target)
    differs = sign[:n] * sign[n:] < 0
    each = (np.roll(sign, n) * moved).reshape(2, n).mean(0)[differs]
    found = stats.paired_difference(each, np.zeros_like(each))
    return {"toward": found.value, "low": found.low, "high": found.high, "n": found.n}


def steps(states: AgreementStates, fields: Mapping[str, ode.VectorField]) -> Iterator[dict[str, Any]]:
    """A step of the angle along every field at the last token alone.

    KL of the next-token distribution to the unedited one (nats), and how far the last layer's read-outs move, in
    standard deviations and either way: medians over texts.
    """
    pairs, layer, last = PairedTexts.of(states), states.config.layer, max(states.fit_acts)
    flow = ode.Flow(angle=states.config.angle, steps=10, solver="geodesic")
    out = ReadOuts(states, last)
    own = out(pairs.prefix.residuals[last][:, -1])
    for name, field in fields.items():
        edited = pairs.prefix.residuals[layer].clone()
        edited[:, -1] = flow.solve(field, edited[:, -1]).end
        kl = divergence(pairs.prefix.logits(layer, edited)[:, 0], pairs.prefix.baseline)
        moved = np.abs(out(pairs.prefix.later_residuals(layer, edited, [last])[last][:, -1]) - own)
        found = {"KL": kl.numpy()} | {f"moves {what}": moved[:, i] for i, what in enumerate(READ_OUTS)}
        yield {"field": name, **medians(found), "n": len(own)}


def medians(found: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Medians with exact intervals, three columns each."""
    columns: dict[str, float] = {}
    for name, values in found.items():
        x = stats.median(values)
        columns |= {name: x.value, f"{name} low": x.low, f"{name} high": x.high}
    return columns


def ablation(states: AgreementStates) -> Iterator[dict[str, Any]]:
    """Directions set to their mean over the fitting texts at every position: change of the loss, nats a token."""
    pairs, layer = PairedTexts.of(states), states.config.layer
    u, norm = pairs.directions(layer)
    planes = states.planes(layer)
    mean = states.rows(states.fit_acts[layer])[0].mean(0)
    weather, place = (lp.orthonormal(x[:, None]) for x in states.differences(layer).T)
    removed = {"linear read-out": ReadOuts(states, layer).direction, "random direction": planes["random"][:, :1],
               "weather": weather, "place": place,
               **{f"{name} (plane)": planes[name] for name in ("means", "probes", "random")}}  # fmt: skip
    plain = losses(pairs, layer, pairs.prefix.residuals[layer])
    for name, basis in removed.items():
        edited = norm * lp.directions_of(u + lp.part(mean - u, basis, inside=True))
        found = stats.paired_difference(losses(pairs, layer, edited.to(norm)), plain)
        yield {"removed": name, "loss": float(plain.mean()), "change": found.value, "low": found.low,
               "high": found.high, "n": found.n}  # fmt: skip


def losses(pairs: PairedTexts, layer: int, edited: Float[Tensor, "rows pos d"]) -> Float[np.ndarray, " rows"]:
    """Mean loss of every text over the tokens that follow its first, nats."""
    tokens, real = pairs.prefix.tokens, pairs.prefix.attention_mask.bool()
    logits = pairs.prefix.logits(layer, edited, last=edited.shape[1])[:, :-1].double()
    surprise = -logits.log_softmax(-1).gather(-1, tokens[:, 1:, None]).squeeze(-1)
    counted = real[:, :-1]  # padding stands on the left: what follows a real token is real
    return (torch.where(counted, surprise, 0.0).sum(1) / counted.sum(1)).numpy()
