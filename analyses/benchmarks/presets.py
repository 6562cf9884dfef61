"""Named presets: the layers, strengths and sampling ODESteer was published with (arXiv 2602.17560), by model.

No model of these was ever loaded here. Read instead, in the authors' repository (github.com/ZhaoHongjue/odesteer):

- hub names: its src/odesteer/lm/_config.py, which has Mistral v0.3 where its README has v0.1;
- layers, 0-based: its data/*.sh and README, which says that the paper counts from 1;
- temperature, top-p, repetition penalty and 50 tokens: its scripts/*/*_generate.py; two folds: truthfulqa_generate.py;
- widths and depths: the models' configurations on the hub, or mirrors of them.

Not verified a second time: the ranges of T and the 48 of Qwen's detoxification, which are the paper's alone (the
repository's one example, T = 5 for Llama, lies within). Ours: batches of 32 (the authors': 10), and how one T of a
range is chosen. What judges, data and prompts were verified against: docs/how-to/benchmarks.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from analyses.options import COUNT, NATURAL, POSITIVE, Within
from odesteer_tl._words import require_one_of

if TYPE_CHECKING:
    from odesteer_tl import ModelIdentity

#: of a strength
Unit = Literal["T", "angle", "relative"]


@dataclass(frozen=True)
class Sampling:
    """How continuations are drawn; the defaults are the paper's for TruthfulQA and RealToxicityPrompts.

    On UltraFeedback the authors draw 128 tokens (`max_new_tokens=128`) and let no 2-gram occur twice, which
    `odesteer_tl.generate` does not do.

    Args:
        temperature: of sampling; 0 is greedy.
        top_p: tokens are drawn from the likeliest that have this share of the probability.
        repetition_penalty: by which the logits of tokens that were said are divided; 1 is none.
        max_new_tokens: tokens written behind each prompt, at most.
        batch_size: prompts that are continued at a time.
    """

    temperature: Annotated[float, NATURAL] = 0.7
    top_p: Annotated[float, Within(0, 1, above=True)] = 0.9
    repetition_penalty: Annotated[float, POSITIVE] = 1.1
    max_new_tokens: Annotated[int, COUNT] = 50
    batch_size: Annotated[int, COUNT] = 32

    def settings(self) -> dict[str, Any]:
        """As arguments of `odesteer_tl.generate`."""
        return vars(self)


@dataclass(frozen=True)
class Preset:
    """One model of the paper's Table 2.

    Attributes:
        model: hub name.
        n_layers, d_model: of that model; a model of another shape is not it, whatever its folder is called.
        layer: 0-based, resid_post.
        strengths: T, the range published; the one used is chosen on the validation split.
        detoxification: T on RealToxicityPrompts where another is published.
        folds: as published for TruthfulQA. The validation split inside the training fold is ours: the paper has none.
    """

    model: str
    n_layers: int
    d_model: int
    layer: int
    strengths: tuple[float, ...]
    detoxification: tuple[float, ...] | None = None
    folds: int = 2
    sampling: Sampling = Sampling()

    def describes(self, model: ModelIdentity) -> bool:
        """Whether `model` is this preset's own: its name (of a hub repository or a folder) and its shape."""
        own = self.model.rsplit("/", 1)[-1].lower()
        return (own, self.n_layers, self.d_model) == (model.name.lower(), model.n_layers, model.d_model)


PRESETS = {
    "odesteer-falcon-7b": Preset("tiiuae/falcon-7b", 32, 4544, 14, (20.0, 21.0, 22.0, 23.0)),
    "odesteer-mistral-7b": Preset("mistralai/Mistral-7B-v0.3", 32, 4096, 15, (3.0, 3.5, 4.0)),
    "odesteer-llama3.1-8b": Preset("meta-llama/Llama-3.1-8B", 32, 4096, 13, (4.0, 5.0, 6.0)),
    "odesteer-qwen2.5-7b": Preset("Qwen/Qwen2.5-7B", 28, 3584, 13, (13.0, 14.0, 15.0, 16.0), (48.0,)),
}


def preset(name: str) -> Preset:
    """The preset called `name`.

    Raises:
        ValueError: there is none of that name.
    """
    require_one_of("preset", name, PRESETS)
    return PRESETS[name]
