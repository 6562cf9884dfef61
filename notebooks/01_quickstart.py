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
# # Quickstart: from two piles of texts to a steered model
#
# [![Open In Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/odesteer_tl/blob/main/notebooks/01_quickstart.ipynb)
#
# A language model carries each text as a vector, the *residual stream*. Here we learn a function **h** of that vector
# which is high where positive texts live and low where negative ones do, walk uphill on it, and write the end point
# back while the model generates. Along the way, every step of the walk gets a proof that h rises.
#
# The model is a tiny one that comes with the package: it speaks a made-up language of weather, places and moods, whose
# grammar can *judge exactly* what a text says. Change one variable to use your own.

# %%
import sys

if "google.colab" in sys.modules:  # elsewhere the package is installed already
    import subprocess

    package = "odesteer_tl[notebooks] @ git+https://github.com/OWNER/odesteer_tl"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", package], check=True)

# %%
import matplotlib.pyplot as plt
import pandas as pd
import torch

import odesteer_tl as ode
from odesteer_tl.jupyter import color_tokens, example_texts, plot_layers, plot_path
from odesteer_tl.looks import BLUE, RED

plt.rcParams["figure.dpi"] = 110
pd.set_option("display.max_colwidth", 120)

# %%
MODEL = "organism"  # the embedded model; or "smollm2", "gpt2", any Hugging Face name, a local directory

model = ode.load_model(MODEL)
contrast, prompts = example_texts(MODEL, n=300)  # yours: ode.ContrastSet.from_csv, .from_jsonl, .from_hub, .from_texts
display(contrast)

# %% [markdown]
# ## Read the states
#
# The texts are cut in three: one part to fit on, one to calibrate on, one to report on. A pair never stands in two of
# them. One forward pass reads the state behind every block, at the last token of each text.

# %%
fit, select, test = (ode.collect_activations(model, part) for part in contrast.split((0.5, 0.2, 0.3)))
display(fit)

# %% [markdown]
# ## Which layer knows?
#
# At each layer we fit h on the first part and ask, of texts it has not seen, how many fall on the right side.

# %%
rows = []
for layer in fit:
    for name, unfitted in {"linear h": ode.LinearBarrier(C=100.0), "quadratic h": ode.KernelBarrier(C=100.0)}.items():
        h = unfitted.fit(fit[layer].positive, fit[layer].negative)
        right = torch.cat([h.value(test[layer].positive) > 0, h.value(test[layer].negative) < 0])
        found = ode.stats.share(right)  # with its exact 95 % interval
        rows.append({"layer": layer, "method": name, "share": found.value, "share_low": found.low,
                     "share_high": found.high})  # fmt: skip
ax = plot_layers(pd.DataFrame(rows), "share")
labels = ax.set(ylabel="held-out texts\non the right side", title="bars: 95 % intervals")

# %% [markdown]
# Beware: the layer that can be *read* best need not be the one that *steers* best. Choose the layer by what the model
# writes, on prompts you do not report on. Here we take one a little past the middle.

# %% [markdown]
# ## Learn the barrier
#
# `KernelBarrier` is kernel logistic regression on directions a/‖a‖; its settings are chosen by cross-validation. What
# comes out is a score. Calibration on the second part of the texts makes it a log-ratio in nats:
# h ≈ log p₊(a)/p₋(a).

# %%
LAYER = round(0.6 * model.cfg.n_layers)
barrier = ode.KernelBarrier(gamma="cv").fit(fit[LAYER].positive, fit[LAYER].negative)
barrier.calibrate(select[LAYER].positive, select[LAYER].negative)
display(barrier)

# %%
fig, ax = plt.subplots(figsize=(6, 2.6), layout="constrained")
sides = {"positive": (BLUE, ""), "negative": (RED, "///")}
for side, (color, hatch) in sides.items():
    h = barrier.log_ratio(getattr(test[LAYER], side))
    ax.hist(h, bins=30, alpha=0.55, color=color, hatch=hatch, edgecolor="white", label=f"{side} texts")
ax.axvline(0, color="black", lw=0.8)
ax.set(xlabel="calibrated h (nats)", ylabel="held-out texts")
ax.legend(frameon=False, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))
ax.spines[["top", "right"]].set_visible(False)

# %% [markdown]
# ## Walk uphill
#
# A `Flow` solves da/dt = ∇h/‖∇h‖ from each state. Its strength is an **angle**: the walk keeps the norm of a, so how
# far it goes is how far it turns, and 0.4 radians mean the same at every layer of every model.
#
# The picture follows one negative text. Blue steps are *proved* to rise on their whole length. The dashed line is a
# proof as well: no steering method that turns a by this angle gets a higher h.

# %%
field = ode.BarrierField(barrier)
path = ode.Flow(angle=0.4, steps=10).solve(field, test[LAYER].negative, record=True)
ax = plot_path(barrier, path, row=0)

# %% [markdown]
# The same proof for all held-out negative texts:

# %%
display(ode.certify_path(barrier, path.points))

# %% [markdown]
# ## Steer
#
# A `Steerer` puts the walk into the model: at this layer, at the last prompt token and every generated one.

# %%
steerer = ode.Steerer(field, ode.Flow(angle=0.3), layer=LAYER)
settings = {"max_new_tokens": 20, "temperature": 0.7, "seed": 1}
before = ode.generate(model, prompts, **settings)
after = steerer.generate(model, prompts, **settings)
display(pd.DataFrame({"unsteered": before, "steered": after}).head(5))

# %% [markdown]
# Did it work? The embedded model's grammar knows; h itself must not be the judge of its own success.

# %%
if MODEL == "organism":
    for name, texts in {"unsteered": before, "steered": after}.items():
        judged = ode.organism.judge(texts)
        print(f"{name:9}  positive {ode.stats.share(judged['valence'] > 0.5)}")
        print(f"{'':9}  grammatical {ode.stats.share(judged['parses'])}")

# %% [markdown]
# ## Token by token
#
# Each token shaded by calibrated h of its state, dark for negative, bright for positive. The first row is the unsteered
# text. The two rows below it are one text, steered: as the hook *found* each state and as it *left* it. What the hook
# adds is there by construction; what the text itself gained shows in the row "before the hook". The scale is that of
# the unsteered texts: what lies beyond it has the colour of its end.

# %%
display(color_tokens(model, steerer, barrier, prompts[:2], max_new_tokens=12, temperature=0.7, seed=1))

# %% [markdown]
# ## Any other method, in one line
#
# `ode.fit` fits any of the names in `ode.METHODS`; all are compared at the same angle.

# %%
fit_texts = contrast.split((0.5, 0.2, 0.3))[0]
for name in ("random", "caa", "odesteer", "odesteer_kernel"):
    texts = ode.fit(name, model, fit_texts, layer=LAYER, angle=0.3).generate(model, prompts, **settings)
    success = ode.stats.share(ode.organism.judge(texts)["valence"] > 0.5) if MODEL == "organism" else texts[0]
    print(f"{name:16} {success}")

# %% [markdown]
# ## In your own TransformerLens code
#
# A steerer is a list of hooks. It must be told the length of the prompt, because "the last prompt token" depends on it.

# %%
tokens = model.to_tokens(prompts[0])
with steerer.on(model, prompt_length=tokens.shape[1]):
    logits, cache = model.run_with_cache(tokens)
same = model.run_with_hooks(tokens, fwd_hooks=steerer.hooks(prompt_length=tokens.shape[1]))
print("equal:", torch.equal(logits, same))
display(steerer)

# %% [markdown]
# `steerer.save("my-steerer")` writes it to a folder and `ode.Steerer.load("my-steerer")` reads it back.
#
# Next: `02_barriers_and_flows` (what h is, and when an ODE matters) and `03_certify_and_oversteer` (proofs, and how far
# is too far).
