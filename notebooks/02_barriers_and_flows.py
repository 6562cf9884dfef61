# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Barriers and flows: what h is, and when an ODE matters
#
# [![Open In Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/odesteer_tl/blob/main/notebooks/02_barriers_and_flows.ipynb)
#
# ODESteer steers by an ordinary differential equation, da/dt = ∇h/‖∇h‖. Three questions a careful reader asks: what is
# this h? what does its strength T mean? and does anybody need the ODE, or would one step do? All three have exact
# answers, because h is simpler than it looks.

# %%
import sys

if "google.colab" in sys.modules:  # elsewhere the package is installed already
    import subprocess

    package = "odesteer_tl[notebooks] @ git+https://github.com/OWNER/odesteer_tl"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", package], check=True)

# %%
import math

import matplotlib.pyplot as plt
import numpy as np
import torch

import odesteer_tl as ode
from odesteer_tl.jupyter import example_texts
from odesteer_tl.looks import BLUE, RED, line, look

plt.rcParams["figure.dpi"] = 110
#: a method has the same colour in every figure
ONE_STEP, FLOW = line("odesteer_kernel, one step"), line("odesteer_kernel")

# %%
MODEL = "organism"  # the embedded model; or "smollm2", "gpt2", any Hugging Face name, a local directory

model = ode.load_model(MODEL)
contrast, _ = example_texts(MODEL, n=300)
fit, test = (ode.collect_activations(model, part) for part in contrast.split((0.6, 0.4)))
LAYER = round(0.6 * model.cfg.n_layers)

# %% [markdown]
# ## h is a quadratic on a sphere
#
# The paper's barrier is logistic regression on a random sketch of polynomial features of degree 2. Whatever the sketch,
# and with no sketch at all, the result is exactly h(a) = uᵀAu + b·u + c with u = a/‖a‖. Along any great circle such a
# function is a wave of two frequencies, c₀ + c₁ cos(φ − φ₁) + c₂ cos 2(φ − φ₂): **five values say all of it**. Below,
# the curve is drawn from five dots alone, and then compared with h itself.

# %%
barrier = ode.KernelBarrier(gamma=1.0, C=100.0).fit(fit[LAYER].positive, fit[LAYER].negative)
a = test[LAYER].negative[0].double()
u, g = a / a.norm(), barrier.gradient(a)
directions = {"uphill": (g, FLOW), "mean difference (caa)": (
    (fit[LAYER].positive.mean(0) - fit[LAYER].negative.mean(0)).double(), line("caa"))}  # fmt: skip

phi = torch.linspace(-math.pi, math.pi, 361).double()
five = [0, 72, 144, 216, 288]  # all that the curve is drawn from


def waves(t):
    return torch.stack([torch.ones_like(t), t.cos(), t.sin(), (2 * t).cos(), (2 * t).sin()], 1)


fig, ax = plt.subplots(figsize=(6, 3), layout="constrained")
for name, (direction, drawn) in directions.items():
    v = direction - (direction @ u) * u
    v = v / v.norm()
    h = barrier.value(phi[:, None].cos() * u + phi[:, None].sin() * v)
    curve = waves(phi) @ torch.linalg.solve(waves(phi[five]), h[five])
    ax.plot(phi, curve, label=name, **drawn)
    ax.plot(phi[five], h[five], "o", color=drawn["color"])
    print(f"{name:21} largest difference from h itself: {float((curve - h).abs().max()):.0e}")
ax.set(xlabel="angle turned from a (rad)", ylabel="barrier h", xticks=[-math.pi, -math.pi / 2, 0, math.pi / 2, math.pi])
ax.set_xticklabels(["−π", "−π/2", "0", "π/2", "π"])
ax.legend(frameon=False, title="turning toward", loc="upper left", bbox_to_anchor=(1, 1))
ax.spines[["top", "right"]].set_visible(False)

# %% [markdown]
# So h can be known completely: its highest value on any activation, all its peaks and passes, and the best point within
# any angle. No sampling is involved.

# %%
display(ode.landscape(barrier.quadratic))

# %% [markdown]
# ## The picture in three dimensions
#
# A sphere that can be drawn: 3 dimensions instead of 128, and a quadratic bent on purpose. The flow curves along the
# ground; one step of the same length goes straight and ends elsewhere; the best point within the angle is where neither
# may be.


# %%
def on_map(x):
    """Longitude and latitude."""
    return torch.atan2(x[..., 1], x[..., 0]), torch.asin(x[..., 2] / x.norm(dim=-1))


A = torch.tensor([[1.2, 0.9, 0.0], [0.9, -1.0, 0.4], [0.0, 0.4, -0.6]])
toy = ode.QuadraticBarrier(A=A, b=torch.tensor([0.3, 0.3, 0.9]), c=0.0)
ANGLE = 1.0

longitude, latitude = np.meshgrid(np.linspace(-np.pi, np.pi, 241), np.linspace(-np.pi / 2, np.pi / 2, 121))
ball = np.stack([np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)], -1)
starts = torch.tensor([[-0.3, -0.9, 0.2], [0.1, 0.9, 0.1], [0.2, -0.6, -0.7], [0.4, 0.8, -0.6]]).double()

fig, ax = plt.subplots(figsize=(7, 4), subplot_kw={"projection": "mollweide"}, layout="constrained")
ground = ax.contourf(longitude, latitude, toy.value(torch.tensor(ball)), levels=16, cmap="Greys", alpha=0.6)
for name, (steps, drawn) in {"geodesic, 200 steps": (200, FLOW), "geodesic, one step": (1, ONE_STEP)}.items():
    ends = ode.Flow(angle=ANGLE, steps=steps).solve(ode.BarrierField(toy), starts, record=True).points
    between = torch.linspace(0, 1, 40).double()[:, None, None]
    arc = ends if steps > 1 else ends[0] + between * (ends[1] - ends[0])  # the segment, seen on the sphere
    for k in range(len(starts)):
        x, y = on_map(arc[:, k])
        ax.plot(x, y, lw=2, label=name if k == 0 else None, **drawn)
        ax.plot(x[-1], y[-1], "o", ms=5, color=drawn["color"], mec="black", zorder=4)
best, cap = ode.cap_bound(toy, starts, ANGLE).point, look("optimal_cap")["color"]
ax.plot(*on_map(best), "*", ms=13, color=cap, mec="black", ls="none", label="best within the angle", zorder=5)
ax.plot(*on_map(starts), "s", ms=5, color="white", mec="black", ls="none", label="start")
ax.plot(*on_map(ode.ceiling(toy).point), "^", ms=9, color="white", mec="black", ls="none", label="ceiling of h")
ax.set_xticklabels([])
ax.set_yticklabels([])
ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.02), ncols=3, frameon=False)
bar = fig.colorbar(ground, label="h", shrink=0.7)

# %% [markdown]
# ## Strength is an angle
#
# h sees only the direction of a, so its flow keeps the norm: walking a length T turns a by T/‖a‖ radians. Norms differ
# from layer to layer, and from model to model by orders of magnitude. The same T is a nudge here and a half turn there.
# So `Flow(angle=…)` is the unit to compare in; `T=` is there for the paper's settings.

# %%
layers = list(test)
norms = [float(torch.cat([test[k].positive, test[k].negative]).norm(dim=-1).median()) for k in layers]
T = 0.3 * norms[LAYER]
fig, (left, right) = plt.subplots(1, 2, figsize=(7, 2.6), layout="constrained")
left.bar(layers, norms, color="0.5")
left.set(xlabel="layer", ylabel="median norm of a", xticks=layers)
right.bar(layers, [T / norm for norm in norms], color="0.5", hatch="//", edgecolor="white")
right.axhline(0.3, color="black", lw=0.8, ls="--")
right.set(xlabel="layer", ylabel=f"angle that T = {T:.0f} turns (rad)", xticks=layers)
for ax in (left, right):
    ax.spines[["top", "right"]].set_visible(False)

# %% [markdown]
# ## When does an ODE matter?
#
# An ODE differs from one step only where the flow line *bends*. Its bend per radian is the geodesic curvature κ. For
# small angles θ theory says: the ends are κθ²/2 apart, and one geodesic step loses κ²Gθ³/2 of h against the best point
# within the angle (G: the slope at the start). Look at κθ before you pay for an ODE.
#
# Two barriers of the same texts: the paper's settings, which hardly bend, and one made stiff on purpose.

# %%
kinds = {"paper's settings (γ=0.1, C=1)": ode.KernelBarrier(gamma=0.1, C=1.0),
         "stiff (γ=4, c₀=0.2, C=1000)": ode.KernelBarrier(gamma=4.0, coef0=0.2, C=1000.0)}  # fmt: skip
a = test[LAYER].negative.double()
for name, h in kinds.items():
    h.fit(fit[LAYER].positive, fit[LAYER].negative)
    kappa = ode.certify.geodesic_curvature(h.quadratic, a)
    side = torch.cat([h.value(test[LAYER].positive) > 0, h.value(test[LAYER].negative) < 0])
    print(f"{name:30} κ = {float(kappa.median()):.3f} per radian; right side: {ode.stats.share(side)}")

# %% [markdown]
# First the formula: measured loss of one step of 0.1 rad against the predicted one, a dot for each held-out text.

# %%
fig, ax = plt.subplots(figsize=(4, 3.4), layout="constrained")
theta = 0.1
for (name, h), color, marker in zip(kinds.items(), (BLUE, RED), "os", strict=True):
    q = h.quadratic
    end = ode.Flow(angle=theta, steps=1).solve(ode.BarrierField(h), a).end
    slope = h.gradient(a).norm(dim=-1) * a.norm(dim=-1)
    predicted = ode.certify.geodesic_curvature(q, a) ** 2 * slope * theta**3 / 2
    measured = ode.cap_bound(q, a, theta).value - q.value(end)
    ax.loglog(predicted, measured, marker, ms=4, color=color, alpha=0.6, label=name)
ax.axline((1e-4, 1e-4), (1e-3, 1e-3), color="black", lw=0.8, zorder=0)
ax.set(xlabel="predicted loss κ²Gθ³/2", ylabel="measured loss of h")
ax.legend(frameon=False, fontsize="small", loc="upper left")
ax.spines[["top", "right"]].set_visible(False)

# %% [markdown]
# Then what matters: how much of the best possible gain in h each way of walking gets, as the angle grows.

# %%
ways = {"geodesic, one step": (1, "geodesic", ONE_STEP), "ten Euler steps (published)": (10, "euler", line("odesteer")),
        "ten geodesic steps": (10, "geodesic", FLOW)}  # fmt: skip
angles = torch.linspace(0.05, 1.2, 12).tolist()
fig, axes = plt.subplots(1, 2, figsize=(7.5, 3.1), sharey=True, layout="constrained")
for ax, (name, h) in zip(axes, kinds.items(), strict=True):
    best = torch.stack([ode.cap_bound(h.quadratic, a, angle).value for angle in angles]) - h.value(a)
    for label, (steps, method, drawn) in ways.items():  # a line: medians; its band: 10 to 90 % of texts
        ends = [ode.Flow(angle=x, steps=steps, solver=method).solve(ode.BarrierField(h), a).end for x in angles]
        share = (torch.stack([h.value(end) for end in ends]) - h.value(a)) / best
        low, middle, high = share.quantile(torch.tensor([0.1, 0.5, 0.9]).double(), dim=1)
        ax.plot(angles, middle, lw=3 if steps == 1 else 1.5, label=label, **drawn)
        ax.fill_between(angles, low, high, color=drawn["color"], alpha=0.18, lw=0)
    ax.axhline(1, color="black", lw=0.8)
    ax.set(title=name, xlabel="angle asked for (rad)")
    ax.title.set_fontsize(10)
    ax.spines[["top", "right"]].set_visible(False)
axes[0].set_ylabel("share of the best\npossible gain in h")
legend = axes[0].legend(frameon=False, fontsize="small", loc="lower left")

# %% [markdown]
# *Medians and 10–90 % of held-out texts; 1 is the best that any steering of that angle could do.* Euler falls behind at
# the paper's settings although there is nothing to bend around: its straight steps leave the sphere, and so turn less
# than was asked. One geodesic step turns by exactly the angle.
#
# ## What to take home
#
# - Where κθ is small, one geodesic step *is* the flow. Where it is not, ten steps help, and the closed-form optimum
#   (`Flow(solver="optimal")`) is better still and needs no ODE.
# - A gain in h is not yet a gain in behaviour: whether more h makes better texts is a question for the texts
#   (`01_quickstart`) and for densities (`03_certify_and_oversteer`).
