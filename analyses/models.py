"""The model of a study, by its name: how many layers it has and what its files are, before it is loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import odesteer_tl as ode
from analyses.outcomes.completions import read_json
from odesteer_tl.gguf_keys import gguf_layers
from odesteer_tl.packaged import PACKAGED

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


def layers_of(model: str) -> int | None:
    """Number of layers of a model, without loading it; None where it is not at hand.

    Of a folder, or a name of the hub whose files are in its cache, from `config.json`; of a GGUF file and of the
    packaged models from the file's first keys.

    Raises:
        ValueError: the name is a path and there is no model, so that nobody looks for it on the hub; a packaged model
            that is not installed; or a file that cannot be read.
    """
    if model in PACKAGED:
        return gguf_layers(PACKAGED[model].installed(model)[0])
    path = ode.organism.PATH if model == "organism" else Path(model).expanduser()
    if path.suffix.lower() == ".gguf" and path.is_file():
        return gguf_layers(path)
    if not path.is_dir():
        if len(path.parts) > 2 or model.startswith((".", "/", "~")) or path.exists():
            raise ValueError(
                f"model={model!r} is no folder and no .gguf file; give a local Hugging Face folder or a hub name"
            )
        kept = _kept_config(model)
        return None if kept is None else _layers_in(kept)
    if not (path / "config.json").is_file():
        raise ValueError(f"model={model!r} is a folder without config.json; give a local Hugging Face folder")
    return _layers_in(path / "config.json")


def _kept_config(model: str) -> Path | None:
    """The configuration of a model of the hub, if its cache has it; nothing is fetched.

    Raises:
        ValueError: no model of the hub can have this name.
    """
    from huggingface_hub import try_to_load_from_cache  # half a second, for such names alone
    from huggingface_hub.errors import HFValidationError

    try:
        kept = try_to_load_from_cache(model, "config.json")
    except HFValidationError as error:
        raise ValueError(f"model={model!r} is no folder, no .gguf file and no name of the hub") from error
    return Path(kept) if isinstance(kept, str) else None


def _layers_in(file: Path) -> int | None:
    """Number of layers that a configuration gives, under one of its usual names."""
    config = read_json(file, "model")
    for part in (config, config.get("text_config", {})):
        found = [part[key] for key in ("num_hidden_layers", "n_layer", "num_layers") if key in part]
        if found:
            return int(found[0])
    return None


def require_layers(spelled: str | Sequence[int], n: int | None, model: str) -> tuple[int, ...]:
    """The layers meant, negative ones counted from the end; none where "all" of an unknown number are.

    Args:
        spelled: numbers, or as a command line has them: with commas, or "all".
        n: the model's; None where it is not known.

    Raises:
        ValueError: no number, one twice, or one that the model does not have.
    """
    if spelled == "all":
        return tuple(range(n or 0))
    parts = spelled.split(",") if isinstance(spelled, str) else [str(x) for x in spelled]
    try:
        layers = [int(x) for x in parts]
    except ValueError as error:
        raise ValueError(f"layer={spelled!r} is no layer; give numbers, or all") from error
    if not layers:
        raise ValueError("layer is empty; give at least one number, or all")
    if n is None and min(layers) < 0:
        raise ValueError(f"layer={min(layers)}: model={model!r} is not at hand to count from its end")
    wrong = [x for x in layers if n is not None and not -n <= x < n]
    if wrong:
        raise ValueError(f"layer={wrong[0]} is none of model={model!r}, which has 0 to {(n or 0) - 1}")
    found = tuple(x if x >= 0 else x + (n or 0) for x in layers)
    if len(set(found)) < len(found):
        raise ValueError(f"layer={spelled} names one twice")
    return found


def refuse_missing_layers(layers: Sequence[int], model: str) -> None:
    """Raise `ValueError` for a layer that the model does not have, where that is known without loading it."""
    n = layers_of(model)
    if n is not None:
        require_layers(layers, n, model)


def model_digest(name: str) -> str:
    """Hash of a model's files; a name of the hub or of a packaged model is taken at its word."""
    path = ode.organism.PATH if name == "organism" else Path(name).expanduser()
    if not path.is_dir() and not path.is_file():
        return name
    found = hashlib.sha256()
    files = [path] if path.is_file() else [x for x in path.iterdir() if x.suffix in (".json", ".safetensors")]
    for file in sorted(files):
        found.update(file.name.encode())
        with file.open("rb") as content:
            found.update(hashlib.file_digest(content, "sha256").digest())
    return found.hexdigest()[:16]


def model_of(name: str, given: TransformerBridge | None) -> tuple[TransformerBridge | str, Any]:
    """What a study's context is made of, and what its hash has of it: a loaded model's identity, or a name's files."""
    if given is None:
        return name, model_digest(name)
    return given, asdict(ode.ModelIdentity.of(given))
