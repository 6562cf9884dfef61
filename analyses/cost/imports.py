"""What importing costs, against `import transformer_lens` alone, in fresh interpreters run in turn.

`python -m analyses.cost.imports`
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pandas as pd

from analyses.command import from_command_line
from analyses.options import COUNT, Out
from analyses.runs import save_run

STATEMENTS = {
    "import transformer_lens": "import transformer_lens",
    "from transformer_lens.model_bridge import TransformerBridge": (
        "from transformer_lens.model_bridge import TransformerBridge"
    ),
    "import odesteer_tl": "import odesteer_tl",
    "every public name of odesteer_tl": "import odesteer_tl as o; [getattr(o, name) for name in o.__all__]",
}


@dataclass(frozen=True)
class ImportCostConfig:
    """How often each statement is run."""

    rounds: Annotated[int, COUNT] = 7
    """in turn; one more warms up"""
    out: Out = Path("results/imports")


def seconds(code: str) -> float:
    """Processor seconds of a fresh interpreter that runs `code`, its own start included; other processes add little."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(config: ImportCostConfig) -> None:
    """Save and print the median of each statement and its ratio to the first; one warm-up round is not counted."""
    rounds = [{what: seconds(code) for what, code in STATEMENTS.items()} for _ in range(config.rounds + 1)][1:]
    medians = {what: statistics.median(found[what] for found in rounds) for what in STATEMENTS}
    base = medians["import transformer_lens"]
    rows = [{"statement": what, "seconds": x, "ratio": x / base, "rounds": len(rounds)} for what, x in medians.items()]
    table = pd.DataFrame(rows)
    save_run(config.out, {"imports": table}, {})
    print(table.to_markdown(index=False, floatfmt=".2f"))


if __name__ == "__main__":
    sys.exit(from_command_line(ImportCostConfig, main, __doc__))
