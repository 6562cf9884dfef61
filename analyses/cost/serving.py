"""What steered texts cost inside vLLM, beside a bridge and the plain transformers model, in processor seconds.

`make test-vllm` builds the engine's environment; then `python -m analyses.cost.serving` runs all four in turn, in
processes of one thread each: SmolLM2, 16 prompts, 64 greedy tokens, the same texts.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from analyses.command import from_command_line
from analyses.options import COUNT, Out


@dataclass(frozen=True)
class ServingCostConfig:
    """What is run."""

    engine: Path = Path(".venv-vllm/bin/python")
    """the Python of the engine's environment"""
    rounds: Annotated[int, COUNT] = 3
    """how often each is run"""
    out: Out = Path("results/serving")


if __name__ == "__main__":
    sys.exit(from_command_line(ServingCostConfig, "analyses.cost.engines:run", __doc__))
