"""Run all that the findings on real models quote, one study after the other; what is done is not done again.

    python -m analyses.evidence --list            # what there is, and what is done
    python -m analyses.evidence --only smollm2/sentiment
    python -m analyses.evidence --executor processes:2
    python -m analyses.evidence --only smollm2/sycophancy --caa DIR    # of files that are not ours

Each run is the command of a study, which says before it starts what it will cost, and goes on from where it was.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from analyses.command import from_command_line
from analyses.evidence import plan
from analyses.evidence.run import CONCEPTS, STUDIES, Run, concept_command, runs
from analyses.options import SOME
from analyses.sweep import require_executor


@dataclass(frozen=True)
class EvidenceConfig:
    """What is run.

    Args:
        only: beginnings of MODEL/CONCEPT/STUDY; left out, everything.
        studies: of these kinds alone.
        axbench: folder of AxBench's parquet files, of its set for layer 20. What is read from a path that is left out
            is left out, and said.
        axbench_other: the same of its set for layer 10.
        corpus: file of sentences labelled positive and negative.
        truthfulqa: TruthfulQA's `mc_task.json` or `TruthfulQA.csv`.
        caa: folder with CAA's `generate/sycophancy/generate_dataset.json` and `test/sycophancy/test_dataset_ab.json`.
        hatecheck: HateCheck's `test_suite_cases.csv`.
        executor: of each study, local or processes:N.
        list: say what there is and what is done, and do nothing.
    """

    only: tuple[str, ...] = ()
    studies: Annotated[tuple[str, ...], SOME] = tuple(STUDIES)
    axbench: Path | None = None
    axbench_other: Path | None = None
    corpus: Path | None = None
    truthfulqa: Path | None = None
    caa: Path | None = None
    hatecheck: Path | None = None
    executor: str = "local"
    list: bool = False

    @property
    def paths(self) -> dict[str, Path]:
        """Those that are given, by option."""
        options = {of.path: getattr(self, of.path) for of in plan.ASKED.values() if of.path}
        return {option: path for option, path in options.items() if path is not None}


def chosen(config: EvidenceConfig) -> list[Run]:
    """What is asked for, without what is `left_out`.

    Raises:
        ValueError: nothing is, a study that is none, or a path where nothing is.
    """
    require_executor(config.executor)
    unknown = [name for name in config.studies if name not in STUDIES]
    if unknown:
        raise ValueError(f"studies={unknown} are none; choose from {', '.join(STUDIES)}")
    for option, path in config.paths.items():
        if not path.exists():
            raise ValueError(f"{option}={str(path)!r} is not there; check the path")
    if not _asked(config):
        raise ValueError(f"only={config.only} names no run; `--list` says what there is")
    found = [run for run in _asked(config) if config.list or not _unnamed(run, config)]
    if not found:
        raise ValueError(f"nothing can be run: give {' and '.join(f'--{option} PATH' for option in left_out(config))}")
    return found


def left_out(config: EvidenceConfig) -> dict[str, list[str]]:
    """Concepts that are asked for and whose files are not named, by the option that would."""
    found: dict[str, list[str]] = {}
    for run in _asked(config):
        if option := _unnamed(run, config):
            known = found.setdefault(option, [])
            known += [run.concept] if run.concept not in known else []
    return found


def _asked(config: EvidenceConfig) -> list[Run]:
    return [
        run
        for run in runs(config.executor)
        if run.study in config.studies
        and (not config.only or f"{run.model}/{run.concept}/{run.study}".startswith(config.only))
    ]


def _unnamed(run: Run, config: EvidenceConfig) -> str:
    """The option that would name a run's files, if it is left out."""
    option = plan.asked(run.concept).path
    return "" if option in config.paths else option


def main(config: EvidenceConfig) -> int:
    """Run what is left; 1 if a study failed, whose command says why, or 2 if something was refused."""
    wanted, failed = chosen(config), 0
    for option, concepts in left_out(config).items():
        said = f"only with --{option} PATH" if config.list else f"left out, as there is no --{option} PATH"
        print(f"{said}: {', '.join(concepts)}", file=sys.stderr)
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
        lacks = run.study != "detection" and not (CONCEPTS / run.concept).exists()
        if lacks and subprocess.run(concept_command(run, config.paths)).returncode:
            failed += 1
            continue
        command = run.command(config.paths)
        print(f"\n== {name}\n{shlex.join(['python', *command[1:]])}", flush=True)
        if subprocess.run(command).returncode:
            failed += 1
        else:
            run.keep_options()
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(from_command_line(EvidenceConfig, main, __doc__))
