"""The engine: what a vLLM `LLM` tells of its model and tokenizer, under the names that this package reads."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from torch import Tensor

from odesteer_tl.identity import ModelIdentity
from odesteer_tl.models import model_name
from odesteer_tl.plain import prepends_bos, with_bos
from odesteer_tl.sites import BLOCK_OUTPUT

#: what fingerprints of an engine's checkpoint begin with; its weights are fused and cut up, and cannot be read alike
PREFIX = "checkpoint:"
#: what is written into a configuration and changes no number
NAMES = ("_name_or_path", "name_or_path", "transformers_version", "dtype", "torch_dtype")
#: bytes read of a file of weights, in `PIECES` places
PIECES, PIECE = 64, 4096
#: sites that the plugin has: a block's output, which is the next block's input
SITES = (BLOCK_OUTPUT, "hook_resid_pre")


def vllm() -> Any:
    """The package vLLM, which nothing here asks for: an engine comes from its own environment."""
    return import_module("vllm")


def plugin() -> Any:
    """The package vllm-lens, likewise."""
    return import_module("vllm_lens")


def is_engine(model: Any) -> bool:
    """Whether it is an offline engine of vLLM."""
    return hasattr(model, "llm_engine") and hasattr(model, "collective_rpc")


class Engine:
    """A vLLM `LLM` where texts are read and steerers checked: `cfg`, `tokenizer` and `to_tokens`, as of a bridge.

    Args:
        llm: with the plugin vllm-lens, which it loads by itself where that is installed.

    Raises:
        ValueError: it is no such engine, or one in which a request's tokens cannot be followed: without the plugin,
            with speculative decoding, with hooks registered for all requests.
    """

    compatibility_mode = False

    def __init__(self, llm: Any) -> None:
        if not is_engine(llm):
            raise ValueError(f"llm={type(llm).__name__} is no vllm.LLM; pass one, or a model to steerer.generate")
        self.llm = llm
        self._require_plugin()
        settings = self._settings
        if settings.speculative_config is not None:
            raise ValueError(
                "llm decodes speculatively, so that some of the tokens it computes are dropped and nothing says where "
                "a token stands; make it without speculative_config"
            )
        config = settings.model_config.hf_text_config
        self.cfg = SimpleNamespace(
            model_name=str(settings.model_config.model),
            n_layers=int(config.num_hidden_layers),
            d_model=int(config.hidden_size),
            n_ctx=int(settings.model_config.max_model_len),
            eos_token_id=getattr(config, "eos_token_id", None),
        )
        #: where `generation_config` is looked for
        self.original_model = SimpleNamespace(generation_config=self._generation_config())

    @property
    def _settings(self) -> Any:
        return self.llm.llm_engine.vllm_config

    def _require_plugin(self) -> None:
        if "vllm_lens" not in str(self._settings.parallel_config.worker_extension_cls):
            raise ValueError(
                "llm runs without the plugin vllm-lens, so that no hook is called; install vllm-lens, unset "
                "VLLM_LENS_DISABLE and name no worker_extension_cls"
            )
        if getattr(self.llm, "_has_persistent_hooks", False):
            raise ValueError(
                "llm has hooks registered for all requests, and where one of them raises the plugin leaves every "
                "request of that pass unsteered without a word; call llm.clear_hooks() first"
            )

    def _generation_config(self) -> SimpleNamespace:
        """What the checkpoint says of ends."""
        return SimpleNamespace(**dict(self._settings.model_config.try_get_generation_config() or {}))

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer of the engine, one of transformers."""
        return self.llm.get_tokenizer()

    @cached_property
    def hook_dict(self) -> dict[str, None]:
        """The hook points that can be read and steered, by TransformerLens's names."""
        layers = range(self.cfg.n_layers)
        points = [f"blocks.{i}.{site}" for i in layers for site in SITES if i > 0 or site == BLOCK_OUTPUT]
        return dict.fromkeys(points)

    def to_tokens(
        self, text: str, prepend_bos: bool | None = None, truncate: bool = False, move_to_device: bool = False
    ) -> Tensor:
        """Tokens of a text, [1, pos], behind one BOS where a bridge of this architecture puts it.

        Raises:
            ValueError: `prepend_bos` is left out, and TransformerLens, which knows, is not installed or does not.
        """
        return with_bos(self.tokenizer, text, self._prepends_bos if prepend_bos is None else prepend_bos)

    @cached_property
    def _prepends_bos(self) -> bool:
        config = self._settings.model_config.hf_config
        return prepends_bos(config, (config.architectures or ["model"])[0], self.cfg.model_name)

    @cached_property
    def identity(self) -> ModelIdentity:
        """Sizes, precision and checkpoint. The weights themselves, which an engine fuses and cuts up, are not read."""
        return ModelIdentity(
            name=model_name(self),  # pyright: ignore[reportArgumentType]
            d_model=self.cfg.d_model,
            n_layers=self.cfg.n_layers,
            dtype=str(self._settings.model_config.dtype).removeprefix("torch."),
            compatibility_mode=False,
            fingerprint=self._fingerprint(),
        )

    def _fingerprint(self) -> str:
        """A hash of the configuration and of pieces of every file of weights."""
        found = hashlib.sha256()
        config = self._settings.model_config.hf_config.to_dict()
        told = {name: x for name, x in config.items() if name not in NAMES}
        found.update(json.dumps(told, sort_keys=True, default=str).encode())
        for file in _weights(self.cfg.model_name):
            size = file.stat().st_size
            found.update(f"{file.name} {size}\n".encode())
            with file.open("rb") as content:
                for i in range(PIECES):
                    content.seek(i * max(0, size - PIECE) // (PIECES - 1))
                    found.update(content.read(PIECE))
        return PREFIX + found.hexdigest()[:16]

    def require_place(self, layer: int, site: str) -> int:
        """The block behind whose output a steerer stands.

        Raises:
            ValueError: there is no such block, or the engine has no hook at the site.
        """
        if site not in SITES:
            raise ValueError(
                f"site={site!r}: an engine's hooks see the residual stream behind a block and nothing within it, such "
                "as heads, which its kernels never write out; fit at 'resid_post', or generate on a bridge"
            )
        if f"blocks.{layer}.{site}" not in self.hook_dict:
            raise ValueError(
                f"layer={layer} at site={site!r} is not on {self.cfg.model_name!r}, which has blocks 0 to "
                f"{self.cfg.n_layers - 1} and no hook before the first; fit at one of them"
            )
        return layer if site == BLOCK_OUTPUT else layer - 1


def _weights(model: str) -> Iterator[Path]:
    """The files of weights of a folder, or of the hub's model in this machine's cache."""
    folder = Path(model)
    if not folder.is_dir():
        with suppress(OSError, ValueError):  # an engine may have read it from elsewhere
            folder = Path(import_module("huggingface_hub").snapshot_download(model, local_files_only=True))
    yield from sorted(x for x in folder.glob("*") if x.suffix in (".safetensors", ".bin", ".gguf"))
