"""Fitting over several layers: in turn, each on what the layers before it leave, or side by side."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from odesteer_tl._groups import Groups
from odesteer_tl.activations import Activations, LayerActivations
from odesteer_tl.fields import AffineField, VectorField
from odesteer_tl.methods.additive import added

#: `(positive [n, *width], negative [m, *width], seed) → field`; rows of equal index are pairs where a method needs
#: them. A method that holds rows out, or needs pairs, takes `groups=` as well: see `fit_rows`
FitFn = Callable[[Tensor, Tensor, int], VectorField]
#: `(layers, fields) → activations` at the layers, the negative texts steered by the fields of other layers
CollectFn = Callable[[Sequence[int], Mapping[int, VectorField]], Activations]
#: `(fit, collect, layers in order, seed) → {layer: field}`; a layer that is left out is not steered
LayersFn = Callable[[FitFn, CollectFn, Sequence[int], int], dict[int, VectorField]]
#: `the fields fitted so far, the last layer's last → the field to use at that layer`
ControlFn = Callable[[Sequence[VectorField]], VectorField]


def latest(fitted: Sequence[VectorField]) -> VectorField:
    """The control that uses every field as it was fitted."""
    return fitted[-1]


def fit_rows(fit: FitFn, positive: Tensor, negative: Tensor, groups: Groups | None, seed: int) -> VectorField:
    """Fit a method, with the groups of the rows if its function has a parameter `groups`."""
    wants: dict[str, Groups | None] = {"groups": groups} if "groups" in inspect.signature(fit).parameters else {}
    return fit(positive, negative, seed, **wants)


def fit_activations(fit: FitFn, acts: LayerActivations, seed: int) -> VectorField:
    """Fit a method to one layer's activations and their groups."""
    return fit_rows(fit, acts.positive, acts.negative, acts.groups, seed)


@dataclass(frozen=True)
class InTurn:
    """Fit a layer on activations that the layers before it have already steered (Rodriguez et al., ICLR 2025).

    The negative texts are steered and the positive ones are not: they are the target, and a shift of both would leave
    their difference as it was.

    Args:
        control: turns what has been fitted so far into the field that is used; see `PID`.
    """

    control: ControlFn = latest

    def __call__(self, fit: FitFn, collect: CollectFn, layers: Sequence[int], seed: int) -> dict[int, VectorField]:
        fitted: list[VectorField] = []
        used: dict[int, VectorField] = {}
        for layer in layers:
            fitted.append(fit_activations(fit, collect([layer], used)[layer], seed))
            used[layer] = self.control(fitted)
        return used


def side_by_side(fit: FitFn, collect: CollectFn, layers: Sequence[int], seed: int) -> dict[int, VectorField]:
    """Fit once, on all layers joined along their heads, and cut what is added by layers; nothing is steered meanwhile.

    T multiplies what is added at every layer. A layer to which nothing is added is left out.

    Args:
        fit: a method that adds.
        collect: the activations of layers, with fields already steering others.
        layers: the blocks.
        seed: of the fit.

    Returns:
        Layer → field.

    Raises:
        ValueError: the method is not additive, or the classes coincide.
    """
    acts = collect(layers, {})
    positive = torch.cat([acts[layer].positive for layer in layers], dim=1)
    negative = torch.cat([acts[layer].negative for layer in layers], dim=1)
    parts = added(fit_rows(fit, positive, negative, acts[layers[0]].groups, seed)).chunk(len(layers))
    fields: dict[int, VectorField] = {}
    for layer, part in zip(layers, parts, strict=True):
        norm = torch.cat([acts[layer].positive, acts[layer].negative]).flatten(1).double().norm(dim=-1).median()
        if bool(part.any()):
            fields[layer] = AffineField(torch.ones_like(part), part, float(norm))
    if not fields:
        raise ValueError(f"layers={list(layers)}: positive and negative activations have no difference there")
    return fields
