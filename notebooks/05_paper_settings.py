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
# # The paper's settings, on the paper's models or yours
#
# [![Open In Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/odesteer_tl/blob/main/notebooks/05_paper_settings.ipynb)
#
# ODESteer (arXiv 2602.17560) was published with four models of 7 to 8 billion parameters, one layer and a few strengths
# for each, and one way of sampling. Here these settings are run as they are, beside what this library would do instead,
# and each is looked at: what is T? does the hash seed matter? are ten Euler steps better than one? what do the sampling
# settings do by themselves?
#
# As it stands the notebook runs on the tiny embedded model, in a minute, on a CPU. **Its numbers are about that model
# only.** One line, below, takes it to Llama or Qwen on your GPU.

# %%
import sys

if "google.colab" in sys.modules:  # presets and published figures live in the repository, not in the package
    import subprocess

    subprocess.run(["git", "clone", "--depth", "1", "https://github.com/OWNER/odesteer_tl"], check=True)
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "-e", "odesteer_tl[analysis,notebooks]"], check=True)
    sys.path.insert(0, "odesteer_tl")  # an editable install is seen after a restart only

# %%
from itertools import combinations

import matplotlib.pyplot as plt
import pandas as pd
import torch

import odesteer_tl as ode
from analyses.benchmarks.presets import PRESETS, Sampling
from analyses.benchmarks.published import all_published
from analyses.geometry.sketches import Data, agreement, directions, gaussian_classes
from analyses.text_quality import text_quality
from odesteer_tl.jupyter import example_texts
from odesteer_tl.looks import ACROSS, BLUE, LOOKS, RED, looks

plt.rcParams["figure.dpi"] = 110
pd.set_option("display.max_colwidth", 120)

# %%
MODEL = "organism"  # the embedded model; or "smollm2", "gpt2", any Hugging Face name, a local directory
DTYPE, DEVICE = "float32", None
# The paper's own models, on a GPU with 24 GB: uncomment one line. Layer and strength then come from its preset.
# MODEL, DTYPE, DEVICE = "meta-llama/Llama-3.1-8B", "bfloat16", "cuda"
# MODEL, DTYPE, DEVICE = "Qwen/Qwen2.5-7B", "bfloat16", "cuda"

model = ode.load_model(MODEL, dtype=DTYPE, device=DEVICE)
contrast, prompts = example_texts(MODEL, n=300)  # yours: ode.ContrastSet.from_csv, .from_jsonl, .from_hub, .from_texts
prompts = prompts[:40]
fit, test = (ode.collect_activations(model, part) for part in contrast.split((0.6, 0.4)))
display(contrast)

# %% [markdown]
# ## The presets
#
# Layers are counted from 0, at the block's output. T is the integration time. *Detoxification* has a T of its own where
# one was published.


# %%
def listed(strengths):
    return ", ".join(f"{t:g}" for t in strengths)


rows = [{"preset": name, "layers": p.n_layers, "width": p.d_model, "steered at": p.layer, "T": listed(p.strengths),
         "T, detoxification": listed(p.detoxification or ())} for name, p in PRESETS.items()]  # fmt: skip
display(pd.DataFrame(rows).set_index("preset"))
print("sampling:", Sampling().settings())

# %% [markdown]
# ## T is a length: what angle is it?
#
# h sees only the direction of a, so what counts is the angle T/‖a‖, and norms differ between models and layers. The
# published T, on the model at hand, by the median norm of negative texts' last tokens:

# %%
norms = {layer: float(fit[layer].negative.double().norm(dim=-1).median()) for layer in fit}
fig, ax = plt.subplots(figsize=(6, 3), layout="constrained")
for (name, p), drawn in zip(PRESETS.items(), LOOKS, strict=False):
    middle = p.strengths[len(p.strengths) // 2]
    angles = [middle / norm for norm in norms.values()]
    ax.semilogy(list(norms), angles, ms=5, label=f"T = {middle:g} ({name[9:]})", **drawn)
ax.axhline(0.1, color="black", lw=0.8, ls=":", label="0.1 rad")
ax.set(xlabel="layer of the model at hand", ylabel="angle turned by T (rad)")
ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
ax.spines[["top", "right"]].set_visible(False)

# %% [markdown]
# A T does not travel: on the embedded model, whose norms are in the hundreds, most of the published ones do next to
# nothing.
# An angle does travel. On a model of the paper we take the preset's layer and middle T; on any other its *relative*
# depth, and the T that turns by 0.1 rad there, which is enough on the embedded model.

# %%
identity = ode.ModelIdentity.of(model)
known = next((p for p in PRESETS.values() if p.describes(identity)), None)
LAYER = known.layer if known else round(13 / 32 * (identity.n_layers - 1))
T = known.strengths[len(known.strengths) // 2] if known else 0.1 * norms[LAYER]
ANGLE = T / norms[LAYER]
print(
    f"layer {LAYER} of {identity.n_layers}; median norm {norms[LAYER]:.0f}; T = {T:.1f} is an angle of {ANGLE:.2f} rad"
)

# %% [markdown]
# ## The published barrier, and ours
#
# Published: logistic regression on 8000 features of a count sketch of (0.1 x·y + 1)², C = 1. The sketch is random, and
# is there to make the kernel cheap. With some hundreds of texts the kernel itself is cheap, and it has no seed. Its γ
# and C can be chosen by cross-validation.

# %%
positive, negative = fit[LAYER].positive, fit[LAYER].negative
barriers = {"published: sketch, γ=0.1, C=1": ode.SketchBarrier(),
            "exact kernel, γ=0.1, C=1": ode.KernelBarrier(gamma=0.1, C=1.0),
            "exact kernel, γ and C cross-validated": ode.KernelBarrier(gamma="cv", C="cv")}  # fmt: skip
a = test[LAYER].negative.double()


def unit_gradient(h):
    g = h.gradient(a)
    return g / g.norm(dim=-1, keepdim=True)


rows = []
for name, h in barriers.items():
    h.fit(positive, negative)
    right = ode.stats.share(torch.cat([h.value(test[LAYER].positive) > 0, h.value(test[LAYER].negative) < 0]))
    kappa = float(ode.certify.geodesic_curvature(h.quadratic, a).median())
    cosine = (unit_gradient(h) * unit_gradient(barriers["published: sketch, γ=0.1, C=1"])).sum(-1).median()
    rows.append({"barrier": name, "held-out texts on the right side": str(right), "κ (per radian)": round(kappa, 3),
                 "cosine with the published ∇h": round(float(cosine), 3)})  # fmt: skip
display(pd.DataFrame(rows).set_index("barrier"))

# %% [markdown]
# κ is how much the flow line bends in a radian; at the published settings it hardly does, so there is little for an ODE
# to follow (`02_barriers_and_flows` has the theory). The cross-validated barrier bends more; whether it *steers* better
# is a question for the texts (`04_layer_sweep`).
#
# ## How much does the hash seed decide?
#
# Two people who run the published code with two seeds steer in two directions. How far apart, at this layer?

# %%
seeds = [unit_gradient(ode.SketchBarrier(seed=seed).fit(positive, negative)) for seed in range(4)]
cosines = [float((x * y).sum(-1).median()) for x, y in combinations(seeds, 2)]
print(f"cosine of ∇h between two hash seeds, d = {identity.d_model}: {min(cosines):.3f} to {max(cosines):.3f}")

# %% [markdown]
# The wider the model, the more must share 8000 features. On *synthetic* data (two Gaussians at a fixed distance), where
# the width is all that changes:

# %%
tables = []
for d in (128, 512, 2048):
    data = Data(*gaussian_classes(200, d, seed=0), torch.cat(gaussian_classes(50, d, seed=1)))
    exact = directions(ode.KernelBarrier(gamma=0.1, C=1.0), data)
    tables.append(pd.DataFrame(agreement(data, exact, 8000, range(3))).assign(d=d))
found = pd.concat(tables)

fig, ax = plt.subplots(figsize=(5, 3), layout="constrained")
lines = {"kernel": ("a sketch and the exact kernel", BLUE, "o", "-"),
         "another seed": ("two sketches, two seeds", RED, "s", "--")}  # fmt: skip
for against, (label, color, marker, pattern) in lines.items():
    rows = found[found["against"] == against]
    ax.plot(rows["d"], rows["cosine"], marker, ms=5, color=color, mfc="none")
    ax.plot(*zip(*rows.groupby("d")["cosine"].mean().items(), strict=True), pattern, color=color, label=label)
ax.set_xscale("log", base=2)
ax.set(xlabel="width d", ylabel="cosine of ∇h", xticks=[128, 512, 2048], ylim=(0.6, 1.02))
ax.set_xticklabels(["128", "512", "2048"])
ax.legend(frameon=False, loc="lower left")
ax.spines[["top", "right"]].set_visible(False)

# %% [markdown]
# *A mark a pair, lines are means.* The exact kernel has no such spread; `python -m analyses.sketch_agreement` has more
# widths, numbers of features and seeds.
#
# ## One step, ten steps, or none
#
# All with the *published* barrier, and the same T. *Share of the best* is the gain in h over the most that any steer of
# the angle asked for could gain; `optimal` reaches it in closed form. Euler leaves the sphere: the norm grows,
# and it turns by less than the others.

# %%
field = ode.BarrierField(barriers["published: sketch, γ=0.1, C=1"])
ways = {"Euler, 10 steps (published)": ("euler", 10), "Euler, 1 step": ("euler", 1), "RK4, 10 steps": ("rk4", 10),
        "geodesic, 1 step": ("geodesic", 1), "geodesic, 10 steps": ("geodesic", 10),
        "optimal, no steps": ("optimal", 1)}  # fmt: skip
h = field.barrier
best = ode.cap_bound(h.quadratic, a, T / a.norm(dim=-1)).value - h.value(a)
flows = {name: ode.Flow(T=T, steps=steps, solver=method) for name, (method, steps) in ways.items()}
rows = []
for name, flow in flows.items():
    path = flow.solve(field, a)
    turned = torch.cosine_similarity(path.end, a, dim=-1).clamp(-1, 1).arccos()
    rows.append({"way": name, "evaluations of ∇h": path.n_evaluations,
                 "angle turned (rad)": float(turned.median()),
                 "norm after / before": float((path.end.norm(dim=-1) / a.norm(dim=-1)).median()),
                 "share of the best": float(((h.value(path.end) - h.value(a)) / best).median())})  # fmt: skip
display(pd.DataFrame(rows).set_index("way").round(4))

# %% [markdown]
# And the texts? Sampled as published, with the same seed, by each way:

# %%
sampling = (known.sampling if known else Sampling()).settings()
texts = {"unsteered": ode.generate(model, prompts, **sampling)}
for name, flow in flows.items():
    texts[name] = ode.Steerer(field, flow, layer=LAYER).generate(model, prompts, **sampling)

PUBLISHED = "Euler, 10 steps (published)"
panels = {f"same text as {PUBLISHED}": {
    name: ode.stats.share([x == y for x, y in zip(found, texts[PUBLISHED], strict=True)])
    for name, found in texts.items()
}}  # fmt: skip
if MODEL == "organism":
    panels["judged positive"] = {
        name: ode.stats.share(ode.organism.judge(found)["valence"] > 0.5) for name, found in texts.items()
    }
KINDS = {"unsteered": "unsteered", "Euler, 10 steps (published)": "Euler", "Euler, 1 step": "Euler",
         "RK4, 10 steps": "RK4", "geodesic, 1 step": "odesteer_kernel, one step", "geodesic, 10 steps": "geodesic",
         "optimal, no steps": "optimal_cap"}  # fmt: skip
drawn = looks(dict.fromkeys(KINDS.values()))
fig, axes = plt.subplots(1, len(panels), figsize=(2 + 3 * len(panels), 2.6), sharey=True, squeeze=False,
                         layout="constrained")  # fmt: skip
for ax, (title, shares) in zip(axes[0], panels.items(), strict=True):
    for k, (name, share) in enumerate(shares.items()):
        ax.plot([share.low, share.high], [k, k], color=drawn[KINDS[name]]["color"], lw=2)
        ax.plot(share.value, k, **drawn[KINDS[name]])
    ax.axvline(shares["unsteered"].value, **ACROSS)
    ax.set(yticks=range(len(texts)), yticklabels=list(texts), xlabel=title, xlim=(-0.03, 1.03))
    ax.spines[["top", "right"]].set_visible(False)
axes[0][0].invert_yaxis()

# %% [markdown]
# *Shares of texts with exact 95 % intervals; squares: Euler; dotted: unsteered.* Before asking which way of walking is
# better, ask whether they write different texts at all. On the embedded model, by this much, they do not: word for word
# the same.

# %%
display(pd.DataFrame({name: texts[name] for name in ("unsteered", PUBLISHED, "optimal, no steps")}).head(3))

# %% [markdown]
# ## What the sampling does by itself
#
# The published sampling cuts the tail (top-p) and penalises repetition, and this moves the figures too. *Perplexity* is
# of the text under the unsteered model; *distinct 2* the share of pairs of words that are not said twice.

# %%
samplings = {"temperature 0.7": {"temperature": 0.7}, "+ top-p 0.9": {"temperature": 0.7, "top_p": 0.9},
             "+ repetition penalty 1.1 (published)": {k: sampling[k] for k in ("temperature", "top_p",
                                                                               "repetition_penalty")},
             "greedy": {"temperature": 0.0}}  # fmt: skip
steerer = ode.Steerer(field, flows[PUBLISHED], layer=LAYER)
rows = []
for name, how in samplings.items():
    for steered in (False, True):
        write = steerer.generate if steered else ode.generate
        written = write(model, prompts, max_new_tokens=20, **how)
        quality = text_quality(model, prompts, [text.removeprefix(p) for p, text in zip(prompts, written, strict=True)])
        row = {"sampling": name, "steered": steered, **quality[["perplexity", "distinct_2", "repetition"]].median()}
        if MODEL == "organism":
            judged = ode.organism.judge(written)
            row |= {"positive": (judged["valence"] > 0.5).mean(), "grammatical": judged["parses"].mean()}
        rows.append(row)
display(pd.DataFrame(rows).set_index(["sampling", "steered"]).round(3))

# %% [markdown]
# Compare methods under one sampling only, and report the unsteered model under the same. Greedy decoding is the
# extreme: the embedded model's most likely words tell of no mood at all, steered by this much or not, so that a steer
# which works under sampling looks as if it did nothing.
#
# ## Beside the published figures
#
# The paper's Table 2 and its ablations, as published, for its four models (NaN: not published). **None of it was
# measured here.**

# %%
published = all_published()
from_paper = published["source"].str.startswith("arXiv")
wide = published[from_paper].pivot(index=["task", "metric", "method"], columns="preset", values="value")
display(wide.rename(columns=lambda name: name.removeprefix("odesteer-")))

# %% [markdown]
# And what was run above, in the same shape. **Another model, another task, other data: the two tables must not be
# compared**, and neither confirms the other. To compare, run the paper's model on the paper's data (next cell).

# %%
if MODEL == "organism":
    rows = [{"model": identity.name, "data": "its own, mood", "metric": "texts judged positive", "method": name,
             "value": share.value, "low": share.low, "high": share.high, "n": share.n}
            for name, share in panels["judged positive"].items()]  # fmt: skip
    display(pd.DataFrame(rows).set_index(["model", "data", "metric", "method"]).round(3))

# %% [markdown]
# ## The paper's benchmarks, on your GPU
#
# ```
# python -m analyses.benchmarks --help
# ```
#
# Each takes the preset's layer, strengths and sampling, chooses the strength on a validation part of the training fold
# (the paper has none), and prints the published figures beside its own *if and only if* the model is the preset's own
# and the data are whole; a column says what the authors did otherwise.
#
# ## What to take home
#
# - Report an angle, or T with the norm; T alone means nothing on another model.
# - The sketch adds a seed to the result, the more so the wider the model. The exact kernel has none.
# - Ten Euler steps, one geodesic step or the optimum in closed form: at the published settings h hardly bends here, and
#   they end close together. Check κθ on your model before paying for steps.
# - Sampling settings move every figure. Keep them, and show the unsteered model under them.
