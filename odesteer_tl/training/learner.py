"""Learners: a field whose parameters are leaves of the gradient, and the field it becomes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from odesteer_tl.fields import AffineField, ConstantField, VectorField
from odesteer_tl.fields.stored import StoredField

FieldT = TypeVar("FieldT", bound=VectorField)


@dataclass(frozen=True)
class Learner:
    """A field that is being learned.

    Attributes:
        field: computes with the parameters.
        parameters: the leaves, by name.
        settled: the field that they have become; it requires no gradient.
        scales: by name, what one unit of learning is: activations differ in size by orders of magnitude.
        extra: added to the objective after every pass; None for nothing.
        choose: told which of several contrasts the next texts are of; None where that changes nothing.
        settings: whatever `extra` and `choose` depend on beside the parameters, JSON-able or tensors. A training with a
            checkpoint asks for it where there is an `extra`, so that it goes on with no other.
    """

    field: VectorField
    parameters: dict[str, Tensor]
    settled: Callable[[], VectorField]
    scales: Mapping[str, float] = dataclasses.field(default_factory=dict[str, float])
    extra: Callable[[], Tensor] | None = None
    choose: Callable[[int], None] | None = None
    settings: Mapping[str, Any] | None = None


def learner_of(
    field: VectorField, only: Iterable[str] | None = None, scales: Mapping[str, float] | None = None
) -> Learner:
    """A learner that starts from a field.

    Args:
        field: a `StoredField` of the package or your own, a `ConstantField`, or a field that is a `torch.nn.Module` as
            well, which is trained in place.
        only: names of the tensors to train; by default all that are floating.
        scales: of parameters, by name (1 where not given; of an added vector √d-th of the median norm).

    Returns:
        What the trainer moves: the field's parameters, and how the field is made of them.

    Raises:
        ValueError: the field has no parameters, or none of that name.
    """
    scales = scales or {}
    if isinstance(field, nn.Module):
        parameters: dict[str, Tensor] = {n: p for n, p in field.named_parameters() if p.requires_grad}
        if only is not None:
            parameters = {name: parameters[name] for name in only}
        return Learner(_nonempty(field, parameters), parameters, lambda: field, scales)
    if isinstance(field, ConstantField):
        shift = AffineField(torch.ones_like(field.given), field.given, field.median_norm)
        learning, leaves = shift.learning(["bias"])

        def shifted() -> VectorField:
            return ConstantField(leaves["bias"].detach().clone(), field.median_norm)

        return Learner(learning, leaves, shifted, {"bias": _size(field), **scales})
    if isinstance(field, StoredField):
        settings, tensors = field.dump()
        names = [n for n, x in tensors.items() if x.is_floating_point()] if only is None else list(only)
        learning, leaves = field.learning(names)
        _nonempty(field, leaves)
        kind = type(field)

        def settled() -> VectorField:
            return kind.load(settings, {**tensors, **{n: p.detach().clone() for n, p in leaves.items()}})

        return Learner(learning, leaves, settled, scales)
    raise ValueError(
        f"field={type(field).__name__} has no parameters to train; use a ConstantField, a StoredField (AffineField, …) "
        "or a field that is a torch.nn.Module"
    )


def _size(field: VectorField) -> float:
    """The size of one coordinate of an activation, 1 where it is not known."""
    return 1.0 if field.median_norm is None else field.median_norm / field.d_model**0.5


def _nonempty(field: FieldT, parameters: Mapping[str, Tensor]) -> FieldT:
    if not parameters:
        raise ValueError(f"field={type(field).__name__} has no parameter that requires a gradient")
    return field
