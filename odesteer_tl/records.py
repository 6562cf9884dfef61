"""Records: rows of a table file, with what is a chat in them as lists of messages."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from odesteer_tl._check import require_one_of
from odesteer_tl.chats import Message

Record = Mapping[str, Any]


def read_records(path: str | Path) -> list[Record]:
    """The rows of a `.csv`, `.jsonl`, `.json` or `.parquet` file, as dicts.

    In CSV every value is a string, but for JSON that is a list of messages, which becomes one.

    Raises:
        ValueError: another ending.
    """
    path = Path(path)
    kind = path.suffix.lower()
    require_one_of("the ending of path", kind, (".csv", ".jsonl", ".json", ".parquet"))
    if kind == ".csv":
        import pandas as pd

        rows = pd.read_csv(path, dtype=str, keep_default_na=False).to_dict("records")
        return [{str(name): _decoded(value) for name, value in row.items()} for row in rows]
    if kind == ".parquet":
        import pyarrow.parquet as pq  # slow to import; its rows are plain lists and dicts, unlike those of pandas

        return pq.read_table(path).to_pylist()
    content = path.read_text(encoding="utf-8").strip()
    if content.startswith("["):
        return json.loads(content)
    # not splitlines, which also breaks at U+2028 and U+0085, and JSON strings may hold both
    return [json.loads(line) for line in content.split("\n") if line.strip()]


def is_chat(value: object) -> bool:
    """Whether a value is a non-empty list of messages."""
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and len(value) > 0
        and all(isinstance(x, Mapping) and {"role", "content"} <= x.keys() for x in value)
    )


def joined_turns(prompt: Any, completion: Any) -> list[Message]:
    """One chat of a prompt and a completion, each a list of messages or a text of the user and of the assistant."""
    turns: list[Message] = []
    for value, role in ((prompt, "user"), (completion, "assistant")):
        turns += [{"role": role, "content": value}] if isinstance(value, str) else list(value)
    return turns


def _decoded(value: str) -> object:
    """A message list from its JSON, and any other string as it is."""
    if not value.lstrip().startswith("[{"):
        return value
    try:
        found: object = json.loads(value)
    except json.JSONDecodeError:
        return value
    return found if is_chat(found) else value
