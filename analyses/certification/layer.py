"""One layer: steer the prompts there, certify every step of every token, audit the barrier."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

import odesteer_tl as ode
from analyses.certification import audits, findings, tables
from analyses.certification.material import Material, judging
from analyses.certification.texts import Fit, LayerTexts
from analyses.recording import Recording, recorded
from analyses.refusal import fitted, unless_refused
from analyses.sweep import Refused
from odesteer_tl import stats
from odesteer_tl.certify import conformal_lower, landscape

#: tokens whose paths are looked at together: memory does not grow with the number of prompts
BLOCK = 256

Tables = dict[str, pd.DataFrame]


def certified_layer(material: Material, layer: int) -> tuple[Tables, dict[str, Any]]:
    """All tables of one layer, and the bounds for the population of prompts.

    Where h tells nothing apart, the AUC that says so is all there is, and `nothing` in the place of bounds says why.
    """
    settings, texts = material.plan.settings, material.texts(layer)
    certified = unless_refused(lambda: _certified(material, layer, texts))
    if isinstance(certified, Refused):
        return {"findings": findings.of_reading(texts.unread)}, {"nothing": certified.why}
    steerer = ode.Steerer(certified.field, settings.flow(), layer, provenance={"method": settings.method})
    steerer = steerer.bound_to(material.model)
    paths = _paths(material, steerer, certified.barrier)
    # a method of one step is compared along the paper's ten
    steps_along = steerer.flow.steps if steerer.flow.steps > 1 else 10
    found = _tables(material, steerer, certified.barrier, texts, paths, steps_along)
    audit, left_out = _audits(material, certified, texts, paths, steps_along)
    claims = pd.concat(
        [
            findings.of_reading(certified.area),
            findings.of_steps(paths.steps, paths.tokens),
            findings.of_robustness(found["radii"]),
            findings.of_directions(found["directions"]),
            findings.of_survival(found["survival"], layer),
            findings.of_linearity(certified.barrier, texts.both, paths.start),
            *audit,
        ],
        ignore_index=True,
    )
    bounds = _bounds(paths.steps, certified.barrier, certified.own, settings.alpha)
    return {"findings": claims, **found}, bounds | ({"audits left out": left_out} if left_out else {})


@dataclass(frozen=True)
class _Certified:
    """The barrier certified: the method's own, calibrated, or the layer's.

    Attributes:
        field: the method's.
        again: fits the barrier to other data.
        own: whether it is the method's.
        area: how well it reads unseen texts.
    """

    barrier: ode.Barrier
    field: ode.VectorField
    again: Fit
    own: bool
    area: stats.Estimate


def _certified(material: Material, layer: int, texts: LayerTexts) -> _Certified | Refused:
    """What is certified, where something is read at the layer."""
    settings = material.plan.settings
    field = fitted(settings.method, lambda: ode.METHODS[settings.method].fit_activations(texts.both, settings.seed))
    if not isinstance(field, ode.BarrierField):
        judge = material.judge(layer)
        return judge if isinstance(judge, Refused) else _Certified(judge[0], field, judging, False, judge[1])
    barrier = field.barrier
    kind, config = type(barrier), barrier.config()

    def again(acts: ode.LayerActivations) -> ode.Barrier:
        return kind(**config).fit_activations(acts)

    return _Certified(barrier, field, again, True, texts.read(barrier, again))


@dataclass(frozen=True)
class _Paths:
    """Rows of every step and token, the ends of the path of each prompt's last token, and what was written."""

    steps: pd.DataFrame
    tokens: pd.DataFrame
    start: Float[Tensor, "n d"]
    end: Float[Tensor, "n d"]
    written: list[str]

    @property
    def angle(self) -> float:
        """The mean angle of a token's path."""
        return float(self.tokens["angle"].to_numpy().mean())


def _paths(material: Material, steerer: ode.Steerer, barrier: ode.Barrier) -> _Paths:
    """The paths of all tokens, looked at as they are steered."""
    found_steps, found_tokens = list[pd.DataFrame](), list[pd.DataFrame]()
    ends, written = list[Tensor](), list[str]()

    def look(points: Tensor, prompt: Tensor, token: Tensor, texts: list[str]) -> None:
        steps, tokens = tables.path_tables(barrier, points, prompt, token)
        found_steps.append(steps)
        found_tokens.append(tokens)
        ends.append(points[[0, -1]][:, token == -1].double())
        written.extend(texts)

    if material.plan.writes:
        then: Callable[[Recording], None] = lambda x: look(x.points, x.prompt, x.token, x.texts)  # noqa: E731
        recorded(material.prompted, steerer, material.drawing, then)
    else:
        texts = material.unsteered
        for rows in texts.blocks(BLOCK):
            points = steerer.flow.solve(steerer.field, texts.states[steerer.layer][rows], record=True).points
            assert points is not None
            look(points, texts.prompt[rows], texts.token[rows], [])
    start, end = torch.cat(ends, dim=1)
    steps = pd.concat(found_steps).sort_values(["step", "prompt", "token"], ignore_index=True)
    tokens = pd.concat(found_tokens).sort_values(["prompt", "token"], ignore_index=True)
    return _Paths(steps, tokens, start, end, written)


def _tables(
    material: Material, steerer: ode.Steerer, barrier: ode.Barrier, texts: LayerTexts, paths: _Paths, steps_along: int
) -> Tables:
    """What is proved of the paths, and what other directions, strengths and later layers make of them."""
    settings, layer, start = material.plan.settings, steerer.layer, paths.start
    radii = tables.radius_table(barrier, start, paths.end) if barrier.is_quadratic else pd.DataFrame({"prompt": []})
    ways = tables.directions(texts.both, start, paths.angle, steps_along, settings.seed)
    judges = {later: material.judge(later) for later in range(layer + 1, int(material.model.cfg.n_layers))}
    reading = {later: judge[0] for later, judge in judges.items() if not isinstance(judge, Refused)}
    return {
        "steps": paths.steps,
        "tokens": paths.tokens,
        "radii": radii,
        "directions": tables.direction_table(barrier, ways),
        "survival": audits.later_layers(material.prompted, steerer, reading | {layer: barrier}),
        "strengths": tables.strength_table(barrier, start, settings.strengths, steps_along),
    }


def _audits(
    material: Material, certified: _Certified, texts: LayerTexts, paths: _Paths, steps_along: int
) -> tuple[list[pd.DataFrame], dict[str, str]]:
    """Claims on the barrier from other halves, seeds and the grammar; and why an audit is left out."""
    audited = {
        "halves": unless_refused(lambda: audits.cross_fit(certified.again, texts, paths.start, paths.angle,
                                                          steps_along)),
        "seeds": unless_refused(lambda: audits.seeds_and_halves(lambda seed: ode.SketchBarrier(seed=seed),
                                                              lambda: ode.KernelBarrier(gamma=0.1, C=1.0), texts.half,
                                                              texts.other, paths.start)),
    }  # fmt: skip
    claims = [found for found in audited.values() if not isinstance(found, Refused)]
    plan, barrier = material.plan, certified.barrier
    if plan.concept is not None and plan.writes:
        gain = barrier.log_ratio(paths.end) - barrier.log_ratio(paths.start)
        claims.append(audits.against_the_grammar(plan.concept, material.unsteered.texts, paths.written, gain))
    return claims, {name: found.why for name, found in audited.items() if isinstance(found, Refused)}


def _bounds(steps: pd.DataFrame, barrier: ode.Barrier, own: bool, alpha: float) -> dict[str, Any]:
    """What holds for a new prompt, whatever other layers are looked at."""
    slack: Any = steps.groupby("prompt")["slack"].min()
    bounds: dict[str, Any] = {
        "smallest slack of a new prompt": conformal_lower(slack.to_numpy(), alpha),
        "own barrier": own,
        "barrier": {"class": type(barrier).__name__, **barrier.config()},
    }
    if barrier.is_quadratic:
        bounds["landscape"] = str(landscape(barrier.quadratic))
    return bounds
