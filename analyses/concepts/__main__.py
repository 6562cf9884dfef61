"""Write a concept as files: pairs, prompts and words, which the studies take.

    python -m analyses.concepts sentiment
    python -m analyses.layer_effectiveness --contrast results/concepts/sentiment/pairs.jsonl \\
        --prompts results/concepts/sentiment/prompts.json --outcome results/concepts/sentiment/words.json …
"""

from __future__ import annotations

import sys
from pathlib import Path

import tyro

from analyses import concepts

NAMES = ("sentiment", "sentiment_own", "language", "capitals", "questions", "truthfulness", "sycophancy", "hate",
         "axbench")  # fmt: skip
BUILT = {name.replace("_", "-"): getattr(concepts, name) for name in NAMES}


def main() -> int:
    """Write one concept below `results/concepts`; 2 where an argument or a file is refused."""
    try:
        concept = tyro.extras.subcommand_cli_from_dict(BUILT, description=__doc__)
        folder = concept.write(Path("results/concepts") / concept.name)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{concept.says}\n\n{len(concept.pairs)} pairs, {len(concept.prompts)} prompts: {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
