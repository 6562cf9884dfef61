"""One line from a method's name to a steerer, or to one for each of several layers."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, SupportsIndex, overload

from odesteer_tl._check import as_integer, require_one_of
from odesteer_tl._renamed import renamed
from odesteer_tl.activations import Activations
from odesteer_tl.composition import Composition, compose
from odesteer_tl.conditions import Condition
from odesteer_tl.contrast import ContrastSet
from odesteer_tl.flow import Flow
from odesteer_tl.methods.fitting import Fitting, Reading
from odesteer_tl.methods.registry import METHODS, Method
from odesteer_tl.models import hosted
from odesteer_tl.plain import AnyModel
from odesteer_tl.positions import PositionFn, position_rule
from odesteer_tl.reading import Pool, position_of
from odesteer_tl.sites import HEADS, Layer, given_layers, places
from odesteer_tl.steerer import Steerer
from odesteer_tl.training.settings import Training


@overload
def fit(
    method: str, model: AnyModel, contrast: ContrastSet | Activations, layer: Layer, *,
    angle: float | None = None, T: float | None = None, relative: float | None = None,
    multiplier: float | None = None, level: float | str | None = None, steps: int | None = None,
    solver: str | None = None, read_position: Pool = "last", special_tokens: bool = False,
    prepend_bos: bool | None = None,
    steer_position: str | PositionFn = "generated", seed: SupportsIndex = 0, site: str | None = None,
    condition: Condition | None = None,
    settings: Mapping[str, Any] | None = None, training: Training | None = None,
) -> Steerer: ...  # fmt: skip


@overload
def fit(
    method: str, model: AnyModel, contrast: ContrastSet | Activations, layer: Sequence[Layer], *,
    angle: float | None = None, T: float | None = None, relative: float | None = None,
    multiplier: float | None = None, level: float | str | None = None, steps: int | None = None,
    solver: str | None = None, read_position: Pool = "last", special_tokens: bool = False,
    prepend_bos: bool | None = None,
    steer_position: str | PositionFn = "generated", seed: SupportsIndex = 0, site: str | None = None,
    condition: Condition | None = None,
    settings: Mapping[str, Any] | None = None, training: Training | None = None,
) -> Composition: ...  # fmt: skip


@renamed(position="read_position", positions="steer_position")
def fit(
    method: str,
    model: AnyModel,
    contrast: ContrastSet | Activations,
    layer: Layer | Sequence[Layer],
    *,
    angle: float | None = None,
    T: float | None = None,
    relative: float | None = None,
    multiplier: float | None = None,
    level: float | str | None = None,
    steps: int | None = None,
    solver: str | None = None,
    read_position: Pool = "last",
    special_tokens: bool = False,
    prepend_bos: bool | None = None,
    steer_position: str | PositionFn = "generated",
    seed: SupportsIndex = 0,
    site: str | None = None,
    condition: Condition | None = None,
    settings: Mapping[str, Any] | None = None,
    training: Training | None = None,
) -> Steerer | Composition:
    """Collect activations, fit a method, and return a steerer bound to the model, or a composition of them.

    Over several layers most methods are fitted in turn: a layer's negative texts are run with the layers before it
    already steered, at the strength and the `steer_position` given here (each text as a prompt of its own, so that
    "generated" steers its last token; "all_and_bos" steers every token, as AcT's authors do). Head-wise ITI chooses
    its heads over all layers together instead. Maps fitted at the method's own strength and used at another:
    `fit(…).at(Flow(T=0.5, …))`.

    Args:
        method: a name in `METHODS`.
        contrast: the texts to learn from; or activations, already collected, of one layer or of several.
        layer: the block that is steered, by its 0-based number, a negative one from the end, or the full name of a
            hook point ("blocks.12.hook_resid_mid"); or several, for a `Composition`.
        angle, T, relative, multiplier, level: the strength, one of them (see `Flow`), or `level` with `angle` as the
            longest path; without any the method's own T, if it has one.
        steps, solver: of the integration; by default the method's own.
        read_position: which tokens of the contrast texts are learned from, as in `collect_activations`. A
            method that holds rows out keeps those of one group of the contrast together.
        special_tokens: whether BOS and other special tokens are among those of "mean", "all" and "completion".
        prepend_bos: of the contrast texts, as in `collect_activations`.
        steer_position: which tokens of what the model is given and writes are steered: `positions` of `Steerer`.
        seed: of everything random in the fit.
        site: where in the block to read and steer, as in `collect_activations`; by default the method's own, which for
            most is the block's output. A method of the heads allows no other.
        condition: which prompts are steered (see `fit_condition`); by default all. It has no part in the fit but over
            several layers, where a text that it leaves alone is not steered by the layers before either.
        settings: the method's own hyper-parameters, by the names its function takes them under (`{"C": 0.1}`).
        training: of a method that is trained through the model (`METHODS[name].train`): steps, sizes, limit, stopping.
            Texts are trained on under `steer_position`, as continuations of their prompts.

    Returns:
        A steerer that other models refuse; its `provenance` says how it was made.

    Raises:
        ValueError: an unknown method, layer, site, position or setting, a condition above a layer that is steered,
            unusable activations, activations of several layers that would have to be collected again with the layers
            before them steered, activations where a method trains on texts, or `training` of a method that is not
            trained.
    """
    require_one_of("method", method, METHODS)
    wanted, seed = given_layers("layer", layer), as_integer("seed", seed)
    position_of(read_position, "read_position")
    position_rule(steer_position, "steer_position")
    if len(set(wanted)) < len(wanted):
        raise ValueError(f"layer={layer} must name each layer once")
    chosen, own = METHODS[method], {**(settings or {})}
    _require_settings(method, chosen.train or chosen.fit, own)
    if training is not None and chosen.train is None:
        raise ValueError(f"training={training}: {method!r} is fitted on activations and not trained; leave it out")
    strength = {"angle": angle, "T": T, "relative": relative, "multiplier": multiplier, "level": level}
    flow = _flow(chosen, {name: x for name, x in strength.items() if x is not None}, steps, solver)
    model = hosted(model)
    given = contrast.site if isinstance(contrast, Activations) and site is None else site
    layers, at_site = places(model, wanted, given or chosen.site)
    if len(layers) < len(wanted):
        raise ValueError(f"layer={layer} must name each layer once")
    if chosen.site == HEADS and at_site != HEADS:
        raise ValueError(f"site={at_site!r}: {method!r} is a method of attention heads; leave site out, or use 'z'")
    if condition is not None:
        condition = condition.under(min(layers), int(model.cfg.n_layers))
    reading = Reading(read_position, special_tokens, prepend_bos)
    fitting = Fitting(
        method, model, contrast, at_site, flow, reading, steer_position, seed, condition, own, training or Training()
    )
    steerers = [fitting.steerer(at, field) for at, field in fitting.fields(sorted(layers)).items()]
    several = not isinstance(layer, str) and isinstance(layer, Iterable) and getattr(layer, "ndim", 1) > 0
    return compose(steerers) if several else steerers[0]


def _flow(method: Method, strength: dict[str, Any], steps: int | None, solver: str | None) -> Flow:
    """How far and how to integrate, by the method's own where nothing is said."""
    if "level" in strength:  # only "certified" meets a level, in steps of its own
        return Flow(**strength, steps=steps, solver=solver)
    steps = method.steps if steps is None else steps
    return Flow(**(strength or method.own_strength), steps=steps, solver=solver or method.solver)


def _require_settings(method: str, function: Any, settings: Mapping[str, Any]) -> None:
    """Raise where a method has no hyper-parameter of a name."""
    known = inspect.signature(function).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in known):
        return
    names = [p.name for p in known if p.kind is p.KEYWORD_ONLY and p.name != "groups"]
    for name in settings:
        if name not in names:
            has = f"{method!r} has {', '.join(map(repr, names))}" if names else f"{method!r} has none"
            raise ValueError(f"settings has {name!r}, but {has}")
