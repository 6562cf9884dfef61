"""The pictures of the concept pages, on classes in three dimensions; `python docs/images/concepts.py` draws them anew.

The sphere of directions is drawn around the negative class's mean with true angles from it (azimuthal equidistant).
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

import odesteer_tl as ode
from figures.drawing import STYLE
from figures.looks import look
from odesteer_tl.jupyter import plot_path

HERE = Path(__file__).parent
EXTENT = 2.4


def classes() -> tuple[torch.Tensor, torch.Tensor]:
    """Two hundred activations a class; the positive one lies in two places, which no direction alone reaches."""
    rng = torch.Generator().manual_seed(3)
    noise = 0.35 * torch.randn(200, 3, generator=rng), 0.35 * torch.randn(200, 3, generator=rng)
    negative = torch.tensor([0.0, 0.0, 2.0]) + noise[0]
    side = torch.where(torch.arange(200) % 3 == 0, -1.0, 1.0)[:, None]
    positive = side * torch.tensor([1.7, 0.6, 0.0]) + torch.tensor([0.0, 0.5, 0.5]) + noise[1]
    return positive, negative


def chart(a: torch.Tensor) -> np.ndarray:
    """Directions as points of the plane, at their angle from the north pole."""
    u = (a / a.norm(dim=-1, keepdim=True)).double()
    across = u[..., :2]
    width = across.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    return (across / width * torch.atan2(width, u[..., 2:])).numpy()


def height(axis: plt.Axes, barrier: ode.Barrier) -> None:
    """h on the chart, with its zero level."""
    x, y = np.meshgrid(*[np.linspace(-EXTENT, EXTENT, 161)] * 2)
    angle = np.hypot(x, y)
    scale = np.sinc(angle / np.pi)
    points = torch.tensor(np.stack([x * scale, y * scale, np.cos(angle)], axis=-1))
    h = barrier.value(points.reshape(-1, 3)).reshape(x.shape).numpy()
    h[angle > EXTENT] = np.nan
    levels = np.linspace(-np.nanmax(np.abs(h)), np.nanmax(np.abs(h)), 17)
    axis.contourf(x, y, h, levels, cmap="PuOr_r", alpha=0.8)
    axis.contour(x, y, h, [0], colors="black", linewidths=0.8)
    axis.set(aspect="equal", xlim=(-EXTENT, EXTENT), ylim=(-EXTENT, EXTENT), xticks=[], yticks=[])
    axis.spines[:].set_visible(False)


def main() -> None:
    """Fit, solve and draw the four."""
    positive, negative = classes()
    barrier = ode.KernelBarrier(gamma=1.0, C=10.0).fit(positive, negative)
    field, some = ode.BarrierField(barrier), negative[:14]
    with plt.style.context(STYLE):
        figure, axis = plt.subplots(figsize=(3.4, 3.3))
        height(axis, barrier)
        axis.plot(*chart(negative).T, ".", ms=3, color="#432371", label="negative")
        axis.plot(*chart(positive).T, "^", ms=2.5, color="#7f3b08", label="positive")
        axis.legend(loc="lower right", fontsize=7)
        axis.set_title("h on the sphere of directions; black: h = 0")
        figure.savefig(HERE / "barrier.png", dpi=120)

        figure, axes = plt.subplots(1, 2, figsize=(6.6, 3.3))
        for axis, solver, steps in zip(axes, ("geodesic", "euler"), (24, 4), strict=True):
            height(axis, barrier)
            path = ode.Flow(angle=1.6, steps=steps, solver=solver).solve(field, some, record=True)
            for row in range(len(some)):
                axis.plot(*chart(path.points[:, row]).T, "-", lw=0.9, color="black")
                axis.plot(*chart(path.points[-1:, row]).T, "o", ms=3, color="black")
            axis.plot(*chart(some).T, ".", ms=4, color="#432371")
            axis.set_title(f"solver={solver!r}, steps={steps}, angle=1.6")
        figure.savefig(HERE / "flow.png", dpi=120)

        figure, axis = plt.subplots(figsize=(4.6, 2.7))
        angles = torch.linspace(0, 2.4, 25)
        mean = positive.mean(0) - negative.mean(0)
        for name, of in (("odesteer_kernel", field), ("caa", ode.ConstantField(mean))):
            ends = [ode.Flow(angle=float(x), steps=30).solve(of, some.double()).end for x in angles]
            heights, drawn = [float(barrier.value(end).median()) for end in ends], look(name)
            axis.plot(angles, heights, label=name, color=drawn["color"], ls=drawn["ls"])
        bound = [float(ode.cap_bound(barrier.quadratic, some, float(x)).bound.median()) for x in angles]
        axis.plot(angles, bound, color="black", ls=(0, (2, 1)), lw=1, label="bound on any steering")
        axis.axhline(float(ode.ceiling(barrier.quadratic)), color="0.5", lw=0.8, label="ceiling of h")
        axis.axhline(float(barrier.value(positive).median()), color="0.5", lw=0.8, ls=":", label='level="median"')
        axis.set(xlabel="strength: angle (rad)", ylabel="h (median)")
        axis.legend(fontsize=7, loc="lower right")
        figure.savefig(HERE / "strength.png", dpi=120)

        figure, axis = plt.subplots(figsize=(4.6, 2.9))
        path = ode.Flow(angle=3.6, steps=4, solver="euler").solve(field, some, record=True)
        plot_path(barrier, path, row=0, ax=axis)
        figure.savefig(HERE / "certificate.png", dpi=120)
    plt.close("all")


if __name__ == "__main__":
    main()
