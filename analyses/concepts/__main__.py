"""Write a concept as files: pairs, prompts and words, which the studies take.

    python -m analyses.concepts sentiment
    python -m analyses.layer_effectiveness --contrast results/concepts/sentiment/pairs.jsonl \\
        --prompts results/concepts/sentiment/prompts.json --outcome results/concepts/sentiment/words.json …
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from analyses import concepts
from analyses.command import from_command_line

NAMES = ("sentiment", "sentiment_own", "language", "capitals", "questions", "truthfulness", "sycophancy", "hate",
         "axbench")  # fmt: skip
BUILT = {name.replace("_", "-"): getattr(concepts, name) for name in NAMES}


def main(build: Callable[[], concepts.Concept]) -> None:
    """Write one concept below `results/concepts`."""
    concept = build()
    folder = concept.write(Path("results/concepts") / concept.name)
    print(f"{concept.says}\n\n{len(concept.pairs)} pairs, {len(concept.prompts)} prompts: {folder}")


if __name__ == "__main__":
    sys.exit(from_command_line(BUILT, main, __doc__))
