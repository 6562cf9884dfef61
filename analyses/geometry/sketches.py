"""Sketches of one barrier, with other hash seeds and of other widths, against each other and the kernel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm
from transformer_lens.model_bridge import TransformerBridge

import odesteer_tl as ode
from analyses.runs import refuse_existing, save_run
from analyses.sketch_agreement import SketchConfig
from analyses.sources import load_contrast


@dataclass(frozen=True)
class Data:
    """Two classes to fit on and the activations at which directions are compared."""

    positive: Float[Tensor, "n d"]
    negative: Float[Tensor, "m d"]
    held_out: Float[Tensor, "k d"]


def gaussian_classes(n: int, d: int, seed: int) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d"]]:
    """n draws a class in d dimensions: means 3 standard deviations apart, and different diagonal covariances.

    The distance of the means does not grow with d, so that it is the width alone that differs between widths.
    """
    generator = torch.Generator().manual_seed(seed)
    apart = torch.randn(d, generator=torch.Generator().manual_seed(d))
    shift = 1.5 * apart / apart.norm()
    noise = torch.randn(2, n, d, generator=generator)
    return noise[0] + shift, noise[1] * torch.linspace(0.7, 1.3, d) - shift


def synthetic(config: SketchConfig) -> Iterator[tuple[str, Data]]:
    """`gaussian_classes` in every width."""
    for d in config.widths:
        held_out = torch.cat(gaussian_classes(config.held_out // 2, d, seed=1))
        yield "synthetic", Data(*gaussian_classes(config.fit, d, seed=0), held_out)


def of_the_organism(model: TransformerBridge, config: SketchConfig) -> Iterator[tuple[str, Data]]:
    """Last-token activations of the embedded model, fitting and held-out texts disjoint."""
    pairs = config.fit + config.held_out // 2
    fractions = (config.fit / pairs, 1 - config.fit / pairs)
    for concept in config.contrasts:
        parts = load_contrast(concept, pairs, 0).split(fractions, seed=0)
        fit, held = (ode.collect_activations(model, part, [config.layer])[config.layer] for part in parts)
        yield f"organism, {concept}", Data(fit.positive, fit.negative, torch.cat([held.positive, held.negative]))


def directions(barrier: ode.Barrier, data: Data) -> Float[Tensor, "k d"]:
    """Unit ∇h of the fitted barrier at the held-out activations."""
    g = barrier.fit(data.positive, data.negative).gradient(data.held_out.double())
    return g / g.norm(dim=-1, keepdim=True)


def agreement(
    data: Data, kernel: Float[Tensor, "k d"], n_components: int, seeds: Sequence[int]
) -> list[dict[str, Any]]:
    """A row a sketch against the kernel and a row a pair of sketches: quantiles of the cosine over activations."""
    sketches = {seed: directions(ode.SketchBarrier(n_components=n_components, seed=seed), data) for seed in seeds}
    pairs = [("kernel", seed, seed, kernel) for seed in seeds]
    pairs += [("another seed", seed, other, sketches[other]) for seed, other in combinations(seeds, 2)]
    rows: list[dict[str, Any]] = []
    for against, seed, other, reference in pairs:
        cosine = (sketches[seed] * reference).sum(-1)
        low, middle, high = torch.quantile(cosine, torch.tensor([0.1, 0.5, 0.9], dtype=cosine.dtype)).tolist()
        rows.append({"n_components": n_components, "against": against, "seed": seed, "other": other,
                     "cosine": middle, "cosine_low": low, "cosine_high": high, "n": len(cosine)})  # fmt: skip
    return rows


def compare(model: TransformerBridge, config: SketchConfig) -> pd.DataFrame:
    """All sources, widths and numbers of features; one row a comparison."""
    published = ode.SketchBarrier()
    sources = [*synthetic(config), *of_the_organism(model, config)]
    rows: list[dict[str, Any]] = []
    for source, data in tqdm(sources, desc="fitting sketches"):
        kernel = directions(ode.KernelBarrier(gamma=published.gamma, coef0=published.coef0, C=published.C), data)
        for n_components in config.n_components:
            found = agreement(data, kernel, n_components, range(config.seeds))
            rows += [{"source": source, "d": data.positive.shape[1], **row} for row in found]
    return pd.DataFrame(rows)


def over_seeds(table: pd.DataFrame) -> pd.DataFrame:
    """Mean over seeds, or their pairs, of the median cosine, with the lowest and the highest."""
    cells: Any = table.groupby(["source", "d", "against", "n_components"], sort=False)["cosine"]
    return cells.agg(cosine="mean", lowest="min", highest="max", comparisons="size").reset_index()


def run(config: SketchConfig) -> None:
    """Compare, save, and print the means over seeds."""
    refuse_existing(config.out)
    model = ode.load_model("organism")
    table = compare(model, config)
    run = {"settings": asdict(config), "barrier": ode.SketchBarrier().config(),
           "model": asdict(ode.ModelIdentity.of(model))}  # fmt: skip
    means = over_seeds(table)
    save_run(config.out, {"sketch": table, "over_seeds": means}, run)
    wide = means.pivot(index=["source", "d", "against"], columns="n_components", values="cosine")
    print(wide.to_string(float_format="%.3f"))
    print(f"\nmeans over hash seeds of the median cosine over held-out activations; {config.out}")
