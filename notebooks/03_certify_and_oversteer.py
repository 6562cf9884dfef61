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
# # Certify, refute, and know when to stop
#
# [![Open In Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/odesteer_tl/blob/main/notebooks/03_certify_and_oversteer.ipynb)
#
# Steering claims to raise h. Does it, on the *whole* of every step, for the h that was really learned? And if h rises,
# is the state still one that positive texts have? The first question is answered by proofs, the second by densities
# p₊ and p₋, fitted and checked on other texts.

# %%
import sys

if "google.colab" in sys.modules:  # elsewhere the package is installed already
    import subprocess

    package = "odesteer_tl[notebooks] @ git+https://github.com/OWNER/odesteer_tl"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", package], check=True)

# %%
import matplotlib.pyplot as plt
import torch

import odesteer_tl as ode
from odesteer_tl.densities import DensityPair, FactorAnalysis, ShrunkGaussian, score_path
from odesteer_tl.jupyter import example_texts, plot_likelihood, plot_path
from odesteer_tl.looks import look

plt.rcParams["figure.dpi"] = 110
FLOW = look("odesteer_kernel")  # a method looks the same in every figure

# %% [markdown]
# ## Four piles of texts
#
# One to fit h, one to fit the densities, one to calibrate both, one to report on. What has been seen by one must not be
# shown to the next: a prompt in two piles is refused, with its number.

# %%
MODEL = "organism"  # the embedded model; or "smollm2", "gpt2", any Hugging Face name, a local directory

model = ode.load_model(MODEL)
LAYER = round(0.6 * model.cfg.n_layers)
contrast, _ = example_texts(MODEL, n=500)
parts = contrast.split((0.25, 0.35, 0.25, 0.15))
for_h, for_p, for_calibration, test = (ode.collect_activations(model, part, [LAYER])[LAYER] for part in parts)
barrier = ode.KernelBarrier(gamma=1.0, C=100.0).fit(for_h.positive, for_h.negative)
barrier.calibrate(for_calibration.positive, for_calibration.negative)
a = test.negative.double()
display(test)

# %% [markdown]
# ## A proof for every step
#
# Between two points of a path the state moves on a straight line. Seen as a direction that is an arc of a great circle,
# on which h is a wave of two frequencies; whether such a wave rises on an arc can be decided exactly, with rounding
# accounted for. The answer is *certified*, *refuted*, or (within rounding of a summit) neither; never a wrong yes.

# %%
field = ode.BarrierField(barrier)
path = ode.Flow(angle=0.5, steps=10).solve(field, a, record=True)
proof = ode.certify_path(barrier, path.points)
display(proof)

# %% [markdown]
# From these prompts to all prompts of their kind: with no violation among N, the rate is at most this, with 95 %
# confidence. The unit is the prompt, not the step.

# %%
print(ode.certify.rate_bound(proof.refuted.any(0)))

# %% [markdown]
# ## A refutation
#
# Ask the published solver for too much in too few steps and it leaps over the summit. The red steps end lower, or pass
# a summit on the way: h falls somewhere on them. Note what a look at the end points alone would miss.

# %%
leap = ode.Flow(angle=6.0, steps=4, solver="euler").solve(field, a, record=True)
row = int(ode.certify_path(barrier, leap.points).refuted.sum(0).argmax())
ax = plot_path(barrier, leap, row=row)

# %%
found = ode.certify_path(barrier, leap.points)
ends_rise = barrier.value(leap.points[1:]) > barrier.value(leap.points[:-1])
missed = found.refuted & ends_rise
print(f"{int(found.refuted.sum())} steps are refuted; on {int(missed.sum())} of them h ends higher than it started")

# %% [markdown]
# The `certified` method cuts each step where h would stop rising. It cannot be refuted, however much is asked; its last
# steps, at the summit itself, are too short to decide.

# %%
careful = ode.Flow(angle=6.0, steps=20, solver="certified").solve(field, a, record=True)
display(ode.certify_path(barrier, careful.points))

# %% [markdown]
# ## One certificate for every method
#
# The proof looks at points, not at how they were made, so it serves any method against the same h. Left: prompts with a
# step on which h falls. Right: how near h comes to its ceiling, the most it can be on any activation. (Straight steps
# turn less than they are asked to: `caa` never gets round to a right angle.)

# %%
ways = {"caa (mean difference)": (ode.METHODS["caa"].fit(for_h.positive, for_h.negative, 0), 10, "euler", look("caa")),
        "Euler, 4 steps": (field, 4, "euler", look("euler")),
        "geodesic, 10 steps": (field, 10, "geodesic", FLOW)}  # fmt: skip
angles = [0.25, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0]
top = float(ode.ceiling(barrier.quadratic))
fig, (left, right) = plt.subplots(1, 2, figsize=(7.5, 3), layout="constrained")
for name, (chosen, steps, method, drawn) in ways.items():
    shares, heights = [], []
    for angle in angles:
        points = ode.Flow(angle=angle, steps=steps, solver=method).solve(chosen, a, record=True).points
        shares.append(ode.stats.share(ode.certify_path(barrier, points).refuted.any(0)))
        heights.append((barrier.value(points[-1]) / top).quantile(torch.tensor([0.1, 0.5, 0.9]).double()))
    low, middle, high = torch.stack(heights).T
    left.plot(angles, [s.value for s in shares], ms=4, label=name, **drawn)
    left.fill_between(angles, [s.low for s in shares], [s.high for s in shares], color=drawn["color"], alpha=0.18, lw=0)
    right.plot(angles, middle, ms=4, **drawn)
    right.fill_between(angles, low, high, color=drawn["color"], alpha=0.18, lw=0)
left.set(xlabel="angle asked for (rad)", ylabel="prompts with a step\non which h falls", ylim=(-0.04, 1.04))
right.axhline(1, color="black", lw=0.8)
right.set(xlabel="angle asked for (rad)", ylabel="h / ceiling of h")
fig.legend(frameon=False, ncols=3, loc="outside upper center", fontsize="small")
for ax in (left, right):
    ax.spines[["top", "right"]].set_visible(False)

# %% [markdown]
# *Bands: 95 % exact intervals on the left, 10–90 % of prompts on the right.*
#
# ## Higher h, but of what?
#
# h knows the direction in which positives differ from negatives. It does not know where the positives *end*: far out it
# goes on rising, where no text has ever been. Densities know. We fit p₊ and p₋ (the family is chosen by held-out
# likelihood), calibrate them on the third pile, and follow the paths of the fourth.

# %%
labels = [(part.positive_groups, part.negative_groups) for part in parts]
pair = DensityPair([FactorAnalysis(4), FactorAnalysis(8), ShrunkGaussian()], folds=3)
pair.fit(for_p.positive, for_p.negative, labels[1], barrier_groups=labels[0][0] + labels[0][1])
pair.calibrate(for_calibration.positive, for_calibration.negative, labels[2])
display(pair)

# %%
far = ode.Flow(angle=1.2, steps=24).solve(field, a, record=True)
score = score_path(pair, far.points, groups=labels[3][1], h=barrier.log_ratio(far.points))
axes = plot_likelihood(score)

# %% [markdown]
# Mean change along the paths of held-out negative texts, with simultaneous 95 % bands. First both agree: log p₊ rises
# with h. At **T\*** log p₊ peaks. From there on h still rises while the state becomes *less* like any positive text:
# that is over-steering, and h alone cannot see it.

# %%
display(score)

# %% [markdown]
# Where along the way do states leave the data? Each is ranked among held-out positives; below 2.5 % it is called off.

# %%
rank = score.rank.quantile(torch.tensor([0.1, 0.5, 0.9]).double(), dim=1)
angle = score.angle.mean(1)
fig, ax = plt.subplots(figsize=(6, 2.8), layout="constrained")
ax.plot(angle, rank[1], markevery=3, ms=4, label="median and 10–90 % of prompts", **FLOW)
ax.fill_between(angle, rank[0], rank[2], color=FLOW["color"], alpha=0.2, lw=0)
ax.axhline(0.025, color="black", ls=":", label="2.5 %: off the data")
ax.set(xlabel="angle from the start (rad)", ylabel="rank of log $p_+$ among\nheld-out positives", ylim=(0, 1))
ax.legend(frameon=False, loc="upper right")
ax.spines[["top", "right"]].set_visible(False)

# %% [markdown]
# ## What to take home
#
# - *Certified* speaks of this h and these points, with no exception. It does not speak of another barrier fitted on
#   other texts, nor of what the model then writes.
# - The ceiling says when more strength cannot buy more h; T\* says when it buys h at the price of likelihood, and it
#   comes first.
# - T\* is as good as p₊ is. Look at how well the densities fit before you trust them. On the embedded model they fit
#   badly:
#   ranks far from uniform and a slope far below 1 say that in 128 dimensions, from 175 texts, p₊ is much too sure of
#   itself. Believe the shape of the curves above, a rise and then a fall, and not their nats.

# %%
display(pair.calibrated)
