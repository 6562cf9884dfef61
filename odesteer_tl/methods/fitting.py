"""A fitting: one method on a model's layers, what is collected and learned there, and the steerers made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from einops import rearrange

from odesteer_tl.activations import Activations, LayerActivations, collect_activations
from odesteer_tl.composition import compose
from odesteer_tl.conditions import Condition
from odesteer_tl.contrast import ContrastSet
from odesteer_tl.fields import VectorField
from odesteer_tl.flow import Flow
from odesteer_tl.hooks import HooksFor
from odesteer_tl.methods.registry import METHODS, Method
from odesteer_tl.plain import Model
from odesteer_tl.positions import PositionFn
from odesteer_tl.reading import Pool, position_name, position_of
from odesteer_tl.sites import HEADS
from odesteer_tl.steerer import Steerer
from odesteer_tl.training.course import Course, TrainFn
from odesteer_tl.training.settings import Training


@dataclass(frozen=True)
class Reading:
    """How texts are read, as in `collect_activations`."""

    position: Pool
    special_tokens: bool
    prepend_bos: bool | None

    def require(self, acts: Activations) -> None:
        """Raise where something is asked that activations were not taken by."""
        asked = {"read_position": (position_name(position_of(self.position)), "last"),
                 "special_tokens": (self.special_tokens, False), "prepend_bos": (self.prepend_bos, None)}  # fmt: skip
        for name, (value, unasked) in asked.items():
            kept = name.removeprefix("read_")
            if value != unasked and value != acts.provenance.get(kept):
                raise ValueError(
                    f"{name}={value!r}, but contrast holds activations, which were read at {kept}="
                    f"{acts.provenance.get(kept)!r}; leave it out, or collect them so"
                )


@dataclass(frozen=True)
class Fitting:
    """The arguments of `fit`, checked, and what has been done so far.

    Attributes:
        name: of the method.
        site: where in a block.
        settings: the method's own hyper-parameters.
        seen: the activations that a layer was fitted on.
        trained: the record of its training, where there was one.
    """

    name: str
    model: Model
    contrast: ContrastSet | Activations
    site: str
    flow: Flow
    reading: Reading
    positions: str | PositionFn
    seed: int
    condition: Condition | None
    settings: Mapping[str, Any]
    training: Training
    seen: dict[int, Activations] = field(default_factory=dict[int, Activations])
    trained: dict[int, dict[str, Any]] = field(default_factory=dict[int, dict[str, Any]])

    @property
    def method(self) -> Method:
        """What is fitted."""
        return METHODS[self.name]

    def fields(self, layers: Sequence[int]) -> dict[int, VectorField]:
        """The method's fields on these layers, from below."""
        if self.method.train is not None:
            return self._train(self.method.train, layers)
        fit = partial(self.method.fit, **self.settings) if self.settings else self.method.fit
        return self.method.layers(fit, self.collect, layers, self.seed)

    def steerer(self, layer: int, field: VectorField) -> Steerer:
        """The steerer of a field, which says how it was made."""
        acts = self.seen[layer]
        provenance = {**acts.provenance, "method": self.name, "source": self.method.source, "seed": self.seed}
        if self.settings:
            provenance["settings"] = {name: _said(value) for name, value in self.settings.items()}
        if layer in self.trained:
            provenance["training"] = self.trained[layer]
        return Steerer(field, self.flow, layer, self.positions, acts.model, provenance, self.site, self.condition)

    def collect(self, layers: Sequence[int], fields: Mapping[int, VectorField]) -> Activations:
        """The activations of these layers, the negative texts' while the fields of other layers steer."""
        acts = self._collected(layers, fields)
        if fields:
            acts = replace(acts, provenance={**acts.provenance, "negatives_steered_at": list(fields)})
        if self.method.site != self.site == HEADS:  # a method of the residual stream sees heads as one vector
            merged = partial(rearrange, pattern="n head d -> n (head d)")
            flat = {n: LayerActivations(merged(x.positive), merged(x.negative)) for n, x in acts.layers.items()}
            acts = replace(acts, layers=flat)
        self.seen.update(dict.fromkeys(layers, acts))
        return acts

    def _collected(self, layers: Sequence[int], fields: Mapping[int, VectorField]) -> Activations:
        """From the model, or those that were collected before."""
        under, how = self._under(fields), self.reading
        if isinstance(self.contrast, Activations):
            how.require(self.contrast)
            return _given(self.contrast, self.model, layers, self.site, steered=bool(fields))
        return collect_activations(
            self.model, self.contrast, layers, how.position, special_tokens=how.special_tokens,
            prepend_bos=how.prepend_bos, site=self.site, negatives_under=under,
        )  # fmt: skip

    def _under(self, fields: Mapping[int, VectorField]) -> HooksFor | None:
        """The hooks of the fields found so far."""
        return compose([self.steerer(layer, field) for layer, field in fields.items()]).hooks if fields else None

    def _train(self, train: TrainFn, layers: Sequence[int]) -> dict[int, VectorField]:
        """Layer by layer, each while those before it steer."""
        if isinstance(self.contrast, Activations):
            raise ValueError(f"contrast holds activations, and {self.name!r} is trained on texts; pass the texts")
        fields = dict[int, VectorField]()
        for layer in layers:
            acts = self.collect([layer], fields)[layer]
            course = Course(
                self.model, self.contrast, layer, self.site, self.positions, acts,
                self.training.at_layer(layer) if len(layers) > 1 else self.training, self._under(fields),
                self.reading.prepend_bos,
            )  # fmt: skip
            fields[layer] = train(course, self.seed, **self.settings)
            self.trained[layer] = course.record
        return fields


def _said(value: Any) -> Any:
    """A setting as provenance keeps it: itself where JSON can, else its name."""
    plain = value is None or isinstance(value, str | bool | int | float)
    return value if plain else getattr(value, "__qualname__", repr(value)[:200])


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
