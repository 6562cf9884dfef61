"""One line from a method's name to a steerer, or to one for each of several layers."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, SupportsIndex, overload

from einops import rearrange

from odesteer_tl._check import as_integer, require_one_of
from odesteer_tl._renamed import renamed
from odesteer_tl.activations import Activations, LayerActivations, Pool, collect_activations
from odesteer_tl.composition import Composition, compose
from odesteer_tl.conditions import Condition
from odesteer_tl.contrast import ContrastSet
from odesteer_tl.fields import VectorField
from odesteer_tl.flow import Flow
from odesteer_tl.methods.registry import METHODS
from odesteer_tl.models import hosted
from odesteer_tl.plain import AnyModel, Model
from odesteer_tl.positions import PositionFn, position_rule
from odesteer_tl.reading import position_name, position_of
from odesteer_tl.sites import HEADS, Layer, given_layers, places
from odesteer_tl.steerer import Steerer
from odesteer_tl.training.course import Course
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
        read_position: which tokens of the contrast texts are learned from: `position` of `collect_activations`. A
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
    wanted_layers, seed = given_layers("layer", layer), as_integer("seed", seed)
    position_of(read_position, "read_position")
    position_rule(steer_position, "steer_position")
    if len(set(wanted_layers)) < len(wanted_layers):
        raise ValueError(f"layer={layer} must name each layer once")
    chosen = METHODS[method]
    own = {**(settings or {})}
    _require_settings(method, chosen.train or chosen.fit, own)
    if training is not None and chosen.train is None:
        raise ValueError(f"training={training}: {method!r} is fitted on activations and not trained; leave it out")
    if angle is T is relative is multiplier is level is None:
        T, multiplier = chosen.T, chosen.multiplier
    # only "certified" meets a level, in steps of its own
    integration: dict[str, Any] = {"steps": steps, "solver": solver}
    if level is None:
        integration = {"steps": chosen.steps if steps is None else steps, "solver": solver or chosen.solver}
    integration = {name: value for name, value in integration.items() if value is not None}
    flow = Flow(angle=angle, T=T, relative=relative, multiplier=multiplier, level=level, **integration)
    model = hosted(model)
    several = not isinstance(layer, str) and isinstance(layer, Iterable) and getattr(layer, "ndim", 1) > 0
    given = contrast.site if isinstance(contrast, Activations) and site is None else site
    layers, at_site = places(model, wanted_layers, given or chosen.site)
    if len(layers) < len(wanted_layers):
        raise ValueError(f"layer={layer} must name each layer once")
    if chosen.site == HEADS and at_site != HEADS:
        raise ValueError(f"site={at_site!r}: {method!r} is a method of attention heads; leave site out, or use 'z'")
    layers = sorted(layers)
    if condition is not None:
        condition = condition.under(layers[0], int(model.cfg.n_layers))
    seen: dict[int, Activations] = {}
    trained: dict[int, dict[str, Any]] = {}

    def steerer(at: int, field: VectorField) -> Steerer:
        provenance = {**seen[at].provenance, "method": method, "source": chosen.source, "seed": seed}
        provenance |= {"settings": {name: _said(value) for name, value in own.items()}} if own else {}
        provenance |= {"training": trained[at]} if at in trained else {}
        return Steerer(field, flow, at, steer_position, seen[at].model, provenance, at_site, condition)

    def collect(wanted: Sequence[int], fields: Mapping[int, VectorField]) -> Activations:
        under = compose([steerer(at, field) for at, field in fields.items()]).hooks if fields else None
        if isinstance(contrast, Activations):
            _require_read_so(contrast, read_position, special_tokens, prepend_bos)
            acts = _given(contrast, model, wanted, at_site, steered=bool(fields))
        else:
            how: dict[str, Any] = {"special_tokens": special_tokens, "prepend_bos": prepend_bos, "site": at_site}
            acts = collect_activations(model, contrast, wanted, read_position, **how, negatives_under=under)
        if fields:
            acts = replace(acts, provenance={**acts.provenance, "negatives_steered_at": list(fields)})
        if chosen.site != at_site == HEADS:  # a method of the residual stream sees heads as one vector
            merged = partial(rearrange, pattern="n head d -> n (head d)")
            flat = {n: LayerActivations(merged(x.positive), merged(x.negative)) for n, x in acts.layers.items()}
            acts = replace(acts, layers=flat)
        seen.update(dict.fromkeys(wanted, acts))
        return acts

    if chosen.train is None:
        fields = chosen.layers(partial(chosen.fit, **own) if own else chosen.fit, collect, layers, seed)
    else:
        if isinstance(contrast, Activations):
            raise ValueError(f"contrast holds activations, and {method!r} is trained on texts; pass the texts")
        fields = dict[int, VectorField]()
        for at in layers:
            acts = collect([at], fields)[at]
            under = compose([steerer(n, field) for n, field in fields.items()]).hooks if fields else None
            course = Course(
                model, contrast, at, at_site, steer_position, acts, training or Training(), under, prepend_bos
            )
            fields[at] = chosen.train(course, seed, **own)
            trained[at] = course.record
    steerers = [steerer(at, field) for at, field in fields.items()]
    return compose(steerers) if several else steerers[0]


def _said(value: Any) -> Any:
    """A setting as provenance keeps it: itself where JSON can, else its name."""
    plain = value is None or isinstance(value, str | bool | int | float)
    return value if plain else getattr(value, "__qualname__", repr(value)[:200])


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


def _require_read_so(acts: Activations, position: Pool, special_tokens: bool, prepend_bos: bool | None) -> None:
    """Raise where something is asked of how texts are read that activations were not taken by."""
    asked = {"read_position": (position_name(position_of(position)), "last"),
             "special_tokens": (special_tokens, False), "prepend_bos": (prepend_bos, None)}  # fmt: skip
    for name, (value, unasked) in asked.items():
        kept = name.removeprefix("read_")
        if value != unasked and value != acts.provenance.get(kept):
            raise ValueError(
                f"{name}={value!r}, but contrast holds activations, which were read at {kept}="
                f"{acts.provenance.get(kept)!r}; leave it out, or collect them so"
            )


def _given(acts: Activations, model: Model, wanted: Sequence[int], site: str, *, steered: bool) -> Activations:
    """Activations that were collected before, if they are of this model, these layers and this site."""
    acts.model.require(model)
    if steered:
        raise ValueError(
            "contrast holds activations, and a later layer is fitted on what the earlier ones leave when they steer: "
            "pass the texts, or fit one layer at a time and compose"
        )
    if acts.site != site:
        raise ValueError(f"site={site!r}, but contrast holds activations at {acts.site!r}; collect them there")
    return replace(acts, layers={layer: acts[layer] for layer in wanted})
