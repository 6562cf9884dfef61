"""AxBench's concepts (Wu et al. 2025), read from a path: no language model judges; held-out texts' likelihood does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pandas as pd

from analyses.concepts.concept import Concept
from analyses.options import NATURAL
from analyses.outcomes import Completions

#: so much of a text is read and scored, cut behind a word: the concept is meant to be all over it
CHARACTERS = 240


def axbench(folder: Path, concept: Annotated[int, NATURAL]) -> Concept:
    """Texts of one concept (positive) against others, of the same genre where there are any.

    Args:
        folder: with `train_data.parquet` and `latent_eval_data.parquet`, as AxBench generates them.
        concept: its number, 0 to 9.

    Raises:
        ValueError: there is no such concept.
    """
    train, held = (pd.read_parquet(folder / f"{name}_data.parquet") for name in ("train", "latent_eval"))
    own = train[train.concept_id == concept]
    if own.empty:
        raise ValueError(f"concept={concept} is not in {folder.name}; there are {sorted(set(train.concept_id) - {-1})}")
    genre = own.concept_genre.iloc[0]
    other = train.loc[train.category == "negative"]
    other = pd.concat([other.loc[other.concept_genre == genre], other.loc[other.concept_genre != genre]])
    other = other.head(len(own))
    pairs = pd.DataFrame({"positive": own.output.map(clip).tolist(), "negative": other.output.map(clip).tolist()})
    held = held.loc[held.concept_id == concept]
    yes, no = (held.loc[held.category == side] for side in ("positive", "negative"))
    n = min(len(yes), len(no))
    prompts = tuple(f"{text}\n\n" for text in [*yes.input[:n], *no.input[:n]])
    # the texts that are scored answer the instruction next to theirs, so that what is asked does not tell
    sides = [tuple((clip(texts.output.iloc[(i + 1) % n]),) for i in range(2 * n)) for texts in (yes, no)]
    # each pair of texts is scored behind two instructions
    groups = tuple(f"texts {i % n}" for i in range(2 * n))
    words = Completions("held-out texts", sides[0], sides[1], prompts, groups)
    says = (
        "Score: log-likelihood of a held-out text of the concept minus that of another text, behind an instruction "
        "that neither answers. Only its change under steering means anything."
    )
    return Concept(f"axbench-{folder.name}-{concept}", pairs.assign(group=range(len(pairs))), prompts, words, "", says,
                   {"contrast": "AxBench", "concept": own.output_concept.iloc[0], "genre": genre})  # fmt: skip


def clip(text: str) -> str:
    """The beginning of a text, cut behind a word."""
    text = text.strip()
    return text if len(text) <= CHARACTERS else text[:CHARACTERS].rsplit(None, 1)[0]
