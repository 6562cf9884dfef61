"""Is the barrier property true of a learned h, for a method's realised paths, and how far can h itself be trusted?

`∇h·v > 0` says nothing of v = ∇h/‖∇h‖. What is proved here instead: h rises on the whole of every step; {h ≥ 0} and
{h ≥ h(a₀)} are not left; how much of what any steering of that angle could do was done; a radius of safety; what
other methods' directions do to the same h; and what h fitted on other data, later layers' own barriers and (on the
organism) the grammar itself say of it.
`python -m analyses.barrier_certification --model organism --contrast valence --layer all --method odesteer --out …`
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_args

import pandas as pd
import tyro
from tqdm.auto import tqdm
from transformer_lens.model_bridge import TransformerBridge

import odesteer_tl as ode
from analyses.certification import audits, findings, tables
from analyses.recording import record
from analyses.runs import refuse_existing, save_run
from analyses.sources import load_contrast, load_prompts
from odesteer_tl import organism
from odesteer_tl._check import require_one_of, require_texts
from odesteer_tl.certify import conformal_lower, landscape, rate_bound
from odesteer_tl.sites import BLOCK_OUTPUT

#: shares of the contrast: two halves to fit on, one to calibrate on, one to report on
SPLITS = {"half": 0.3, "other half": 0.3, "calibrate": 0.2, "test": 0.2}


@dataclass(frozen=True)
class CertificationSettings:
    """How the paths to certify come about.

    Exactly one of `angle`, `T` and `relative` is the strength; steps and integrator are the method's own unless given.

    Raises:
        ValueError: the method is unknown, or does not steer the residual stream.
    """

    method: str = "odesteer"
    angle: float | None = None
    T: float | None = None
    relative: float | None = None
    steps: int | None = None
    solver: str | None = None
    max_new_tokens: int = 10
    temperature: float = 0.7
    strengths: tuple[float, ...] = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0)
    alpha: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        require_one_of("method", self.method, ode.METHODS)
        site = ode.METHODS[self.method].site
        if site != BLOCK_OUTPUT:
            raise ValueError(
                f"method={self.method!r} steers {site!r}, and the barriers that would certify it are fitted on "
                f"{BLOCK_OUTPUT!r}; choose a method of the residual stream"
            )

    def flow(self) -> ode.Flow:
        """The flow of the method at this strength (angle 0.5 if none is given)."""
        method = ode.METHODS[self.method]
        angle = 0.5 if self.angle is self.T is self.relative is None else self.angle
        return ode.Flow(angle=angle, T=self.T, relative=self.relative, steps=self.steps or method.steps,
                        solver=self.solver or method.solver)  # fmt: skip


@dataclass(frozen=True)
class BarrierCertification:
    """What was proved and what was measured, layer by layer.

    Attributes:
        findings: one line a claim: value, 95 % interval, N (prompts).
        steps: one row a prompt × token × step.
        tokens, radii, directions, survival: one row a prompt × token, prompt, method × prompt, later layer × prompt.
        strengths: one row an integrator × angle.
        run: settings, splits, N, population bounds.

    A certificate speaks of the barrier it was given, in exact arithmetic on the points realised. That the barrier is
    itself right is what the audits ask; they are measurements, not proofs.
    """

    findings: pd.DataFrame
    steps: pd.DataFrame
    tokens: pd.DataFrame
    radii: pd.DataFrame
    directions: pd.DataFrame
    survival: pd.DataFrame
    strengths: pd.DataFrame
    run: dict[str, Any] = field(default_factory=dict[str, Any])

    def table(self) -> pd.DataFrame:
        """The findings for reading: one line a claim, one column a layer, N of the prompts beside it."""
        shown = self.findings.assign(
            text=[f"{v:.3f} [{a:.3f}, {b:.3f}] n={n:.0f}" for v, a, b, n in
                  self.findings[["value", "low", "high", "n"]].itertuples(index=False)]
        )  # fmt: skip
        return shown.pivot_table(index="what", columns="layer", values="text", aggfunc="first", sort=False)

    def __str__(self) -> str:
        return str(self.table().fillna("–").to_markdown())

    def _repr_html_(self) -> str:
        return self.table().fillna("–").to_html()

    def save(self, out: Path) -> Path:
        """Write all tables as parquet and `run.json`, all or nothing."""
        names = ("findings", "steps", "tokens", "radii", "directions", "survival", "strengths")
        return save_run(out, {name: getattr(self, name) for name in names}, self.run)


def certify_steering(
    model: TransformerBridge,
    contrast: ode.ContrastSet,
    layers: Sequence[int] | None = None,
    settings: CertificationSettings | None = None,
    prompts: Sequence[str] | None = None,
    concept: str | None = None,
) -> BarrierCertification:
    """Steer prompts at each layer and certify every step of every token.

    Args:
        layers: 0-based; left out, all of them.
        prompts: what is steered; left out, the negative texts of the test split.
        concept: of the organism, for the audit by its grammar.

    Raises:
        ValueError: the contrast is too small to be split in four, or what `ode.fit` and `ode.Flow` refuse.
    """
    settings = settings or CertificationSettings()
    parts = dict(zip(SPLITS, contrast.split(tuple(SPLITS.values()), settings.seed), strict=True))
    layers = list(range(model.cfg.n_layers)) if layers is None else list(layers)
    prompts = require_texts("prompts", parts["test"].negative if prompts is None else prompts)
    acts = {name: ode.collect_activations(model, part) for name, part in parts.items()}
    # every later layer's own barrier audits the earlier ones
    judges: dict[int, ode.Barrier] = {}
    for layer in tqdm(range(min(layers), model.cfg.n_layers), desc="fitting every layer's barrier"):
        both, held = audits.joined(acts["half"][layer], acts["other half"][layer]), acts["calibrate"][layer]
        judges[layer] = ode.KernelBarrier(gamma="cv").fit_activations(both)
        judges[layer].calibrate_activations(held)
    unsteered = ode.generate(model, prompts, **_sampling(settings))
    found: list[dict[str, pd.DataFrame]] = []
    bounds: dict[int, dict[str, Any]] = {}
    for layer in tqdm(layers, desc="certifying layers"):
        here = {name: a[layer] for name, a in acts.items()}
        of_layer, bounds[layer] = _one_layer(
            model, here, judges, layer, settings, prompts, unsteered, concept, len(layers)
        )
        found.append({name: table.assign(layer=layer) for name, table in of_layer.items()})
    run = {
        "settings": asdict(settings),
        "contrast": contrast.provenance,
        "model": asdict(acts["test"].model),
        "splits": {name: part.provenance for name, part in parts.items()},
        "n": {"prompts": len(prompts)} | {name: [len(p.positive), len(p.negative)] for name, p in parts.items()},
        "population": bounds,
    }
    return BarrierCertification(**{name: pd.concat([t[name] for t in found], ignore_index=True) for name in found[0]},
                                run=run)  # fmt: skip


def _sampling(settings: CertificationSettings) -> dict[str, Any]:
    return {"max_new_tokens": settings.max_new_tokens, "temperature": settings.temperature, "seed": settings.seed}


def _one_layer(
    model: TransformerBridge, acts: dict[str, Any], judges: dict[int, ode.Barrier], layer: int,
    settings: CertificationSettings, prompts: list[str], unsteered: list[str], concept: str | None, looks: int,
) -> tuple[dict[str, pd.DataFrame], dict[str, Any]]:  # fmt: skip
    """All tables of one layer, and the bounds for the population of prompts."""
    both = audits.joined(acts["half"], acts["other half"])
    fitted = ode.METHODS[settings.method].fit_activations(both, settings.seed)
    own = isinstance(fitted, ode.BarrierField)
    barrier = fitted.barrier if own else judges[layer]
    barrier.calibrate_activations(acts["calibrate"])
    steerer = ode.Steerer(fitted, settings.flow(), layer, provenance={"method": settings.method}).bound_to(model)
    recording = record(model, steerer, prompts, **_sampling(settings))
    start = recording.at_prompt_end()[0].double()
    quadratic = barrier.is_quadratic

    steps = tables.step_table(barrier, recording)
    tokens = tables.token_table(barrier, recording)
    radii = tables.radius_table(barrier, recording) if quadratic else pd.DataFrame({"prompt": []})
    angle = float(tokens["angle"].to_numpy().mean())
    # a method of one step is compared along the paper's ten
    steps_along = steerer.flow.steps if steerer.flow.steps > 1 else 10
    ways = tables.directions(both, start, angle, steps_along, settings.seed)
    directions = tables.direction_table(barrier, ways)
    strengths = tables.strength_table(barrier, start, settings.strengths, steps_along)
    survival = audits.later_layers(model, prompts, steerer, judges | {layer: barrier})

    audit = [audits.cross_fit(_refit(barrier, settings), acts["half"], acts["other half"], acts["calibrate"], start,
                              angle, steps_along)]  # fmt: skip
    audit.append(audits.seeds_and_halves(lambda seed: ode.SketchBarrier(seed=seed),
                                         lambda: ode.KernelBarrier(gamma=0.1, C=1.0), acts["half"],
                                         acts["other half"], start))  # fmt: skip
    if concept is not None:
        gain = barrier.log_ratio(recording.at_prompt_end()[-1].double()) - barrier.log_ratio(start)
        audit.append(audits.against_the_grammar(concept, unsteered, recording.texts, gain))
    claims = pd.concat(
        [
            findings.of_steps(steps, tokens),
            findings.of_robustness(radii),
            findings.of_directions(directions),
            findings.of_survival(survival, layer),
            findings.of_linearity(barrier, both, acts["test"], start),
            *audit,
        ],
        ignore_index=True,
    )
    per_prompt = steps.groupby("prompt").agg(refuted=("refuted", "any"), slack=("slack", "min"))
    bounds: dict[str, Any] = {
        "violation rate": asdict(rate_bound(per_prompt["refuted"], settings.alpha, looks)),
        "smallest slack of a new prompt": conformal_lower(per_prompt["slack"], settings.alpha),
        "own barrier": own,
        "barrier": {"class": type(barrier).__name__, **barrier.config()},
    }
    if quadratic:
        bounds["landscape"] = str(landscape(barrier.quadratic))
    return {"findings": claims, "steps": steps, "tokens": tokens, "radii": radii, "directions": directions,
            "survival": survival, "strengths": strengths}, bounds  # fmt: skip


def _refit(barrier: ode.Barrier, settings: CertificationSettings) -> audits.Fit:
    """The same barrier on other data."""
    return lambda acts: type(barrier)(**barrier.config()).fit_activations(acts)


@dataclass(frozen=True)
class CertificationConfig:
    """Command line of the study."""

    model: str = "organism"
    contrast: str = "valence"
    layer: str = "all"
    """a number, several with commas, or all"""
    out: Path = Path("results/certification")
    pairs: int = 1000
    prompts: int = 200
    settings: tyro.conf.OmitArgPrefixes[CertificationSettings] = field(default_factory=CertificationSettings)


def main(config: CertificationConfig) -> None:
    """Run, save, draw and print."""
    from figures.certification import draw_certification  # only the picture needs matplotlib

    refuse_existing(config.out)
    seed = config.settings.seed
    model = ode.load_model(config.model)
    contrast = load_contrast(config.contrast, config.pairs, seed)
    test = contrast.split(tuple(SPLITS.values()), seed)[-1]
    prompts = load_prompts(config.contrast, config.prompts, seed + 1, test)
    layers = None if config.layer == "all" else [int(x) for x in config.layer.split(",")]
    concept = config.contrast if config.contrast in get_args(organism.Concept) else None
    result = certify_steering(model, contrast, layers, config.settings, prompts, concept)
    result.save(config.out)
    draw_certification(result.strengths, config.out)
    print(result)
    print(f"\n{config.out}")


if __name__ == "__main__":
    main(tyro.cli(CertificationConfig, description=__doc__))
