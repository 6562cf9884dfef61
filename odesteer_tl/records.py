"""Records: rows of a table, of a file or of the hub, with what is a chat in them as lists of messages."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from odesteer_tl._check import require_one_of
from odesteer_tl._groups import joined
from odesteer_tl.chats import Message

if TYPE_CHECKING:
    from odesteer_tl.contrast import ContrastSet

Record = Mapping[str, Any]
#: how a row becomes a text: a format string over its columns and `{text}`, or `(row, text) → text`
Template = str | Callable[[Record, str], str]


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
        return [{name: _decoded(value) for name, value in row.items()} for row in read_csv(path)]
    if kind == ".parquet":
        import pyarrow.parquet as pq  # slow to import; its rows are plain lists and dicts, unlike those of pandas

        return pq.read_table(path).to_pylist()
    content = path.read_text(encoding="utf-8-sig").strip()
    if content.startswith("["):
        return json.loads(content)
    # not splitlines, which also breaks at U+2028 and U+0085, and JSON strings may hold both
    return [json.loads(line) for line in content.split("\n") if line.strip()]


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a `.csv` file as texts, with or without a byte order mark.

    Raises:
        ValueError: a row that is the header once more, as where files were joined.
    """
    import pandas as pd

    frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    names = [str(name) for name in frame]
    rows = [dict(zip(names, values, strict=True)) for values in frame.itertuples(index=False, name=None)]
    again = [i for i, row in enumerate(rows) if list(row.values()) == names]
    if again:
        raise ValueError(f"{path.name}: row {again[0] + 1} is the header once more, as where files were joined with "
                         f"cat; drop it (tail -n +2 FILE gives a file without its first line)")  # fmt: skip
    return rows


def read_hub(name: str, revision: str | None, split: str) -> tuple[list[Record], dict[str, Any]]:
    """The rows of a hub data set at a pinned revision, or of a local folder or file; and where they came from.

    Raises:
        ValueError: a hub name without a revision, or a file of another ending.
    """
    import datasets  # slow to import, and needed only here

    local = Path(name)
    source = {"source": local.name if local.exists() else name, "revision": revision, "split": split}
    if not local.exists():
        if revision is None:
            raise ValueError(f"revision=None for hub data set {name!r}; pin a commit hash or tag")
        found = datasets.load_dataset(name, revision=revision, split=split)
    elif local.is_dir():
        found = datasets.load_dataset(str(local), split=split)
    else:
        kind = {"csv": "csv", "json": "json", "jsonl": "json", "parquet": "parquet"}.get(local.suffix[1:])
        if kind is None:
            raise ValueError(f"name={name!r} has an unknown ending; use .csv, .json, .jsonl or .parquet")
        found = datasets.load_dataset(kind, data_files=str(local), split=split)
    return list(found), source  # pyright: ignore[reportReturnType]


def rows_of(records: Iterable[Record]) -> list[Record]:
    """Rows as a list.

    Raises:
        ValueError: a text, a mapping or a frame in their place, or a row that is no mapping.
    """
    if isinstance(records, str | bytes | Mapping) or hasattr(records, "columns"):
        raise ValueError(
            f"records is a {type(records).__name__}, not a sequence of rows; pass a list of dicts, such as "
            "frame.to_dict('records')"
        )
    rows = list(records)
    for i, row in enumerate(rows):
        if not isinstance(row, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ValueError(f"row {i} is a {type(row).__name__}, not a mapping of columns; pass a list of dicts")
    return rows


def require_columns(rows: Sequence[Record], names: Iterable[str]) -> None:
    """Raise `ValueError` unless the rows, by the first of them, have these columns."""
    for name in names:
        if not rows or name not in rows[0]:
            columns = sorted(rows[0]) if rows else []
            raise ValueError(f"column {name!r} is missing; the rows have {columns}")


def text_at(rows: Sequence[Record], i: int, column: str) -> str:
    """The text in a row and column; `ValueError` names them where there is none."""
    value = rows[i][column]
    if not isinstance(value, str):
        raise ValueError(
            f"row {i}, column {column!r}: {value!r} is not a text but a {type(value).__name__}; drop the row, "
            "or make the column strings"
        )
    return value


def rendered(rows: Sequence[Record], i: int, column: str, template: Template) -> str:
    """The text of a row, by a template."""
    row, value = rows[i], text_at(rows, i, column)
    return template(row, value) if callable(template) else template.format(**{**row, "text": value})


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


def pair_rows(contrast: ContrastSet) -> list[dict[str, object]]:
    """A row a pair: `positive` and `negative`, behind `prompt` where one is known; `group` where a split goes by one.

    Raises:
        ValueError: texts that are no pairs, chats, or completions of different prompts.
    """
    if not contrast.paired or contrast.prepend_bos is not None:
        what = "chats, whose special tokens are written" if contrast.paired else "no pairs"
        raise ValueError(f"contrast holds {what}, which no file of pairs can say; save `.frame()` instead")
    starts = contrast.positive_prompts
    ends = [0] * len(contrast.positive) if starts is None else starts
    texts = list(zip(contrast.positive, contrast.negative, ends, strict=True))
    if starts != contrast.negative_prompts or any(p[:end] != n[:end] for p, n, end in texts):
        raise ValueError("contrast holds completions of different prompts, which no file of pairs can say; "
                         "save `.frame()` instead")  # fmt: skip
    rows = [dict[str, object](positive=p[end:], negative=n[end:]) for p, n, end in texts]
    if starts is not None:
        rows = [{"prompt": p[:end], **row} for row, (p, _, end) in zip(rows, texts, strict=True)]
    usual = joined([*range(len(rows))] * 2, [*contrast.positive, *contrast.negative])[: len(rows)]
    if contrast.positive_groups != usual:
        rows = [{**row, "group": group} for row, group in zip(rows, contrast.positive_groups, strict=True)]
    return rows
