"""Where a study's contrast and prompts come from: a concept of the organism, or files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import odesteer_tl as ode
from analyses.outcomes.completions import read_json

FILES = (".csv", ".jsonl", ".json")
CONCEPTS = ("valence", "agreement")
#: what stands for the package's own beginnings in the place of a file of prompts
OPENERS = "openers"


def load_contrast(name: str, pairs: int, seed: int) -> ode.ContrastSet:
    """The contrast called `name`: "valence" or "agreement" of the organism, or a .csv, .json or .jsonl file.

    A file has two columns, `positive` and `negative`, a pair a row; and, where both are completions of a `prompt`, that
    one; and, where wordings come back, a `group`: pairs that share one are never torn apart.

    Raises:
        ValueError: an unknown name, no such file, broken JSON, or a row without one of the two, which is named.
    """
    path = Path(name)
    if path.suffix in FILES:
        rows = read_rows(path, "contrast", ("positive", "negative"))
        source = {"source": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        given = {name: name for name in ("prompt", "group") if name in rows[0]}
        return ode.ContrastSet.from_records(rows, **given, provenance=source)
    if name not in CONCEPTS:
        raise ValueError(
            f"contrast={name!r} is unknown; give {', '.join(CONCEPTS)}, or a .csv or .jsonl file of columns "
            "positive and negative"
        )
    return ode.organism.contrast(name, pairs, seed)


def require_different_texts(contrast: ode.ContrastSet) -> None:
    """Raise `ValueError` where both classes are the same texts, from which nothing is learned but rounding."""
    if sorted(contrast.positive) == sorted(contrast.negative):
        raise ValueError(
            f"contrast: its {len(contrast.positive)} positive and {len(contrast.negative)} negative texts are the same "
            "texts; there is nothing to learn from them"
        )


def own_or_held_out(prompts: str, name: str, seed: int, held_out: ode.ContrastSet | None) -> list[str]:
    """The prompts that a command line means: a file's, or so many of those that go with the contrast `name`.

    Args:
        prompts: a file, or a number.
        held_out: texts of the contrast that took no part in a fit; None where there are none.

    Raises:
        ValueError: neither a number nor a file that can be read, or held-out texts where there are none.
    """
    if not prompts.isdecimal():
        return read_prompts(prompts)
    if int(prompts) < 1:
        raise ValueError(f"prompts={prompts} must be at least 1, or a file")
    if held_out is None and Path(name).suffix in FILES:
        raise ValueError("prompts is missing: cross_fit leaves no text of the contrast out; give a file of prompts, "
                         f"or {OPENERS!r}")  # fmt: skip
    return load_prompts(name, int(prompts), seed, held_out)  # pyright: ignore[reportArgumentType]


def load_prompts(name: str, n: int, seed: int, held_out: ode.ContrastSet) -> list[str]:
    """n prompts to steer: the organism's own openings, or the held-out negative texts of a file."""
    if Path(name).suffix in FILES:
        return list(held_out.negative[:n])
    return ode.organism.prompts(n, seed)


def refuse_blank(prompts: Sequence[str], source: str = "prompts") -> None:
    """Raise `ValueError` where a prompt is blank."""
    blank = [i for i, prompt in enumerate(prompts) if not str(prompt).strip()]
    if blank:
        raise ValueError(f"{source}: prompt {blank[0] + 1} is {prompts[blank[0]]!r}, which is no text; drop it")


def read_prompts(name: str) -> list[str]:
    """The prompts of a file, as `read_grouped` takes it, where each is a unit by itself.

    Raises:
        ValueError: what `read_grouped` refuses, or prompts that share a group.
    """
    prompts, groups = read_grouped(name)
    if len({*groups}) < len(groups):
        raise ValueError(
            f"prompts={name!r} says which prompts share a group, and this study would count each "
            "for itself; give one of each group"
        )
    return prompts


def read_grouped(name: str) -> tuple[list[str], list[str]]:
    """The prompts of a file, and the group of each: a .txt with one a line, or a .csv, .json or .jsonl with a column
    `prompt` and, where some are made alike (of one template, say), a `group`: those that share one count as one.

    A .json file may also hold a plain list of texts. "openers" are `ode.OPENERS`.

    Returns:
        The prompts; and a group of each, none at all where the file has none.

    Raises:
        ValueError: no such file, another ending, broken JSON, a row without a prompt, or without a group that others
            have.
    """
    if name == OPENERS:
        return list(ode.OPENERS), []
    path = Path(name)
    if path.suffix == ".txt":
        if not path.is_file():
            raise ValueError(f"prompts={name!r} is no file; check the path")
        return [line for line in path.read_text(encoding="utf-8-sig").split("\n") if line.strip()], []
    if path.suffix not in FILES:
        raise ValueError(f"prompts={name!r} must end in .txt (a prompt a line), .csv, .json or .jsonl, "
                         f"or be {OPENERS!r}")  # fmt: skip
    if path.suffix == ".json":
        content = read_json(path, "prompts")
        if isinstance(content, list) and all(isinstance(x, str) for x in content):
            return content, []
    rows = read_rows(path, "prompts", ("prompt",))
    grouped = [row.get("group") for row in rows]
    missing = [i for i, group in enumerate(grouped) if group in (None, "")]
    if 0 < len(missing) < len(rows):
        raise ValueError(f"prompts={name!r}: row {missing[0] + 1} has no 'group', which other rows have; name one, "
                         "its own where it is like no other")  # fmt: skip
    return [row["prompt"] for row in rows], [] if missing else [str(group) for group in grouped]


def read_rows(path: Path, argument: str, columns: tuple[str, ...]) -> list[dict[str, Any]]:
    """The rows of a .csv, .json or .jsonl file, with or without a byte order mark.

    Raises:
        ValueError: no such file, broken JSON, no rows, one that has no text in one of the columns, or a header again.
    """
    if not path.is_file():
        raise ValueError(f"{argument}={str(path)!r} is no file; check the path")
    if path.suffix == ".csv":
        from odesteer_tl.records import read_csv  # of torch, which `--help` does without

        rows: Any = read_csv(path)
    else:
        rows = read_json(path, argument)
    if not isinstance(rows, list) or not rows:
        raise ValueError(f"{argument}={str(path)!r} holds no rows; give one object a row with {', '.join(columns)}")
    for i, row in enumerate(rows):
        for column in columns:
            if not isinstance(row, Mapping) or column not in row:
                has = sorted(map(str, row)) if isinstance(row, Mapping) else repr(row)[:60]
                raise ValueError(f"{argument}={str(path)!r}: row {i + 1} has no {column!r}; it has {has}")
            if not isinstance(row[column], str) or not row[column].strip():
                raise ValueError(
                    f"{argument}={str(path)!r}: row {i + 1} has {column}={row[column]!r}, which is no text"
                )
    return rows
