"""What a caption says of where the numbers come from, read from a study's `run.json`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

DIGITS = 12
#: as `load_model` knows them, and as they are called
MODELS = {"smollm2": "SmolLM2", "gemma-3-270m": "Gemma-3-270M"}
#: the same above panels, which are narrow
SHORT = {"smollm2": "SmolLM2", "gemma-3-270m": "Gemma-3"}
#: the name of the embedded model, and its folder in the package, from which older runs took its name
EMBEDDED = ("organism", "weights")


def source(folder: Path) -> str:
    """Model, layer, contrast, versions and commit of the run in `folder`, as sentences; what it lacks is said."""
    file = folder / "run.json"
    if not file.exists():
        return "No run.json beside the table: model, contrast and commit are not recorded."
    run: dict[str, Any] = json.loads(file.read_text())
    parts = [f"Model: {_model(run['model'])}." if "model" in run else "Model not recorded.",
             f"Layer {run['layer']}." if "layer" in run else "",
             f"Contrast: {_contrast(run['contrast'])}." if "contrast" in run else "",
             f"Code: {_code(run)}."]  # fmt: skip
    return " ".join(part for part in parts if part)


def recorded(folder: Path, setting: str) -> str:
    """A setting of the run in `folder` as its `run.json` has it; empty where it is not recorded."""
    file = folder / "run.json"
    return str(json.loads(file.read_text()).get(setting, "")) if file.exists() else ""


def asked(folder: Path) -> str:
    """What a layer study counts, as its `run.json` has it: test prompts, or groups of so many."""
    file = folder / "run.json"
    run: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    return f"groups of {run['test']} test prompts" if run.get("units") else "test prompts"


def written(folder: Path) -> str:
    """After what and how the texts of a layer study were written, by its `run.json`; empty where it is not recorded."""
    file = folder / "run.json"
    run: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    if not {"temperature", "max_new_tokens"} <= set(run):
        return ""
    how = f"sampled at temperature {run['temperature']:g}" if run["temperature"] else "greedy"
    after = f" after prompts of {run['prompts']}" if run.get("prompts") else ""
    return f"Texts: {how}, up to {run['max_new_tokens']} tokens{after}. "


def counts(values: Iterable[Any]) -> str:
    """N as the table has it: one number, or the range if rows differ."""
    found = sorted({int(v) for v in values})
    return f"{found[0]}" if len(found) == 1 else f"{found[0]} to {found[-1]}"


def listed(names: Iterable[str]) -> str:
    """Names with semicolons (some have commas), in the order given, each once."""
    return "; ".join(dict.fromkeys(names))


def _model(model: Any) -> str:
    if not isinstance(model, dict):
        return MODELS.get(str(model), str(model))
    details = [f"{model['n_layers']} layers" if "n_layers" in model else "",
               f"d = {model['d_model']}" if "d_model" in model else "",
               f"fingerprint {model['fingerprint']}" if "fingerprint" in model else ""]  # fmt: skip
    name = model.get("name", "unnamed")
    return f"{'the embedded model' if name in EMBEDDED else name} ({', '.join(x for x in details if x)})"


def _contrast(contrast: Any) -> str:
    if not isinstance(contrast, dict):
        return str(contrast)
    concept, origin = contrast.get("concept"), contrast.get("source", "not recorded")
    origin = "the embedded model's" if origin in EMBEDDED else origin
    return f"{concept} ({origin})" if concept else str(origin)


def _code(run: dict[str, Any]) -> str:
    versions: dict[str, str] = run.get("versions", {})
    known = [f"{name} {versions[name]}" for name in ("odesteer_tl", "torch", "transformer-lens") if name in versions]
    commit = f"commit {_short(run['commit'])}" if run.get("commit") else "commit not recorded"
    return ", ".join([*known, commit])


def _short(commit: str) -> str:
    """As many digits as name a commit in any repository we know, and what stands behind them."""
    digits, plus, changes = commit.partition("+")
    return digits[:DIGITS] + plus + changes
