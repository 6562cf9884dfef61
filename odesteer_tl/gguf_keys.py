"""The first keys of a GGUF file: what can be said of a model before anything that loads it is imported.

`gguf.GGUFReader` reads all of them, a vocabulary of hundreds of thousands of tokens among them (seconds), and needs the
optional package; how many layers a model has stands in front of that.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, BinaryIO

#: by GGUF's numbers of types (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md)
_NUMBERS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9
#: no name of a key is longer, and no entry that stands in front of a number of layers
_LONGEST = 2**16


def gguf_layers(path: Path) -> int:
    """How many blocks the model in a GGUF file has; of one that comes in parts, the first is enough.

    Raises:
        ValueError: it is no GGUF file of version 2 or 3, is cut short, or does not say.
    """
    try:
        with path.open("rb") as file:
            return _layers(file)
    except (OSError, ValueError, struct.error, KeyError) as error:
        raise ValueError(
            f"name={str(path)!r} is not a readable GGUF file ({error}); it may be cut short: fetch it again"
        ) from error


def _layers(file: BinaryIO) -> int:
    """The number under `ARCHITECTURE.block_count`."""
    if file.read(4) != b"GGUF":
        raise ValueError("it does not begin with GGUF")
    version, _, keys = struct.unpack("<IQQ", file.read(20))
    if version not in (2, 3):
        raise ValueError(f"its version is {version}")
    known: dict[str, Any] = {}
    for _ in range(keys):
        key = _string(file)
        known[key] = _value(file, _number(file, "<I"))
        architecture = known.get("general.architecture")
        if architecture is not None and f"{architecture}.block_count" in known:
            return int(known[f"{architecture}.block_count"])
    raise ValueError("it does not say how many blocks its model has")


def _value(file: BinaryIO, kind: int) -> Any:
    """A number or a string; None of an array, which is passed over."""
    if kind == _STRING:
        return _string(file)
    if kind != _ARRAY:
        return _number(file, _NUMBERS[kind])
    inside, length = struct.unpack("<IQ", file.read(12))
    if inside in _NUMBERS:
        file.seek(length * struct.calcsize(_NUMBERS[inside]), 1)
        return None
    for _ in range(length):
        _value(file, inside)
    return None


def _string(file: BinaryIO) -> str:
    length = _number(file, "<Q")
    if length > _LONGEST:
        file.seek(length, 1)
        return ""
    return file.read(length).decode()


def _number(file: BinaryIO, form: str) -> Any:
    return struct.unpack(form, file.read(struct.calcsize(form)))[0]
