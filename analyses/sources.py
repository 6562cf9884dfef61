"""Where a study's contrast and prompts come from: a concept of the organism, the openings below, or files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

import odesteer_tl as ode
from analyses import stories
from analyses.outcomes.completions import read_json
from odesteer_tl import organism

NAMES = (*stories.NAMES, "Emma", "Kate", "Bob", "Joe", "Sue", "Jane", "Mark", "Nina", "Paul", "Ella", "Fred", "Zoe",
         "Dan", "Eva", "Jim", "Pam")  # fmt: skip
HAPPY = (*stories.HAPPY, "{n} won the game and jumped with joy", "Mom gave {n} a big hug and {n} felt good",
         "{n} found the lost toy and was very happy", "{n} ate a yummy cake and had a lot of fun")  # fmt: skip
SAD = (*stories.SAD, "{n} lost the game and cried with tears", "Mom was angry at {n} and {n} felt bad",
       "{n} broke the new toy and was very sad", "{n} ate a bad cake and felt very sick")  # fmt: skip
OPENINGS = ("One day, {n} went to the park.", "{n} saw a dog.", "Once upon a time, {n} sat at home.", "{n} had a ball.")
FILES = (".csv", ".jsonl", ".json")
CONCEPTS = ("valence", "agreement")


def load_contrast(name: str, pairs: int, seed: int) -> ode.ContrastSet:
    """The contrast called `name`: "valence" or "agreement" of the organism, "stories", or a .csv, .json or .jsonl file.

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
    if name == "stories":
        both = [(h.format(n=n), s.format(n=n)) for (h, s), n in product(zip(HAPPY, SAD, strict=True), NAMES)]
        return ode.ContrastSet.from_texts(*zip(*both, strict=True), provenance={"source": "stories"})
    if name not in CONCEPTS:
        raise ValueError(
            f"contrast={name!r} is unknown; give {', '.join(CONCEPTS)}, stories, or a .csv or .jsonl file of columns "
            "positive and negative"
        )
    return organism.contrast(name, pairs, seed)


def load_prompts(name: str, n: int, seed: int, held_out: ode.ContrastSet) -> list[str]:
    """n prompts to steer: the organism's own openings, story openings, or the held-out negative texts of a file."""
    if name == "stories":
        return [opening.format(n=n) for n, opening in product(NAMES, OPENINGS)][:n]
    if Path(name).suffix in FILES:
        return list(held_out.negative[:n])
    return organism.prompts(n, seed)


def read_prompts(name: str) -> list[str]:
    """The prompts of a file: a .txt with one a line, or a .csv, .json or .jsonl with a column `prompt`.

    A .json file may also hold a plain list of texts.

    Raises:
        ValueError: no such file, another ending, broken JSON, or a row without a prompt.
    """
    path = Path(name)
    if path.suffix == ".txt":
        if not path.is_file():
            raise ValueError(f"prompts={name!r} is no file; check the path")
        return [line for line in path.read_text(encoding="utf-8-sig").split("\n") if line.strip()]
    if path.suffix not in FILES:
        raise ValueError(f"prompts={name!r} must end in .txt (a prompt a line), .csv, .json or .jsonl")
    if path.suffix == ".json":
        content = read_json(path, "prompts")
        if isinstance(content, list) and all(isinstance(x, str) for x in content):
            return content
    return [row["prompt"] for row in read_rows(path, "prompts", ("prompt",))]


def read_rows(path: Path, argument: str, columns: tuple[str, ...]) -> list[dict[str, Any]]:
    """The rows of a .csv, .json or .jsonl file, with or without a byte order mark.

    Raises:
        ValueError: no such file, broken JSON, no rows, or one that has no text in one of the columns.
    """
    if not path.is_file():
        raise ValueError(f"{argument}={str(path)!r} is no file; check the path")
    if path.suffix == ".csv":
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
        rows: Any = frame.to_dict("records")
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


def layers_of(model: str) -> int | None:
    """Number of layers of a local model, read from its `config.json`; None where it is not at hand.

    Raises:
        ValueError: the name is a path and there is no model, so that nobody looks for it on the hub.
    """
    path = organism.PATH if model == "organism" else Path(model).expanduser()
    if not path.is_dir():
        if len(path.parts) > 2 or model.startswith((".", "/", "~")) or path.exists():
            raise ValueError(f"model={model!r} is no folder; give a local Hugging Face folder or a hub name")
        return None
    if not (path / "config.json").is_file():
        raise ValueError(f"model={model!r} is a folder without config.json; give a local Hugging Face folder")
    config = read_json(path / "config.json", "model")
    for part in (config, config.get("text_config", {})):
        found = [part[key] for key in ("num_hidden_layers", "n_layer", "num_layers") if key in part]
        if found:
            return int(found[0])
    return None
