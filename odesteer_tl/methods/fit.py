"""One line from a method's name to a steerer."""

from __future__ import annotations

from transformer_lens.model_bridge import TransformerBridge

from odesteer_tl._check import require_one_of
from odesteer_tl.activations import Pool, collect_activations
from odesteer_tl.contrast import ContrastSet
from odesteer_tl.flow import Flow
from odesteer_tl.methods.registry import METHODS
from odesteer_tl.positions import PositionFn
from odesteer_tl.steerer import Steerer


def fit(
    method: str,
    model: TransformerBridge,
    contrast: ContrastSet,
    layer: int,
    *,
    angle: float | None = None,
    T: float | None = None,
    relative: float | None = None,
    steps: int | None = None,
    solver: str | None = None,
    position: Pool = "last",
    positions: str | PositionFn = "generated",
    seed: int = 0,
) -> Steerer:
    """Collect activations, fit a method at one layer, and return a steerer bound to the model.

    Args:
        method: a name in `METHODS`.
        layer: the 0-based block whose output is steered.
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
    acts = collect_activations(model, contrast, [layer], position)
    provenance = {**acts.provenance, "method": method, "source": chosen.source, "seed": seed}
    field = chosen.fit(acts[layer].positive, acts[layer].negative, seed)
    return Steerer(field, flow, layer, positions, acts.model, provenance)
