"""Language models in GGUF files: dequantised by transformers once, then kept as Hugging Face directories.

A kept model is keyed by the file's SHA-256, the precision and the version of what wrote it, so that another file, or
another transformers, never finds it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import platformdirs
import torch
import transformers
from filelock import FileLock
from tqdm.auto import tqdm

from odesteer_tl._extras import gguf_package
from odesteer_tl._folder import new_folder
from odesteer_tl.gguf_header import GgufHeader

#: of what is kept, and of how it is made; raise it when either changes
FORMAT = 1
MANIFEST = "manifest.json"
#: what the tokenizer's files may need beside the weights
_TOKENIZER_BYTES = 2**26


@dataclass(frozen=True)
class GgufFile:
    """A GGUF file, or its consecutive parts.

    Attributes:
        parts: the files, in order.
        name: what the whole is called.
    """

    parts: tuple[Path, ...]
    name: str

    @cached_property
    def sha256(self) -> str:
        """Of the whole, in hexadecimal; read from the files again only when one of them has changed."""
        facts = [(str(part.resolve()), status.st_size, status.st_mtime_ns, status.st_ino)
                 for part in self.parts for status in [part.stat()]]  # fmt: skip
        note = cache_folder() / "sha256" / hashlib.sha256(json.dumps(facts).encode()).hexdigest()
        if note.is_file() and len(known := note.read_text()) == 64:
            return known
        digest = hashlib.sha256()
        for block in self._blocks():
            digest.update(block)
        part = note.with_name(f".{note.name}.{os.getpid()}.part")
        part.write_text(digest.hexdigest())
        part.replace(note)
        return digest.hexdigest()

    def whole(self, folder: Path) -> Path:
        """The one file, joined in `folder` if it comes in parts."""
        if len(self.parts) == 1:
            return self.parts[0]
        path = folder / self.name
        with path.open("wb") as out:
            for block in self._blocks():
                out.write(block)
        return path

    def _blocks(self) -> Iterator[bytes]:
        for part in self.parts:
            with part.open("rb") as file:
                while block := file.read(2**22):
                    yield block


def cache_folder() -> Path:
    """Where dequantised models are kept: `ODESTEER_CACHE`, or the platform's folder for caches.

    Raises:
        ValueError: it cannot be made.
    """
    chosen = os.environ.get("ODESTEER_CACHE")
    folder = Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("odesteer_tl")
    try:
        for part in ("models", "sha256"):
            (folder / part).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"ODESTEER_CACHE={str(folder)!r} cannot be made ({error}); set it to a folder that can be written"
        ) from error
    return folder


def kept_checkpoint(file: GgufFile, dtype: torch.dtype) -> Path:
    """The Hugging Face directory with the file's weights in `dtype`, made by the first call for all later ones.

    Two processes that ask at once make it once; one that is killed leaves nothing that a later one would take for it.

    Raises:
        ValueError: the cache cannot be written, the disk is too full, the file is not a readable GGUF of a supported
            architecture, or what is kept is damaged.
        ImportError: the `gguf` package is not installed.
    """
    dtype = torch.float32 if dtype == torch.float64 else dtype  # no GGUF holds more
    try:
        major = transformers.__version__.split(".")[0]
        key = f"{file.sha256[:24]}-{str(dtype).removeprefix('torch.')}-transformers{major}-{FORMAT}"
        folder = cache_folder() / "models" / key
        if not folder.exists():
            with FileLock(folder.with_name(f".{key}.lock")):
                if not folder.exists():
                    _make(file, folder, dtype)
    except OSError as error:
        raise ValueError(
            f"name={file.name!r} could not be dequantised into {str(cache_folder())!r}: {error}; set ODESTEER_CACHE to "
            "a folder that can be written and has room"
        ) from error
    return _intact(folder)


def _make(file: GgufFile, folder: Path, dtype: torch.dtype) -> None:
    """Dequantise `file` into `folder`, under the folder's lock."""
    gguf_package("GGUF models")
    for dead in folder.parent.glob(f".{folder.name}.*/"):
        shutil.rmtree(dead)  # left by a process that was killed: the lock is ours
    joined = sum(part.stat().st_size for part in file.parts) if len(file.parts) > 1 else 0
    _require_room(folder.parent, file.name, joined)
    with (
        new_folder(folder) as part,
        tqdm(total=4, desc=f"{file.name}: reading", unit="step", leave=False) as bar,
    ):
        path = file.whole(part)
        header = GgufHeader.of(path)
        _require_room(folder.parent, file.name, header.n_elements * dtype.itemsize + _TOKENIZER_BYTES)

        def step(doing: str) -> None:
            bar.update()
            bar.set_description(f"{file.name}: {doing}")

        step("dequantising")
        model = header.model(dtype)
        step("writing")
        target = part / Path(file.name).stem
        model.save_pretrained(target)
        step("building the tokenizer")
        header.save_tokenizer(target)
        if path.parent == part:
            path.unlink()
        made = {"format": FORMAT, "source": file.name, "sha256": file.sha256, "by": transformers.__version__}
        files = {str(p.relative_to(part)): _state(p) for p in sorted(part.rglob("*")) if p.is_file()}
        (part / MANIFEST).write_text(json.dumps({**made, "files": files}, indent=1))
        bar.update()


def _require_room(folder: Path, name: str, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ValueError(
            f"name={name!r}: {needed / 2**20:,.0f} MiB are needed in {str(folder)!r} and {free / 2**20:,.0f} MiB are "
            "free; make room there, or set ODESTEER_CACHE to a folder on another disk"
        )


def _state(path: Path) -> list[Any]:
    """What a damaged file would differ in: its size and, of all but the weights, its contents."""
    weights = path.suffix == ".safetensors"
    return [path.stat().st_size, None if weights else hashlib.sha256(path.read_bytes()).hexdigest()]


def _intact(folder: Path) -> Path:
    """The one model directory in a kept folder.

    Raises:
        ValueError: a file is missing or was altered.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        (target,) = {folder / Path(name).parts[0] for name in manifest["files"]}
        altered = [name for name, state in manifest["files"].items() if _state(folder / name) != state]
        if altered:
            raise ValueError(f"altered: {', '.join(altered)}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"the dequantised model in {str(folder)!r} is damaged ({error}); delete that folder, and it is made again"
        ) from error
    return target
