"""Happy and sad stories for a small story model, written to a JSON-lines file with a pair a row.

A pair shares its name and its opening; a sentence sets the mood, and the model goes on for a few tokens of its own, so
that last tokens are as various as those of real generation.
`python -m analyses.moods --model ../shared/models/TinyStories-656K --out results/moods.jsonl`
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import odesteer_tl as ode
from analyses import stories
from analyses.command import from_command_line
from analyses.options import Model, Seed, Temperature
from analyses.runs import refuse_existing

NAMES = (*stories.NAMES, "Zoe")
OPENINGS = ("One day, {n} went to the park.", "One day, {n} saw a big dog.", "{n} sat at home with Mom.",
            "{n} had a red ball.", "Once upon a time, {n} lived in a small house.", "{n} and a friend went outside.",
            "One day, {n} found a box.", "{n} liked to play.")  # fmt: skip
HAPPY = (*stories.HAPPY, "{n} was very happy and hugged Mom", "It was a wonderful day and {n} was excited")
SAD = (*stories.SAD, "{n} was very sad and missed Mom", "It was a terrible day and {n} was scared")


@dataclass(frozen=True)
class MoodsConfig:
    """What to write."""

    model: Model
    out: Path = Path("results/moods.jsonl")
    """the file"""
    pairs: int = 3000
    """rows of the file"""
    shortest: int = 3
    """tokens the model goes on for, at least"""
    longest: int = 10
    """and at most"""
    temperature: Temperature = 1.0
    seed: Seed = 0


def moods(config: MoodsConfig) -> list[dict[str, str]]:
    """The pairs: `{"positive": …, "negative": …}`."""
    model, rng = ode.load_model(config.model), np.random.default_rng(config.seed)
    drawn = [(str(rng.choice(NAMES)), str(rng.choice(OPENINGS))) for _ in range(config.pairs)]
    length = rng.integers(config.shortest, config.longest + 1, config.pairs)
    sides: list[list[str]] = []
    for side, sentences in enumerate((HAPPY, SAD)):
        starts = [f"{opening} {rng.choice(sentences)}".format(n=name) for name, opening in drawn]
        written = [""] * config.pairs
        for n in np.unique(length):
            rows = np.flatnonzero(length == n)
            texts = ode.generate(model, [starts[i] for i in rows], temperature=config.temperature, batch_size=250,
                                 max_new_tokens=int(n), seed=config.seed + 2 * int(n) + side)  # fmt: skip
            for i, text in zip(rows, texts, strict=True):
                written[i] = text
        sides.append(written)
    return [{"positive": p, "negative": q} for p, q in zip(*sides, strict=True)]


def main(config: MoodsConfig) -> None:
    """Write the file.

    Raises:
        ValueError: it exists.
    """
    refuse_existing(config.out)
    config.out.parent.mkdir(parents=True, exist_ok=True)
    config.out.write_text("".join(json.dumps(row) + "\n" for row in moods(config)))


if __name__ == "__main__":
    sys.exit(from_command_line(MoodsConfig, main, __doc__))
