"""Checkpoints: which directory or hub name a model's name stands for, and what must not be loaded blindly."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from transformer_lens.utilities.architectures import MULTIMODAL_ARCHITECTURES
from transformers import PretrainedConfig

from odesteer_tl import organism
from odesteer_tl.gguf_models import GgufFile, kept_checkpoint
from odesteer_tl.packaged import PACKAGED

#: sub-configurations of what reads images or sounds beside texts
_OTHER_SENSES = ("vision", "audio", "image", "video", "speech", "vq", "vit", "whisper", "perceiver")


def checkpoint(name: str | Path, dtype: torch.dtype) -> str:
    """A Hugging Face directory, or a hub name, for a model's name; GGUF files are dequantised in `dtype`, once.

    Raises:
        ValueError: nothing is there, a package is missing, or TransformerLens would install one for the checkpoint.
        ImportError: a GGUF file, and the `gguf` package is not installed.
    """
    if isinstance(name, str) and name == "organism":
        return str(organism.PATH)
    if isinstance(name, str) and name in PACKAGED:
        return str(kept_checkpoint(PACKAGED[name].locate(name), dtype))
    path = Path(name).expanduser()
    if path.is_file() or path.suffix.lower() == ".gguf":
        return str(_dequantised(path, dtype))
    if path.is_dir():
        if not (path / "config.json").is_file():
            inside = next((file.name for file in sorted(path.glob("*.gguf"))), None)
            remedy = (
                "pass a Hugging Face model directory" if inside is None else f"pass the file, {str(path / inside)!r}"
            )
            raise ValueError(f"name={str(name)!r} is a directory without config.json; {remedy}")
        require_text_only(str(path))
        return str(path)
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", str(name)):
        raise ValueError(
            f"name={str(name)!r} is no directory or file (looked for from {str(Path.cwd())!r}), nor a hub name; pass "
            f"an existing path, a hub name such as 'gpt2', or one of {', '.join(map(repr, ('organism', *PACKAGED)))}"
        )
    require_text_only(str(name))
    return str(name)


def _dequantised(path: Path, dtype: torch.dtype) -> Path:
    if path.suffix.lower() != ".gguf":
        raise ValueError(f"name={str(path)!r} is a file; pass a .gguf file or a Hugging Face model directory")
    if not path.is_file():
        raise ValueError(f"name={str(path)!r} is no file (looked for from {str(Path.cwd())!r}); pass an existing one")
    return kept_checkpoint(GgufFile((path,), path.name), dtype)


def require_text_only(target: str) -> None:
    """Raise `ValueError` for a multimodal checkpoint where torchvision is missing, or an unreadable configuration.

    For these TransformerLens runs `pip install torchvision`, which may replace torch, without asking.
    """
    try:
        config, _ = PretrainedConfig.get_config_dict(target)
    except (OSError, ValueError) as error:
        if Path(target).is_dir():
            raise ValueError(f"name={target!r}: its config.json cannot be read ({error}); write it again") from error
        return  # a name that only TransformerLens knows, such as "gpt2-small", or one that it will refuse
    senses = [key for key in config if key.endswith("_config") and key.startswith(_OTHER_SENSES)]
    senses += MULTIMODAL_ARCHITECTURES.intersection(config.get("architectures") or [])
    if not senses or _imports("torchvision"):
        return
    raise ValueError(
        f"name={target!r} is multimodal ({', '.join(sorted(senses))}), and torchvision is not installed: "
        "TransformerLens would install it by itself, which may replace your torch. Install it beside the torch you "
        f"have (pip install torchvision torch=={torch.__version__.split('+')[0]}), or load a text-only checkpoint"
    )


def _imports(module: str) -> bool:
    try:
        __import__(module)
    except Exception:  # a torchvision of another torch fails with errors of many kinds
        return False
    return True
