"""Where steering by agreement acts, and what later blocks make of the direction in which it is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm
from transformer_lens.model_bridge import TransformerBridge

import odesteer_tl as ode
from analyses.behaviour import behaviour, summary
from analyses.effects.writing import left_padded
from analyses.reading.latents import PartField, directions_of, log_odds, mean_differences, orthonormal, part
from analyses.reading_and_steering import ReadingSteeringConfig
from analyses.runs import refuse_existing, save_run
from odesteer_tl import organism, stats
from odesteer_tl.indicators import divergence


@dataclass(frozen=True, eq=False)
class Agreement:
    """What one organism knows of agreement at the layer that is steered.

    Attributes:
        barriers: the linear and the quadratic one of `analyses.agreement`, which differ in their degree alone.
        later: the linear one of the last layer, and its standard deviation over the test texts.
        differences: mean differences of weather and place on the fitting texts, which know no label of agreement.
        mean: of the fitting texts' directions.
        prefix: the first test texts of both classes, every position editable.
    """

    model: TransformerBridge
    config: ReadingSteeringConfig
    barriers: Mapping[str, ode.KernelBarrier]
    later: tuple[ode.KernelBarrier, float]
    differences: Float[Tensor, "d 2"]
    mean: Float[Tensor, " d"]
    prefix: ode.Prefix

    @classmethod
    def of(cls, model: TransformerBridge, config: ReadingSteeringConfig) -> Agreement:
        """Fit on `config.pairs`; the later barrier's spread and the prefix are of test texts."""
        fit = organism.contrast("agreement", config.pairs, config.seed)
        test = organism.contrast("agreement", config.test_pairs, config.seed + 1000)
        last = int(model.cfg.n_layers) - 1
        acts = ode.collect_activations(model, fit, [config.layer, last])
        u = directions_of(torch.cat([acts[config.layer].positive, acts[config.layer].negative]))
        barriers = {name: ode.KernelBarrier(degree=degree).fit_activations(acts[config.layer])
                    for name, degree in (("linear", 1), ("quadratic", 2))}  # fmt: skip
        later = ode.KernelBarrier(degree=1).fit_activations(acts[last])
        held_out = ode.collect_activations(model, test, [last])[last]
        spread = float(later.value(torch.cat([held_out.positive, held_out.negative]).double()).std(correction=0))
        differences = mean_differences(u, log_odds([*fit.positive, *fit.negative]))
        texts = [*test.positive[: config.causal_pairs], *test.negative[: config.causal_pairs]]
        prefix = ode.collect_prefix(model, *left_padded(model, texts))
        return cls(model, config, barriers, (later, spread), differences, u.mean(0), prefix)

    @property
    def plane(self) -> Float[Tensor, "d 2"]:
        """Of the two latents' mean differences."""
        return orthonormal(self.differences)

    def random_direction(self, seed: int) -> Float[Tensor, " d"]:
        """A uniformly random one: the placebo."""
        drawn = torch.randn(len(self.mean), 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        return orthonormal(drawn)[:, 0]

    def fields(self) -> dict[str, ode.VectorField]:
        """All that is followed at equal angle: barriers, parts of the quadratic one, constant directions."""
        whole = {name: ode.BarrierField(barrier) for name, barrier in self.barriers.items()}
        parts = {f"quadratic, {side} means": PartField(whole["quadratic"], self.plane, side == "inside")
                 for side in ("inside", "outside")}  # fmt: skip
        weather, place = (x / x.norm() for x in self.differences.T)
        constants = {"weather": weather, "place": place, "both high": weather + place, "both low": -weather - place,
                     "weather high, place low": weather - place,
                     "random direction": self.random_direction(self.config.seed + 1)}  # fmt: skip
        return {**whole, **parts, **{name: ode.ConstantField(x) for name, x in constants.items()}}

    def flow(self) -> ode.Flow:
        """Ten geodesic steps to the study's angle."""
        return ode.Flow(angle=self.config.angle, steps=10, solver="geodesic")


def steering(states: Agreement, prompts: list[str]) -> Iterator[dict[str, Any]]:
    """Success of every field at the angle on prompts, unsteered first; the share of texts judged sunny and seaside."""
    config = states.config
    steerers: dict[str, ode.Steerer | None] = {"unsteered": None}
    steerers |= {name: ode.Steerer(field, states.flow(), config.layer) for name, field in states.fields().items()}
    for name, steerer in tqdm(steerers.items(), desc="steering", leave=False):
        rows = behaviour(states.model, prompts, steerer, concept="agreement", temperature=config.temperature,
                         max_new_tokens=config.max_new_tokens, seed=config.seed + 1)  # fmt: skip
        sunny, seaside = (log_odds(rows["text"].tolist()) > 0).mean(0)
        yield {"field": name, **summary(rows), "sunny": sunny, "seaside": seaside}


def steps(states: Agreement, fields: Mapping[str, ode.VectorField]) -> Iterator[dict[str, Any]]:
    """A step of the angle along every field at the last token alone.

    KL of the next-token distribution to the unedited one (nats), and how far a linear read-out of agreement after the
    last block moves, in its standard deviations over the test texts and either way: medians over texts.
    """
    prefix, layer, (barrier, spread) = states.prefix, states.config.layer, states.later
    last = int(states.model.cfg.n_layers) - 1
    own = barrier.value(prefix.residuals[last][:, -1].double())
    for name, field in fields.items():
        edited = prefix.residuals[layer].clone()
        edited[:, -1] = states.flow().solve(field, edited[:, -1]).end
        kl = stats.median(divergence(prefix.logits(layer, edited)[:, 0], prefix.baseline).numpy())
        later = barrier.value(prefix.later_residuals(layer, edited, [last])[last][:, -1].double())
        moved = stats.median(((later - own).abs() / spread).numpy())
        yield {"field": name, "KL": kl.value, "KL low": kl.low, "KL high": kl.high, "moves agreement": moved.value,
               "moves agreement low": moved.low, "moves agreement high": moved.high, "n": len(own)}  # fmt: skip


def ablation(states: Agreement) -> Iterator[dict[str, Any]]:
    """Directions set to their mean over the fitting texts at every position: change of the loss, nats a token."""
    prefix, layer = states.prefix, states.config.layer
    x = prefix.residuals[layer]
    u, norm = directions_of(x), x.norm(dim=-1, keepdim=True)
    removed = {"linear read-out": states.barriers["linear"].quadratic.b[:, None],
               "random direction": states.random_direction(states.config.seed)[:, None],
               "weather": states.differences[:, :1], "place": states.differences[:, 1:],
               "means (plane)": states.differences}  # fmt: skip
    plain = losses(prefix, layer, x)
    for name, directions in removed.items():
        edited = norm * directions_of(u + part(states.mean - u, orthonormal(directions), inside=True))
        found = stats.paired_difference(losses(prefix, layer, edited.to(norm)), plain)
        yield {"removed": name, "loss": float(plain.mean()), "change": found.value, "low": found.low,
               "high": found.high, "n": found.n}  # fmt: skip


def losses(prefix: ode.Prefix, layer: int, edited: Float[Tensor, "rows pos d"]) -> Float[np.ndarray, " rows"]:
    """Mean loss of every text over the tokens that follow its first, nats."""
    tokens, real = prefix.tokens, prefix.attention_mask.bool()
    logits = prefix.logits(layer, edited, last=edited.shape[1])[:, :-1].double()
    surprise = -logits.log_softmax(-1).gather(-1, tokens[:, 1:, None]).squeeze(-1)
    counted = real[:, :-1]  # padding stands on the left: what follows a real token is real
    return (torch.where(counted, surprise, 0.0).sum(1) / counted.sum(1)).numpy()


def run(config: ReadingSteeringConfig) -> None:
    """Run the study for every organism, save the tables and print them."""
    torch.set_num_threads(config.threads)
    prompts = organism.prompts(config.prompts, config.seed)

    def studies(model: TransformerBridge) -> dict[str, Iterable[dict[str, Any]]]:
        states = Agreement.of(model, config)
        return {"steering": steering(states, prompts), "steps": steps(states, states.fields()),
                "ablation": ablation(states)}  # fmt: skip

    for study, table in of_every(config, studies).items():
        print(f"\n{study}\n{table.round(3).to_string(index=False)}")


def of_every(config: Any, studies: Callable[[TransformerBridge], Mapping[str, Iterable[dict[str, Any]]]]
             ) -> dict[str, pd.DataFrame]:  # fmt: skip
    """A table a study, its rows of every organism of `config.models`, saved in `config.out` with the settings.

    Raises:
        ValueError: `out` holds an earlier run.
    """
    refuse_existing(config.out)
    found: dict[str, list[dict[str, Any]]] = {}
    identities: dict[str, Any] = {}
    for name in tqdm(config.models, desc="embedded models"):
        model, label = ode.load_model(name), Path(name).name
        identities[label] = asdict(ode.ModelIdentity.of(model))
        for study, rows in tqdm(studies(model).items(), desc=label, leave=False):
            found.setdefault(study, []).extend({"model": label, **row} for row in rows)
    tables = {study: pd.DataFrame(rows) for study, rows in found.items()}
    save_run(config.out, tables, {"settings": asdict(config), "models": identities})
    return tables
