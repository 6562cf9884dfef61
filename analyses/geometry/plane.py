"""The two-sphere through a start, its gradient and the ceiling: h, its field and paths."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

import odesteer_tl as ode
from analyses.behaviour import last_activations
from analyses.costing import Cost, reading_rate, text_tokens
from analyses.effects.arms import ONE_STEP, TEN_EULER_STEPS
from analyses.effects.steer import angle_between
from analyses.flow_plane import FlowPlaneConfig
from analyses.runs import refuse_existing, save_run
from analyses.sources import load_contrast, load_prompts

#: points drawn along a path, and how far the grid reaches beyond the strength asked for (rad)
POINTS, MARGIN = 120, 0.3
#: seconds of the barrier's fit and the paths, nearly all the fit's: of 640 texts and 576 dimensions less than one
FITS = 1.0


@dataclass(frozen=True)
class Slice:
    """A two-sphere through the origin's sphere, and a chart of it that keeps angles from its first axis.

    Attributes:
        axes: orthonormal: the start's direction, its unit tangent gradient, and the rest of the ceiling's direction.
    """

    axes: Float[Tensor, "3 d"]

    @classmethod
    def through(cls, quadratic: ode.QuadraticBarrier, start: Float[Tensor, " d"]) -> Slice:
        """The slice of a start, its gradient and the ceiling of h.

        Raises:
            ValueError: the ceiling lies on the great circle along the gradient (a linear barrier), which spans no more
                than two dimensions.
        """
        u, g, top = start, quadratic.gradient(start), ode.ceiling(quadratic).point
        Q, R = torch.linalg.qr(torch.stack([u, g / g.norm() * u.norm(), top]).double().mT)
        if float(R[2, 2].abs()) < 1e-6:
            raise ValueError("start, gradient and ceiling lie in one plane: h is linear, and its field lines straight")
        return cls((Q * R.diagonal().sign()).mT.contiguous())

    def restrict(self, quadratic: ode.QuadraticBarrier) -> ode.QuadraticBarrier:
        """h on the slice, as a quadratic of the three coordinates."""
        return ode.QuadraticBarrier(self.axes @ quadratic.A @ self.axes.mT, self.axes @ quadratic.b, quadratic.c)

    def point(self, xy: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 3"]:
        """The unit vector at angle ‖xy‖ from the start in the direction xy."""
        angle = xy.norm(dim=-1, keepdim=True)
        return torch.cat([angle.cos(), torch.sinc(angle / torch.pi) * xy], dim=-1)

    def chart(self, a: Float[Tensor, "*batch d"]) -> tuple[Float[Tensor, "*batch 2"], Float[Tensor, "*batch"]]:
        """Where the nearest point of the slice lies in the chart, and the angle from a to it."""
        u = a.double() / a.double().norm(dim=-1, keepdim=True)
        y = u @ self.axes.mT
        off = torch.atan2((u - y @ self.axes).norm(dim=-1), y.norm(dim=-1))
        across = y[..., 1:].norm(dim=-1, keepdim=True)
        angle = torch.atan2(across, y[..., :1])
        return y[..., 1:] * torch.where(across > 0, angle / across, 1.0), off

    def velocity(self, xy: Float[Tensor, "*batch 2"], v: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 2"]:
        """A tangent vector in the chart's coordinates: true along the radius, r / sin r longer across it."""
        r = xy.norm(dim=-1, keepdim=True)
        e = torch.where(r > 0, xy / r, torch.tensor([1.0, 0.0], dtype=xy.dtype))
        outward = -r.sin().squeeze(-1) * v[..., 0] + r.cos().squeeze(-1) * (v[..., 1:] * e).sum(-1)
        turned = torch.stack([-e[..., 1], e[..., 0]], dim=-1)
        around = (v[..., 1:] * turned).sum(-1) / torch.sinc(r.squeeze(-1) / torch.pi)
        return outward[..., None] * e + around[..., None] * turned


def grid_table(quadratic: ode.QuadraticBarrier, plane: Slice, extent: float, n: int) -> pd.DataFrame:
    """h and its field on the slice; one row a point of a square grid around the start."""
    side = torch.linspace(-extent, extent, n, dtype=torch.float64)
    xy = torch.cartesian_prod(side, side)
    flat, y = plane.restrict(quadratic), plane.point(xy)
    v = plane.velocity(xy, flat.gradient(y))
    columns = {"x": xy[:, 0], "y": xy[:, 1], "h": flat.value(y), "vx": v[:, 0], "vy": v[:, 1]}
    return pd.DataFrame({name: x.numpy() for name, x in columns.items()})


def path_table(barrier: ode.Barrier, plane: Slice, label: str, points: Float[Tensor, "steps_plus_1 d"]) -> pd.DataFrame:
    """One path: `POINTS` points with h, the angle from the start, and what is proved of the step."""
    proof = ode.certify_path(barrier, points[:, None])
    rows: list[dict[str, Any]] = []
    share = torch.linspace(0, 1, POINTS // (len(points) - 1) + 1, dtype=torch.float64)[:, None]
    for step in range(len(points) - 1):
        a = torch.lerp(points[step].double(), points[step + 1].double(), share)
        xy, off = plane.chart(a)
        turned = angle_between(points[0], a)
        verdict = next(
            (v for v in ("certified", "refuted", "stationary") if bool(getattr(proof, v)[step])), "undecided"
        )
        found = zip(xy.tolist(), off.tolist(), turned.tolist(), barrier.value(a).tolist(), strict=True)
        rows += [{"method": label, "step": step, "x": x, "y": y, "off": o, "angle": t, "h": h, "verdict": verdict}
                 for (x, y), o, t, h in found]  # fmt: skip
    return pd.DataFrame(rows)


def best_table(quadratic: ode.QuadraticBarrier, plane: Slice, start: Tensor, angle: float) -> pd.DataFrame:
    """The most h that any steering can reach at each angle, and where."""
    angles = torch.linspace(0, angle, 41, dtype=torch.float64)
    caps = ode.cap_bound(quadratic, start.expand(len(angles), -1), angles)
    xy, off = plane.chart(caps.point)
    columns = {"x": xy[:, 0], "y": xy[:, 1], "off": off, "angle": angles, "h": caps.value, "bound": caps.bound}
    return pd.DataFrame({name: x.numpy() for name, x in columns.items()})


def cost(config: FlowPlaneConfig, model: TransformerBridge, contrast: ode.ContrastSet, prompts: Sequence[str]) -> Cost:
    """What the picture will cost: reading texts and prompts, and `FITS` seconds."""
    texts = [*contrast.positive, *contrast.negative, *prompts]
    what = f"{len(texts)} texts read, a barrier fitted, five paths and {config.grid}² points"
    return Cost(what, text_tokens(model, texts), reading_rate(model, texts), FITS, 1)


def run(config: FlowPlaneConfig) -> None:
    """Fit, solve, certify, write."""
    refuse_existing(config.out)
    model = ode.load_model(config.model)
    contrast = load_contrast(config.contrast, config.pairs, config.seed)
    prompts = load_prompts(config.contrast, config.prompts, config.seed + 1, contrast)
    print(f"flow plane: {cost(config, model, contrast, prompts)}", file=sys.stderr, flush=True)
    acts = ode.collect_activations(model, contrast, [config.layer])
    here = acts[config.layer]
    barrier = ode.KernelBarrier(gamma="cv").fit_activations(here)
    starts = last_activations(model, prompts, config.layer).double()
    start = starts[barrier.value(starts).argsort()[len(starts) // 2]]
    plane, field = Slice.through(barrier.quadratic, start), ode.BarrierField(barrier)
    caa = ode.METHODS["caa"].fit_activations(here, config.seed)
    paths: list[pd.DataFrame] = []
    euler = TEN_EULER_STEPS if config.steps == 10 else f"odesteer_kernel, {config.steps} Euler steps"
    for label, along, method, steps in (
        (euler, field, "euler", config.steps), ("odesteer_kernel", field, "geodesic", config.steps),
        ("odesteer_certified", field, "certified", config.steps), (ONE_STEP, field, "geodesic", 1),
        ("caa, geodesic", caa, "geodesic", config.steps),
    ):  # fmt: skip
        points = ode.Flow(angle=config.angle, steps=steps, solver=method).solve(along, start[None], record=True).points
        assert points is not None
        paths.append(path_table(barrier, plane, label, points[:, 0]))
    top = ode.ceiling(barrier.quadratic)
    xy, _ = plane.chart(torch.stack([start, top.point]))
    marks = pd.DataFrame({"mark": ["start", "ceiling"], "x": xy[:, 0].tolist(), "y": xy[:, 1].tolist(),
                          "h": [float(barrier.value(start)), top.value]})  # fmt: skip
    tables = {"grid": grid_table(barrier.quadratic, plane, config.angle + MARGIN, config.grid),
              "plane": pd.concat(paths),
              "best": best_table(barrier.quadratic, plane, start, config.angle), "marks": marks}  # fmt: skip
    run = {"settings": asdict(config), "model": asdict(acts.model), "layer": config.layer,
           "contrast": contrast.provenance, "barrier": {**barrier.config(), "chosen": barrier.chosen},
           "curvature": float(ode.certify.geodesic_curvature(barrier.quadratic, start))}  # fmt: skip
    save_run(config.out, tables, run)
    ends = tables["plane"].groupby("method", sort=False).tail(1)
    print(ends.to_string(index=False, float_format="%.3f"))
    print(f"\nceiling {top.value:.3f}; κ = {run['curvature']:.3f} per radian; {config.out}")
