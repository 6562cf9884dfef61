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
# # Which layer, and how strong? A sweep on your own contrast set
#
# [![Open In Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/odesteer_tl/blob/main/notebooks/04_layer_sweep.ipynb)
#
# Every steering paper names a layer and a strength. Where do they come from? Here we steer at several layers, at
# matched budgets, and ask four things: is the layer that *reads* best the one that *steers* best? is "best" more than
# "paid more"? what is left of a choice when it is reported on other prompts? and what does it cost in fluency?
#
# The sweep is a small one, so that it ends within a minute: three layers, three ways to steer, 40 prompts to report on.
# Its intervals are wide and are meant to be read. The full study, with all layers, eight ways and hundreds of prompts,
# is the same code; its tables stand in `docs/findings/layer.md`.

# %%
import sys

if "google.colab" in sys.modules:  # the sweep lives in the repository, not in the package
    import subprocess

    subprocess.run(["git", "clone", "--depth", "1", "https://github.com/OWNER/odesteer_tl"], check=True)
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "-e", "odesteer_tl[analysis,notebooks]"], check=True)
    sys.path.insert(0, "odesteer_tl")  # an editable install is seen after a restart only

# %%
import tempfile

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import odesteer_tl as ode
from analyses.effects import tables
from analyses.sources import load_contrast
from analyses.studies import layer_study
from analyses.sweep import Store
from odesteer_tl.jupyter import example_texts, plot_layers
from odesteer_tl.looks import ACROSS, looks

plt.rcParams["figure.dpi"] = 110
pd.set_option("display.max_colwidth", 120)

# %%
MODEL = "organism"  # the embedded model; or "smollm2", "gpt2", any Hugging Face name, a local directory
folder = tempfile.TemporaryDirectory()  # yours: one that stays
if MODEL == "organism":
    CONTRAST = "valence"  # a text's mood, glad or sad
else:  # your own contrast set is a .csv or .jsonl file of two columns, a pair a row
    CONTRAST = f"{folder.name}/pairs.csv"
    pairs = example_texts(MODEL, 480)[0]
    pd.DataFrame({"positive": pairs.positive, "negative": pairs.negative}).to_csv(CONTRAST, index=False)

model = ode.load_model(MODEL)
n_layers = model.cfg.n_layers
contrast = load_contrast(CONTRAST, 300, 0)
display(contrast)

# %% [markdown]
# ## Reading: where is the concept?
#
# At every layer h is fitted on half of the texts and asked to tell the other half apart. AUC is the chance that a
# positive text gets a higher h than a negative one.


# %%
fit, held_out = (ode.collect_activations(model, part) for part in contrast.split((0.5, 0.5)))
rows = []
for layer in fit:
    h = ode.KernelBarrier(gamma="cv").fit(fit[layer].positive, fit[layer].negative)
    sides = [h.value(side).numpy() for side in (held_out[layer].positive, held_out[layer].negative)]
    area = ode.stats.auc(np.concatenate(sides), np.repeat([True, False], [len(side) for side in sides]))
    rows.append({"layer": layer, "method": "h", "auc": area.value, "auc_low": area.low, "auc_high": area.high})
reading = pd.DataFrame(rows)
display(reading.round(3))

# %% [markdown]
# ## Steering: a study
#
# A study is a grid of *cells*: a way to steer × a layer × a budget. In each cell every prompt gets the strength at
# which *it* has spent the budget, either an angle turned or a KL divergence of the steered next-token distribution from
# the unsteered one. So ways are compared at the same price.
#
# Prompts are in two groups: on `select` we choose, on `test` we report. A random direction is there as a placebo.

# %%
LAYERS = sorted({0, n_layers // 2, n_layers - 1})
BUDGETS = {"angle": [0.2, 0.4, 0.8], "kl": [0.03, 0.1]}

# %% [markdown]
# Who says whether a text came out as wanted? On the embedded model its grammar does. For another model you say it: a
# judge takes the prompts and what was written behind each, and gives every text a success and a score. The one below
# counts words, which is crude; h itself must not be the judge.
#
# The contrast is cut in four: to fit, for densities, to calibrate, and 15 % held out, whose negative texts are the
# prompts if it is a file of yours. So 30 + 40 prompts ask for some 480 pairs.


# %%
HAPPY = {"happy", "glad", "fun", "love", "loved", "smile", "smiled", "laugh", "laughed", "good", "nice", "friend"}
SAD = {"sad", "cry", "cried", "bad", "hurt", "angry", "scared", "lost", "sick", "hate", "hated", "alone", "sorry"}


def mood_words(prompts, texts):
    """More happy words than sad ones were written: put a judge that you trust in its place."""
    written = [[word.strip('.,!?"') for word in text.lower().split()] for text in texts]
    score = [sum(w in HAPPY for w in text) - sum(w in SAD for w in text) for text in written]
    return pd.DataFrame({"success": [x > 0 for x in score], "score": [float(x) for x in score]})


judge = "grammar" if MODEL == "organism" else mood_words  # or a file of completions, "vader", "regex:…", …

# %% [markdown]
# The whole study is one call: a model, a contrast, prompts (here the contrast's own), an outcome. All of it is checked
# before anything is computed, and what it will cost is said first. Each cell is written to disk when it is done. Stop
# the run, or lose the machine, and call it again: what is done is never done twice, and a layer, a level or a method
# more is computed alone. Other settings make another study, in a folder of its own.

# %%
settings = dict(BUDGETS, pairs=300, select=30, test=40, max_new_tokens=10, out=f"{folder.name}/results")
study = layer_study(model, CONTRAST, None, judge, layers=LAYERS, methods=["caa", "odesteer_kernel"], **settings)
print(study.report.headroom)

# %% [markdown]
# To see it resume, we take one cell away, as a crash would, and call it again. From a terminal,
# `python -m analyses.sweep status DIR` says the same at any time, while other processes work on it.

# %%
min((study.directory / "cells").iterdir()).unlink()
print("after the crash:", Store.at(study.directory).status())
study = layer_study(model, CONTRAST, None, judge, layers=LAYERS, methods=["caa", "odesteer_kernel"], **settings)
print("called again:   ", Store.at(study.directory).status())

# %% [markdown]
# ## The table
#
# One row a prompt × cell, in one parquet file: pandas is all you need. Besides the outcome it holds what each steer
# cost, where it led (angle, norm, certificates, likelihood) and the text.

# %%
table = study.rows
print(f"{len(table)} rows, {len(table.columns)} columns")
shown = ["layer", "label", "budget", "level", "split", "success", "kl", "angle", "perplexity", "text"]
display(table.loc[table["split"] == "test", shown].groupby("label", sort=False).head(2).round(3))

# %% [markdown]
# `study.frame()` has a row a cell: success on test prompts with its exact 95 % interval, and medians. (`study` alone
# shows all tables of the report.)

# %%
profile = study.frame()
plain = profile.query("method == 'unsteered'").iloc[0]
print(f"unsteered: {plain.success:.3f} [{plain.success_low:.3f}, {plain.success_high:.3f}] (n={plain.n})")

# %% [markdown]
# ## Reading against steering

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(7.5, 3), layout="constrained")
plot_layers(reading, "auc", left).set(ylabel="AUC of h on held-out texts", title="reading")
left.get_legend().remove()
plot_layers(profile.query("budget == 'angle' and level == 0.2"), "success", right)
right.axhline(plain.success, **ACROSS)
right.set(ylim=(-0.04, 1.04), ylabel="success on test prompts", title="steering by 0.2 rad (dotted: unsteered)")
for ax in (left, right):
    ax.title.set_fontsize(10)
    ax.spines[["top", "right"]].set_visible(False)

# %% [markdown]
# *Bars: 95 % intervals, by a score interval on the left, exact on the right.* On the embedded model reading is nearly
# perfect from layer 1 on and cannot tell these layers apart; steering by the same angle works better the later it is
# done. That a concept can be read says little of where to push.
#
# ## Equal angle against equal KL
#
# But is the later layer *better*, or was it just *pushed harder*? The same angle changes the output more when fewer
# layers follow. Left: what 0.2 rad cost, in nats of KL. Right: success where every layer spends the same 0.03 nats.

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(7.5, 3), layout="constrained")
angle = profile.query("budget == 'angle' and level == 0.2").groupby("method", sort=False)
for (name, line), drawn in zip(angle, looks(angle.groups).values(), strict=True):
    left.semilogy(line["layer"], line["kl"], ms=5, label=name, **drawn)
left.axhline(0.03, color="black", lw=0.8)
left.set(xlabel="layer", ylabel="KL, median over prompts (nats)", xticks=LAYERS, title="0.2 rad: the price differs")
plot_layers(profile.query("budget == 'kl' and level == 0.03"), "success", right)
right.axhline(plain.success, **ACROSS)
right.set(ylim=(-0.04, 1.04), ylabel="success on test prompts", title="0.03 nats everywhere")
for ax in (left, right):
    ax.title.set_fontsize(10)
    ax.spines[["top", "right"]].set_visible(False)

# %% [markdown]
# At equal KL the advantage of the late layer is gone: the first one does as well. Whether "layer 4 is the layer"
# depends on the budget one compares at. Say which; and prefer the one that stands for a cost you care about.
#
# Are two ways different? Ask prompt by prompt, and correct for the number of questions. *Equivalent* means: shown to
# differ by less than 0.05, which 40 prompts can hardly show; neither different nor equivalent is the usual answer here.

# %%
asked = tables.contrasts(table, "kl", [("odesteer_kernel", "caa"), ("odesteer_kernel", "random, geodesic")])
display(asked[["layer", "level", "first", "second", "difference", "low", "high", "p_holm", "equivalent"]].round(3))

# %% [markdown]
# ## Choose on some prompts, report on others
#
# The best of many cells is best partly by luck. So layer and level are chosen on the `select` prompts and `success` is
# that of the `test` prompts, with its exact interval. `naive` chooses on the test prompts that it reports on.

# %%
chosen = tables.choices(table)
display(chosen[["label", "budget", "layer", "level", "success", "low", "high", "naive", "naive_layer", "n"]].round(3))

# %% [markdown]
# In one split the two may agree. On average they do not: here the roles of all prompts are drawn anew 500 times. The
# optimism is of a few hundredths, with six cells a way; it grows with the cells and shrinks with the prompts.

# %%
rng = np.random.default_rng(0)
rows = []
for label, own in table.query("budget == 'kl'").groupby("label", sort=False):
    success = (
        own.astype({"success": float}).pivot(index="prompt", columns=["layer", "level"], values="success").to_numpy()
    )
    honest, naive = [], []
    for _ in range(500):
        on, off = np.split(rng.permutation(success), [settings["select"]])
        honest.append(off.mean(0)[on.mean(0).argmax()])
        naive.append(off.mean(0).max())
    rows.append({"method": label, "honest": np.mean(honest), "naive": np.mean(naive)})
luck = pd.DataFrame(rows).assign(optimism=lambda t: t["naive"] - t["honest"])
display(luck.round(3))

# %% [markdown]
# A placebo needs a second look as well: *one* random direction, turned far enough, leans to one side or the other. Its
# success at 0.8 rad is not nothing, and another seed may give the opposite. At small budgets it stays where it should.
#
# (A choice counts a text only if it succeeds *and* parses, so a steer that breaks the language is not chosen.)
#
# ## What it costs
#
# How far can one go at the layer chosen for `odesteer_kernel`? Perplexity is that of the written text under the
# *unsteered* model, relative to the unsteered text behind the same prompt.

# %%
LAYER = int(chosen.query("label == 'odesteer_kernel' and budget == 'angle'")["layer"].iloc[0])
test = table.query("split == 'test'")
before = test.query("label == 'unsteered'").set_index("prompt")["perplexity"]

rows = []
for (label, level), cell in test.query("budget == 'angle' and layer == @LAYER").groupby(["label", "level"], sort=False):
    cell = cell.set_index("prompt")
    ratio = ode.stats.median(cell["perplexity"] / before[cell.index])
    success = ode.stats.share(cell["success"])
    rows.append({"method": label, "angle": level, "success": success.value, "success_low": success.low,
                 "success_high": success.high, "perplexity": ratio.value, "perplexity_low": ratio.low,
                 "perplexity_high": ratio.high, "parses": cell["parses"].mean() if "parses" in cell else None,
                 "kl": cell["kl"].median()})  # fmt: skip
cost = pd.DataFrame(rows)

fig, axes = plt.subplots(1, 2, figsize=(7.5, 3), layout="constrained")
look = looks(cost["method"].unique())
for (name, line), beside in zip(cost.groupby("method", sort=False), (0.97, 1, 1.03), strict=True):
    for ax, metric in zip(axes, ("success", "perplexity"), strict=True):
        ax.plot(line["angle"] * beside, line[metric], ms=5, label=name, **look[name])
        ax.vlines(line["angle"] * beside, line[f"{metric}_low"], line[f"{metric}_high"], color=look[name]["color"],
                  lw=1.2)  # fmt: skip
axes[0].axhline(plain.success, **ACROSS)
axes[1].axhline(1, **ACROSS)
axes[0].set(xlabel="angle (rad)", xticks=BUDGETS["angle"], ylabel="success on test prompts", ylim=(-0.04, 1.04))
axes[1].set(xlabel="angle (rad)", xticks=BUDGETS["angle"], ylabel="perplexity / unsteered")
axes[0].legend(frameon=False, fontsize="small")
for ax in axes:
    ax.spines[["top", "right"]].set_visible(False)

# %%
display(cost[["method", "angle", "success", "parses", "perplexity", "kl"]].round(3))

# %% [markdown]
# *Layer chosen above; medians over test prompts with 95 % intervals, side by side; dotted: unsteered.* Success comes
# first and breakage later; the useful strengths lie between. Success of texts that are none is worth nothing.
#
# ## The full study, on your model
#
# ```
# python -m analyses.layer_effectiveness --out results/layers             # the embedded model, all layers and ways
# python -m analyses.layer_effectiveness --layer 0 2 4 --executor processes:4 --out results/layers
# python -m analyses.sweep status results/layers/valence-…                 # at any time, from outside
# ```
#
# It prints tables of success by layer, choices, areas under success over KL, declared comparisons with Holm's
# correction, and what picking the layer by one indicator would have cost, and it saves them as parquet. For a model, a
# concept, prompts and a judge of your own:
#
# ```
# python -m analyses.layer_effectiveness --model DIR --contrast pairs.jsonl --outcome words.json --dry-run
# ```
#
# ## What to take home
#
# - The layer that reads best need not be the layer that steers best.
# - "Which layer?" has no answer without "at equal what?".
# - Choose on some prompts, report on others, with an interval; keep a placebo beside it.
# - Look at the texts.

# %%
folder.cleanup()
