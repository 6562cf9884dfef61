"""The embedded model: a small language model whose texts have known latents, and its exact judge.

`PATH` is the model (a Hugging Face directory), `contrast_texts` and `prompts` its data, `judge` its oracle; a text
shows a concept where `judge(texts)[concept] > 0.5`. `SyntheticPair` is the oracle for analyses that need no model.
"""

from pathlib import Path

from odesteer_tl.contrast import ContrastSet

from .judge import judge as judge
from .synthetic import SyntheticPair as SyntheticPair
from .texts import Concept as Concept
from .texts import contrast_texts as contrast_texts
from .texts import prompts as prompts

PATH: Path = Path(__file__).parent / "weights"


def contrast(concept: Concept | str, n: int = 500, seed: int = 0) -> ContrastSet:
    """`n` pairs of `concept` ("valence" or "agreement") as a `ContrastSet`.

    Args:
        concept: which latent the classes differ in.
        n: pairs.
        seed: of the draw.

    Returns:
        The pairs, with their provenance.

    Raises:
        ValueError: an unknown `concept` or an `n` below 1.
    """
    positive, negative = contrast_texts(concept, n, seed)
    source = {"source": "organism", "concept": concept, "n": n, "seed": seed}
    return ContrastSet.from_texts(positive, negative, provenance=source)
