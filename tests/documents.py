"""Tables of Markdown documents against the rows kept of what was measured."""

import re
from pathlib import Path

import numpy as np
import pandas as pd

MARK = re.compile(r"<!-- measured: (\S+) -->\n\n?((?:\|.*\n)+)")
NUMBER = re.compile(r"(?<![\w.])(?<!\w-)[+-]?(?:\d+(?:\.\d+)?|\.\d+)(?![\w.]*\w)(?! ?%)")
INTERVAL = re.compile(rf"({NUMBER.pattern}) ?\[({NUMBER.pattern}), ({NUMBER.pattern})\]")

QUOTED = re.compile("\N{LEFT DOUBLE QUOTATION MARK}.*\N{RIGHT DOUBLE QUOTATION MARK}")


def plain(text: str) -> str:
    """Minus signs as programs write them, and no emphasis."""
    return text.replace("\N{MINUS SIGN}", "-").replace("*", "")


def marked(document: Path) -> list[tuple[str, list[str]]]:
    """The name of what each marked table is compared with, and the table's cells but for row labels and header."""
    found = []
    for name, table in MARK.findall(document.read_text(encoding="utf-8")):
        rows = [line.strip("|\n").split("|") for line in table.splitlines()][2:]
        found.append((name, [plain(cell).strip() for row in rows for cell in row[1:]]))
    return found


def near(written: str, values: np.ndarray) -> np.ndarray:
    """Where values are what is written, rounded to its digits."""
    digits = len(written.partition(".")[2])
    return np.abs(values - float(written)) <= 0.5 * 10.0**-digits * (1 + 1e-3)


def unmeasured(cells: list[str], rows: pd.DataFrame) -> list[str]:
    """What is written and not among the rows; the three numbers of an interval are to stand in one row.

    What is quoted is to be a text of the rows, word for word.
    """
    values = rows.select_dtypes("number").to_numpy(dtype=float)
    texts = {plain(str(text)) for name in rows.select_dtypes(["object", "string"]) for text in rows[name]}
    missing = []
    for cell in cells:
        if QUOTED.fullmatch(cell):
            missing += [cell] if cell[1:-1] not in texts else []
            continue
        for interval in INTERVAL.findall(cell):
            if not np.all([near(x, values).any(axis=1) for x in interval], axis=0).any():
                missing.append(f"{interval[0]} [{interval[1]}, {interval[2]}]")
        missing += [x for x in NUMBER.findall(INTERVAL.sub("", cell)) if not near(x, values).any()]
    return missing
