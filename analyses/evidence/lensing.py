"""What the unembedding reads in a layer, and how prompts stand before they are steered: two ways to choose a layer."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

import odesteer_tl as ode
from analyses.costing import ROWS, Cost, reading_rate, text_tokens
from analyses.effects.per_prompt import ridge
from analyses.effects.units import by_unit, units
from analyses.outcomes.completions import Completions
from analyses.sweep import Config, Study
from odesteer_tl import stats
from odesteer_tl._tokens import tokens_of
from odesteer_tl.blocks import unembed

#: of `accessible`: raise it when its code changes results
VERSION = "1"


@dataclass(frozen=True, eq=False)
class Lens:
    """What the layers' logit lenses share.

    Attributes:
        model, contrast: whose layers, and the texts of both classes.
        positive, negative: tokens that only one side of the outcome has.
    """

    model: TransformerBridge
    contrast: ode.ContrastSet
    positive: list[int]
    negative: list[int]

    @classmethod
    def of(cls, model: TransformerBridge, contrast: ode.ContrastSet, outcome: Completions) -> Lens:
        """With the outcome's own tokens.

        Raises:
            ValueError: the two sides have no tokens of their own.
        """
        return cls(model, contrast, *label_tokens(model, outcome))

    @cached_property
    def acts(self) -> ode.Activations:
        """Of the texts at every layer."""
        return ode.collect_activations(self.model, self.contrast, "all")


def accessibility_study(model: TransformerBridge, contrast: ode.ContrastSet, outcome: Completions) -> Study:
    """How well the logit lens tells the classes apart: the linear accessibility profile; its cells are the layers.

    At the last token, unembedded as if the layer were the last: log-odds of the tokens that only the outcome's
    positive completions have, against those that only its negative ones have. As reconstructed from the abstract of
    LAP (arXiv 2604.15557), with the AUC for its accuracy, since the log-odds have no threshold of their own.
    """
    lens = Lens.of(model, contrast, outcome)
    settings = {"model": asdict(ode.ModelIdentity.of(model)), "contrast": contrast.digest,
                "tokens": [lens.positive, lens.negative]}  # fmt: skip
    cells = tuple({"layer": layer} for layer in range(int(model.cfg.n_layers)))
    return Study("lenses", accessible, partial(Lens.of, model, contrast, outcome), settings, VERSION, cells)


def accessible(lens: Lens, config: Config) -> pd.DataFrame:
    """One layer's row: `value` with `low` and `high` (intervals over groups), `n`."""
    acts = lens.acts[config["layer"]]
    odds = [_odds(lens, side) for side in (acts.positive, acts.negative)]
    truth = np.repeat([True, False], [len(x) for x in odds])
    groups = [label for side in acts.groups or () for label in side] or None
    return pd.DataFrame([asdict(stats.auc(np.concatenate(odds), truth, groups=groups))])


def _odds(lens: Lens, x: Float[Tensor, "n d"]) -> Float[np.ndarray, " n"]:
    logits = rearrange(unembed(lens.model, x[:, None].to(lens.model.cfg.dtype)), "n 1 vocab -> n vocab")
    return (logits[:, lens.positive].float().logsumexp(-1) - logits[:, lens.negative].float().logsumexp(-1)).numpy()


def estimate(lens: Any, left: Sequence[Config], of: int, workers: int) -> Cost:
    """What so many layers will cost: every text read once, and unembedded at each of them."""
    assert isinstance(lens, Lens)
    texts = [*lens.contrast.positive, *lens.contrast.negative]
    some = torch.zeros(ROWS, int(lens.model.cfg.d_model))
    start = time.perf_counter()
    _odds(lens, some)
    other = len(left) * len(texts) / ROWS * (time.perf_counter() - start)
    done = "" if len(left) == of else f" of {of} (the others are done)"
    what = f"{len(left)} layers{done}, {len(texts)} texts unembedded at each"
    return Cost(what, text_tokens(lens.model, texts), reading_rate(lens.model, texts), other, workers)


def label_tokens(model: TransformerBridge, outcome: Completions) -> tuple[list[int], list[int]]:
    """The tokens that only one side's completions have.

    Raises:
        ValueError: a side has none.
    """
    sides = [
        {int(token) for text in {t for of in side for t in of} for token in _own(model, text)}
        for side in (outcome.positive, outcome.negative)
    ]
    only = sorted(sides[0] - sides[1]), sorted(sides[1] - sides[0])
    if not all(only):
        raise ValueError(
            f"outcome={outcome.name!r} has completions whose tokens do not tell its two sides apart; give other words"
        )
    return only


def _own(model: TransformerBridge, text: str) -> Sequence[int]:
    (tokens,) = tokens_of(model, "outcome", [text], prepend_bos=False)
    return tokens.tolist()


def layer_per_prompt(rows: pd.DataFrame, states: pd.DataFrame, label: str, level: float) -> pd.DataFrame:
    """A layer for every prompt, against the one layer that did best on the prompts to choose on.

    From the state of a prompt, ridge regression foretells its score at every layer, learned from the `select` prompts;
    it is steered where it is foretold to do best. As reconstructed from the abstract of W2S (arXiv 2604.03867).

    Args:
        rows: of a layer study. states: as `effects.per_prompt.prompt_states` has them.
        label, level: the way to steer, and its KL.

    Returns:
        A row for what is foretold and one for the best layer of each prompt, which nobody can know: `picked by`,
        `gain` with `low` and `high` (nats of the score against the one layer, on the test prompts), `layers` (how many
        are picked), `n`.
    """
    cell = rows.query("label == @label and level == @level").astype({"score": float})
    known, asked = (cell[cell["split"] == split].pivot(index="prompt", columns="layer", values="score")
                    for split in ("select", "test"))  # fmt: skip
    foretell = ridge().fit(states.loc[known.index].to_numpy(), known.to_numpy())
    guessed = foretell.predict(states.loc[asked.index].to_numpy()).argmax(1)
    one, table = int(by_unit(known, cell).mean().to_numpy().argmax()), asked.to_numpy()
    own = units(cell, asked.index)
    found: list[dict[str, Any]] = []
    for name, picked in (("state of the prompt", guessed), ("best of each prompt", table.argmax(1))):
        score = table[np.arange(len(table)), picked]
        gain = stats.paired_difference(score, table[:, one], groups=own) if (picked != one).any() else stats.Estimate(
            0.0, np.nan, np.nan, len(by_unit(asked, cell)))  # fmt: skip
        found.append({"picked by": name, "gain": gain.value, "low": gain.low, "high": gain.high,
                      "layers": len(set(picked.tolist())), "n": gain.n})  # fmt: skip
    return pd.DataFrame(found)
