"""What a study will cost before it starts: cells, forward tokens, and time from the token rate of this machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

import odesteer_tl as ode
from analyses.costing import Cost, pass_rate, text_tokens
from analyses.effects.arms import Arm, several
from analyses.effects.material import Material
from analyses.effects.settings import EffectSettings
from analyses.outcomes import Completions
from odesteer_tl.plain import Model
from odesteer_tl.training import Training

#: strengths at which each prompt's KL is asked for: of a scan, which the levels of an arm at a layer share, and to
#: find a root
SCANNED, SOUGHT = 5, 1.9
#: prompts of a pass by which the rate is taken
ROWS = 64
#: of everything that is no forward pass, on top
REST = 0.15


def estimate(material: Any, cells: Iterable[Mapping[str, Any]], of: int, workers: int) -> Cost:
    """Count the forward tokens of some cells, and time a few.

    Args:
        cells: configs that are still to be computed.
        of: cells of the whole study.
    """
    assert isinstance(material, Material)
    left = list(cells)
    shares = Shares.of(material)
    tokens = shares.fixed + shares.n * shares.grid(left)
    through = {
        (layer, c["method"]) for c in left if c["layer"] >= 0 and ode.METHODS[c["method"]].train is not None
        for layer in Arm.in_cell(c).layers or (c["layer"],)
    }  # fmt: skip
    texts, seed = material.plan.parts[0], material.plan.settings.seed
    tokens += sum(shares.training(n) for n, name in through if not material.trained.has(name, n, texts, seed))
    rate = pass_rate(material.states.prompt, ROWS)
    what = f"{len(left)} cells" + ("" if len(left) == of else f" of {of} (the others are done)")
    return Cost(what, tokens, rate, REST * tokens / rate, workers)


@dataclass(frozen=True)
class Shares:
    """Tokens by what they are for; `n` prompts of `prompt` tokens, `options` of all completions of all prompts,
    `a_text` of a text of the contrast.

    `head` is the unembedding, in blocks.
    """

    settings: EffectSettings
    n: int
    prompt: float
    options: float
    fixed: float
    a_text: float
    layers: int
    head: float
    writes: bool

    @classmethod
    def of(cls, material: Material) -> Shares:
        """Of a study still to be run, its prompts and contrast tokenised."""
        plan, model = material.plan, material.model
        prompt = float(material.states.prompt.attention_mask.sum(1).double().mean())
        texts = [text for part in plan.parts for text in (*part.positive, *part.negative)]
        options = 0.0
        if isinstance(plan.outcome, Completions):
            options = float(material.judging.options.tokens)
        read = text_tokens(model, texts)
        fixed, a_text = read + 2 * prompt * len(plan.prompts), read / len(texts)
        return cls(plan.settings, len(plan.prompts), prompt, options, fixed, a_text, *depth(model), plan.writes)

    @classmethod
    def of_rows(cls, settings: EffectSettings, model: Model, rows: pd.DataFrame) -> Shares:
        """Of a finished study that measured its outcome alone: a completion is taken to be a token long."""
        n, writes = len(set(rows["prompt"])), "text" in rows
        own = replace(settings, measures=())
        return cls(own, n, 0.0, 0.0 if writes else n, 0.0, 0.0, *depth(model), writes)

    def behind(self, layer: int) -> float:
        """Share of a token's pass that lies behind a layer."""
        return (self.layers - 1 - layer + self.head) / (self.layers + self.head)

    def looked(self, config: Mapping[str, Any]) -> float:
        """Share of a token's pass that it takes to see what a steer does: all of it if it acts on several layers, or
        inside a block."""
        return 1.0 if Arm.in_cell(config).inside else self.behind(config["layer"])

    def matched(self, config: Mapping[str, Any]) -> float:
        """Share of a token's pass that it takes to see what a strength spends: where every prompt has a layer of its
        own, it is matched there, at one of them on average."""
        if not config.get("per_prompt"):
            return self.looked(config)
        alone = {name: x for name, x in config.items() if name not in ("layers", "per_prompt")}
        each = [self.looked({**alone, "layer": layer}) for layer in several(config)]
        return sum(each) / len(each)

    @property
    def passage(self) -> float:
        """Tokens of all passages."""
        return self.n * (8 if self.settings.passage == "text" else 1)

    def cell(self, config: Mapping[str, Any]) -> float:
        """Forward tokens of one cell over all prompts, the scan for its KL left out."""
        written = self.n * self.settings.max_new_tokens if self.writes else 0
        if config["layer"] < 0:
            return written + self.options
        arm = Arm.in_cell(config)
        asked = self.behind(arm.first(config["layer"]) - arm.inside)  # for what the unsteered model says of it
        seen = {"survival", "cost"} & set(self.settings.measures)
        more = (self.passage + self.n * self.prompt) if seen else 0
        sought = SOUGHT * self.passage if config["budget"] == "kl" else 0
        return written * (1 + asked) + (self.options + more) * self.looked(config) + sought * self.matched(config)

    def alone(self, config: Mapping[str, Any]) -> float:
        """Of an arm on one prompt, where its other levels are not asked for: all of a scan is its own."""
        scan = self.scan(config) if config["budget"] == "kl" else 0.0
        return (self.cell(config) + scan) / self.n

    def grid(self, configs: Sequence[Mapping[str, Any]]) -> float:
        """Of all arms on one prompt: the levels of an arm at a layer share a scan."""
        scans = {(c["layer"], c["label"]): c for c in configs if c["budget"] == "kl"}
        return (sum(map(self.cell, configs)) + sum(map(self.scan, scans.values()))) / self.n

    def training(self, layer: int) -> float:
        """Of a training through the model with the settings that it has by default; a backward pass counts twice."""
        steps, behind = Training(), self.behind(layer)
        learned = steps.batch_size * (1 + 2 * behind) + steps.batch_size / 2 * (2 + 2 * behind)
        looked = steps.steps / steps.every * 3 * steps.looked_at
        # stability is seen by fitting thrice more
        fits = 4 if "geometry" in self.settings.measures else 1
        return fits * self.a_text * (steps.steps * learned + looked)

    def scan(self, config: Mapping[str, Any]) -> float:
        """Forward tokens of finding what angles cost in KL, once a layer and arm."""
        return SCANNED * self.passage * self.matched(config)


def depth(model: Model) -> tuple[int, float]:
    """A model's blocks, and how many of them its unembedding costs."""
    layers = int(model.cfg.n_layers)
    blocks = sum(int(p.numel()) for block in model.blocks for p in block.parameters())
    return layers, int(model.cfg.d_vocab) * int(model.cfg.d_model) * layers / blocks
