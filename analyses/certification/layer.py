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
    plan, texts = material.plan, material.texts(layer)
    settings = plan.settings
    certified = unless_refused(lambda: _barrier(material, layer, texts))
    if isinstance(certified, Refused):
        return {"findings": findings.of_reading(texts.unread)}, {"nothing": certified.why}
    barrier, fit, own, area = certified
    field = fit.field
    steerer = ode.Steerer(field, settings.flow(), layer, provenance={"method": settings.method})
    steerer = steerer.bound_to(material.model)
    steps, tokens, start, end, written = _paths(material, steerer, barrier)
    radii = tables.radius_table(barrier, start, end) if barrier.is_quadratic else pd.DataFrame({"prompt": []})
    angle = float(tokens["angle"].to_numpy().mean())
    # a method of one step is compared along the paper's ten
    steps_along = steerer.flow.steps if steerer.flow.steps > 1 else 10
    ways = tables.directions(texts.both, start, angle, steps_along, settings.seed)
    directions = tables.direction_table(barrier, ways)
    strengths = tables.strength_table(barrier, start, settings.strengths, steps_along)
    judges = {later: material.judge(later) for later in range(layer + 1, int(material.model.cfg.n_layers))}
    reading = {later: judge[0] for later, judge in judges.items() if not isinstance(judge, Refused)}
    survival = audits.later_layers(material.prompted, steerer, reading | {layer: barrier})

    audited = {
        "halves": unless_refused(lambda: audits.cross_fit(fit.again, texts, start, angle, steps_along)),
        "seeds": unless_refused(lambda: audits.seeds_and_halves(lambda seed: ode.SketchBarrier(seed=seed),
                                                              lambda: ode.KernelBarrier(gamma=0.1, C=1.0), texts.half,
                                                              texts.other, start)),
    }  # fmt: skip
    audit = [found for found in audited.values() if not isinstance(found, Refused)]
    left_out = {name: found.why for name, found in audited.items() if isinstance(found, Refused)}
    if plan.concept is not None and plan.writes:
        gain = barrier.log_ratio(end) - barrier.log_ratio(start)
        audit.append(audits.against_the_grammar(plan.concept, material.unsteered.texts, written, gain))
    claims = pd.concat(
        [
            findings.of_reading(area),
            findings.of_steps(steps, tokens),
            findings.of_robustness(radii),
            findings.of_directions(directions),
            findings.of_survival(survival, layer),
            findings.of_linearity(barrier, texts.both, start),
            *audit,
        ],
        ignore_index=True,
    )
    found = {"findings": claims, "steps": steps, "tokens": tokens, "radii": radii, "directions": directions,
             "survival": survival, "strengths": strengths}  # fmt: skip
    bounds = _bounds(steps, barrier, own, settings.alpha)
    return found, bounds | ({"audits left out": left_out} if left_out else {})


@dataclass(frozen=True)
class _Fitted:
    """A method's field, and its barrier on other data."""

    field: ode.VectorField
    again: Fit


def _barrier(
    material: Material, layer: int, texts: LayerTexts
) -> tuple[ode.Barrier, _Fitted, bool, stats.Estimate] | Refused:
    """The barrier certified: the method's own, calibrated, or the layer's; and how well it reads unseen texts."""
    settings = material.plan.settings
    field = fitted(settings.method, lambda: ode.METHODS[settings.method].fit_activations(texts.both, settings.seed))
    if not isinstance(field, ode.BarrierField):
        judge = material.judge(layer)
        return judge if isinstance(judge, Refused) else (judge[0], _Fitted(field, judging), False, judge[1])
    barrier = field.barrier
    kind, config = type(barrier), barrier.config()

    def again(acts: ode.LayerActivations) -> ode.Barrier:
        return kind(**config).fit_activations(acts)

    return barrier, _Fitted(field, again), True, texts.read(barrier, again)


def _paths(
    material: Material, steerer: ode.Steerer, barrier: ode.Barrier
) -> tuple[pd.DataFrame, pd.DataFrame, Float[Tensor, "n d"], Float[Tensor, "n d"], list[str]]:
    """Rows of every step and token, the ends of the path of each prompt's last token, and what was written."""
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
    return steps, tokens, start, end, written


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
