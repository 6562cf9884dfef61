"""What makes a training the same: the file from which one that was cut off goes on is refused to any other."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from types import FunctionType
from typing import Any

import torch
from torch import nn

from odesteer_tl.composition import Composition
from odesteer_tl.contrast import ContrastSet
from odesteer_tl.fields import VectorField
from odesteer_tl.hooks import HooksFor
from odesteer_tl.identity import ModelIdentity
from odesteer_tl.plain import Model
from odesteer_tl.positions import PositionFn
from odesteer_tl.steerer import Steerer
from odesteer_tl.training.learner import Learner
from odesteer_tl.training.objectives import Likelihood, OfLogits, Preference


def digest(value: Any) -> str:
    """A hash of what JSON can say; of tensors in it, of their numbers."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=_plain).encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    """What JSON cannot say."""
    if isinstance(value, torch.Tensor):
        raw = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        return [str(value.dtype), list(value.shape), hashlib.sha256(raw).hexdigest()]
    raise TypeError(f"{type(value).__name__} cannot be told from another")


def model_said(model: Model) -> dict[str, Any]:
    """The weights, their basis and precision; not the name."""
    found = dataclasses.asdict(ModelIdentity.of(model))
    del found["name"]
    return found


def texts_said(contrasts: Sequence[ContrastSet], prepend_bos: bool | None) -> list[Any]:
    """The texts, which of them stay together in a split, and whether a BOS stands before them."""
    bos = [each.prepend_bos if prepend_bos is None else prepend_bos for each in contrasts]
    groups = [[each.positive_groups, each.negative_groups] for each in contrasts]
    return [[each.digest for each in contrasts], groups, bos]


def start_said(learner: Learner) -> list[Any]:
    """The field before the first step, the units that its parameters move in, and the learner's own settings.

    Raises:
        ValueError: the learner adds to the objective, and does not say by which settings.
    """
    if learner.extra is not None and learner.settings is None:
        raise ValueError(
            "checkpoint: the learner's `extra` is a function, which nothing tells from another; give "
            "Learner(…, settings={…}) with all that it depends on, or leave checkpoint out"
        )
    field = learner.field
    made = [type(field).__qualname__, dict(field.state_dict())] if isinstance(field, nn.Module) else field_said(field)
    return [made, dict(learner.parameters), dict(learner.scales), dict(learner.settings or {})]


def field_said(field: VectorField) -> list[Any]:
    """Its kind, settings and tensors."""
    settings, tensors = field.dump()
    return [type(field).__qualname__, settings, tensors]


def objective_said(goal: Likelihood | Preference | OfLogits) -> str:
    """The objective with its settings.

    Raises:
        ValueError: a function without a name of its own.
    """
    return named("objective", goal.function) if isinstance(goal, OfLogits) else repr(goal)


def positions_said(positions: str | PositionFn) -> str:
    """The rule's name.

    Raises:
        ValueError: a function without a name of its own.
    """
    return positions if isinstance(positions, str) else named("positions", positions)


def named(argument: str, function: Any) -> str:
    """A function's full name, by which another process finds the same.

    Raises:
        ValueError: it is a lambda, is defined inside a function, or is no function.
    """
    name = getattr(function, "__qualname__", type(function).__qualname__)
    if not isinstance(function, FunctionType) or "<" in name:
        raise ValueError(
            f"checkpoint: {argument}={name} has no name that tells it from another in a later run; use a function "
            "defined by `def` at the top of a module, or leave checkpoint out"
        )
    return f"{function.__module__}.{name}"


def under_said(under: HooksFor | None) -> list[Any]:
    """The steerers whose hooks these are: places, fields, flows, positions and conditions.

    Raises:
        ValueError: hooks of something else, or see `positions_said`.
    """
    if under is None:
        return []
    owner = getattr(under, "__self__", None)
    if not isinstance(owner, Steerer | Composition) or getattr(under, "__name__", "") != "hooks":
        raise ValueError(
            "checkpoint: under is a function of hooks, which nothing tells from another; pass the `hooks` of a Steerer "
            "or of `compose(…)`, or leave checkpoint out"
        )
    steerers = (owner,) if isinstance(owner, Steerer) else owner.steerers
    return [
        [one.hook_name, field_said(one.field), one.flow.config(), positions_said(one.positions), _condition(one)]
        for one in steerers
    ]


def _condition(steerer: Steerer) -> dict[str, Any] | None:
    asked = steerer.condition
    if asked is None:
        return None
    return {x.name: getattr(asked, x.name) for x in dataclasses.fields(asked) if x.name != "provenance"}
