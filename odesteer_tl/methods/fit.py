"""One line from a method's name to a steerer, or to one for each of several layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import overload

from transformer_lens.model_bridge import TransformerBridge

from odesteer_tl._check import require_one_of
from odesteer_tl.activations import Activations, Pool, collect_activations
from odesteer_tl.composition import Composition, compose
from odesteer_tl.contrast import ContrastSet
from odesteer_tl.fields import VectorField
from odesteer_tl.flow import Flow
from odesteer_tl.methods.registry import METHODS
from odesteer_tl.positions import PositionFn
from odesteer_tl.steerer import Steerer


@overload
def fit(
    method: str, model: TransformerBridge, contrast: ContrastSet, layer: int, *,
    angle: float | None = None, T: float | None = None, relative: float | None = None, steps: int | None = None,
    solver: str | None = None, position: Pool = "last", positions: str | PositionFn = "generated", seed: int = 0,
) -> Steerer: ...  # fmt: skip


@overload
def fit(
    method: str, model: TransformerBridge, contrast: ContrastSet, layer: Sequence[int], *,
    angle: float | None = None, T: float | None = None, relative: float | None = None, steps: int | None = None,
    solver: str | None = None, position: Pool = "last", positions: str | PositionFn = "generated", seed: int = 0,
) -> Composition: ...  # fmt: skip


def fit(
    method: str,
    model: TransformerBridge,
    contrast: ContrastSet,
    layer: int | Sequence[int],
    *,
    angle: float | None = None,
    T: float | None = None,
    relative: float | None = None,
    steps: int | None = None,
    solver: str | None = None,
    position: Pool = "last",
    positions: str | PositionFn = "generated",
    seed: int = 0,
) -> Steerer | Composition:
    """Collect activations, fit a method, and return a steerer bound to the model, or a composition of them.

    Over several layers most methods are fitted in turn: a layer's negative texts are run with the layers before it
    already steered, at the strength and the positions given here (each text as a prompt of its own, so that
    "generated" steers its last token; "all_and_bos" steers every token, as AcT's authors do). Head-wise ITI chooses
    its heads over all layers together instead. Maps fitted at the method's own strength and used at another:
    `fit(…).at(Flow(T=0.5, …))`.

    Args:
        method: a name in `METHODS`.
        layer: the 0-based block that is steered; or several blocks, for a `Composition`.
        angle, T, relative: the strength, one of them (see `Flow`); without any the method's own T, if it has one.
        steps, solver: of the integration; by default the method's own.
        position: which tokens of the contrast texts are learned from.
        positions: which tokens are steered.
        seed: of everything random in the fit.

    Returns:
        A steerer that other models refuse; its `provenance` says how it was made.

    Raises:
        ValueError: an unknown method, layer or position, or unusable activations.
    """
    require_one_of("method", method, METHODS)
    chosen = METHODS[method]
    if angle is None and T is None and relative is None:
        T = chosen.T
    flow = Flow(
        angle=angle,
        T=T,
        relative=relative,
        steps=chosen.steps if steps is None else steps,
        method=chosen.solver if solver is None else solver,
    )
    layers = sorted(layer) if isinstance(layer, Sequence) else [layer]
    if not layers or len(set(layers)) < len(layers):
        raise ValueError(f"layer={layer} must name at least one layer, and each of them once")
    seen: dict[int, Activations] = {}

    def steerer(at: int, field: VectorField) -> Steerer:
        provenance = {**seen[at].provenance, "method": method, "source": chosen.source, "seed": seed}
        return Steerer(field, flow, at, positions, seen[at].model, provenance, chosen.site)

    def collect(wanted: Sequence[int], fields: Mapping[int, VectorField]) -> Activations:
        under = compose([steerer(at, field) for at, field in fields.items()]).hooks if fields else None
        acts = collect_activations(model, contrast, wanted, position, site=chosen.site, negatives_under=under)
        if fields:
            acts = replace(acts, provenance={**acts.provenance, "negatives_steered_at": list(fields)})
        seen.update(dict.fromkeys(wanted, acts))
        return acts

    steerers = [steerer(at, field) for at, field in chosen.layers(chosen.fit, collect, layers, seed).items()]
    return compose(steerers) if isinstance(layer, Sequence) else steerers[0]
