"""Run all that the findings on real models quote, one study after the other; what is done is not done again.

    python -m analyses.evidence --list            # what there is, and what is done
    python -m analyses.evidence --only smollm2/sentiment
    python -m analyses.evidence --executor processes:2

Each run is the command of a study, which says before it starts what it will cost, and goes on from where it was.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from analyses.command import from_command_line
from analyses.evidence.run import AXBENCH, CONCEPTS, CORPUS, STUDIES, Run, concept_command, runs


@dataclass(frozen=True)
class EvidenceConfig:
    """What is run.

    Args:
        only: beginnings of MODEL/CONCEPT/STUDY; left out, everything.
        studies: of these kinds alone.
        axbench: folder of AxBench's parquet files; left out, its concepts are left out.
        corpus: file of sentences labelled positive and negative; left out, the study of it is.
        executor: of each study, local or processes:N.
        list: say what there is and what is done, and do nothing.
    """

    only: tuple[str, ...] = ()
    studies: tuple[str, ...] = tuple(STUDIES)
    axbench: Path | None = None
    corpus: Path | None = None
    executor: str = "local"
    list: bool = False


def chosen(config: EvidenceConfig) -> list[Run]:
    """What is asked for.

    Raises:
        ValueError: nothing is, or a study that is none.
    """
    unknown = [name for name in config.studies if name not in STUDIES]
    if unknown:
        raise ValueError(f"studies={unknown} are none; choose from {', '.join(STUDIES)}")
    found = [
        run
        for run in runs(config.executor)
        if run.study in config.studies
        and (not config.only or f"{run.model}/{run.concept}/{run.study}".startswith(config.only))
        and (config.list or _has_files(run.concept, config))
    ]
    if not found:
        raise ValueError(f"only={config.only} names no run; `--list` says what there is")
    return found


def _has_files(concept: str, config: EvidenceConfig) -> bool:
    given = {AXBENCH: config.axbench, CORPUS: config.corpus}
    return all(path is not None or not concept.startswith(start) for start, path in given.items())


def main(config: EvidenceConfig) -> int:
    """Run what is left; 1 if a study failed, whose command says why, or 2 if something was refused."""
    wanted, failed = chosen(config), 0
    for run in wanted:
        name = f"{run.model} {run.concept} {run.study}"
        state = run.state
        if config.list or state == "done":
            print(f"{state}  {name}", flush=True)
            continue
        if state != "left":
            print(f"{name} was run with other options than are planned; move {run.out} away", file=sys.stderr)
            failed += 1
            continue
        if run.study != "detection" and not (CONCEPTS / run.concept).exists():
            subprocess.run(concept_command(run.concept, config.axbench, config.corpus), check=True)
        command = run.command(config.axbench)
        print(f"\n== {name}\n{shlex.join(['python', *command[1:]])}", flush=True)
        if subprocess.run(command).returncode:
            failed += 1
        else:
            run.keep_options()
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(from_command_line(EvidenceConfig, main, __doc__))
