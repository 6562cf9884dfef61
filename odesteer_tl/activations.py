"""Activations: residual-stream states of a contrast set, all layers from one forward pass."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm.auto import tqdm
from transformer_lens.model_bridge import TransformerBridge

from odesteer_tl._check import require_finite, require_one_of
from odesteer_tl.contrast import ContrastSet
from odesteer_tl.models import ModelIdentity, require_local, resid_hook

PoolFn = Callable[[Float[Tensor, "batch pos d_model"], Bool[Tensor, "batch pos"]], Float[Tensor, "rows d_model"]]
Pool = Literal["last", "mean", "all"] | PoolFn


def _last(x: Float[Tensor, "batch pos d_model"], mask: Bool[Tensor, "batch pos"]) -> Float[Tensor, "batch d_model"]:
    # texts are padded on the right, so the last real token stands at length − 1
    return x[torch.arange(len(x), device=x.device), mask.sum(1) - 1]


def _mean(x: Float[Tensor, "batch pos d_model"], mask: Bool[Tensor, "batch pos"]) -> Float[Tensor, "batch d_model"]:
    weights = mask.float() / mask.sum(1, keepdim=True)
    return torch.einsum("bpd,bp->bd", x.float(), weights)


def _all(x: Float[Tensor, "batch pos d_model"], mask: Bool[Tensor, "batch pos"]) -> Float[Tensor, "rows d_model"]:
    return x[mask]


POOLS: dict[str, PoolFn] = {"last": _last, "mean": _mean, "all": _all}


@dataclass(frozen=True)
class LayerActivations:
    """One layer's activations, float32 on the CPU; rows follow the contrast's texts."""

    positive: Float[Tensor, "n_positive d_model"]
    negative: Float[Tensor, "n_negative d_model"]


@dataclass(frozen=True)
class Activations(Mapping[int, LayerActivations]):
    """Activations by layer: `acts[layer].positive`, with the model they came from and how they were taken."""

    layers: dict[int, LayerActivations]
    model: ModelIdentity
    provenance: dict[str, Any]

    def __getitem__(self, layer: int) -> LayerActivations:
        if layer not in self.layers:
            raise KeyError(f"layer={layer} was not collected; these were: {sorted(self.layers)}")
        return self.layers[layer]

    def __iter__(self) -> Iterator[int]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def save(self, path: str | Path) -> None:
        """Write one safetensors file, atomically; the metadata holds the model and the provenance."""
        tensors = {
            f"{layer}.{side}": getattr(acts, side).contiguous()
            for layer, acts in self.layers.items()
            for side in ("positive", "negative")
        }
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        metadata = {"model": json.dumps(asdict(self.model)), "provenance": json.dumps(self.provenance)}
        save_file(tensors, part, metadata=metadata)
        part.replace(path)

    @classmethod
    def load(cls, path: str | Path) -> Activations:
        """Read what `save` wrote.

        Raises:
            ValueError: the file is truncated or not one of ours.
        """
        try:
            with safe_open(str(path), framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
            layers = {
                int(key.split(".")[0]): LayerActivations(tensors[key], tensors[key.replace("positive", "negative")])
                for key in sorted(tensors, key=lambda k: int(k.split(".")[0]))
                if key.endswith("positive")
            }
            return cls(layers, ModelIdentity(**json.loads(metadata["model"])), json.loads(metadata["provenance"]))
        except (SafetensorError, KeyError, ValueError, TypeError) as error:
            raise ValueError(f"path={str(path)!r} is not a readable activation cache ({error}); delete it") from error


@torch.no_grad()
def collect_activations(
    model: TransformerBridge,
    contrast: ContrastSet,
    layers: Literal["all"] | Sequence[int] = "all",
    position: Pool = "last",
    *,
    batch_size: int = 32,
    prepend_bos: bool | None = None,
    cache: str | Path | None = None,
) -> Activations:
    """Residual-stream activations after each block (`resid_post`), every layer from one forward pass.

    Args:
        layers: `"all"` or the 0-based layers wanted.
        position: `"last"` token, `"mean"` over tokens, `"all"` tokens (one row a token), or a callable
            `(activations [batch, pos, d_model], mask [batch, pos]) → [rows, d_model]`.
        batch_size: texts a forward pass; texts are batched by length, so little is padded.
        prepend_bos: as in TransformerLens; False for chat-templated text that carries its own.
        cache: a folder in which to keep the result, under a name hashed from all that determines it. A callable
            position has no such hash and is not cached.

    Returns:
        Float32 CPU tensors by layer, in the order of the contrast's texts.

    Raises:
        ValueError: a layer or position is unknown, or an activation is NaN or infinite (the layer is named).
    """
    require_local(model)
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size} must be at least 1")
    if isinstance(position, str):
        require_one_of("position", position, POOLS)
    wanted = list(range(int(model.cfg.n_layers))) if layers == "all" else [int(layer) for layer in layers]
    names = {layer: resid_hook(model, layer) for layer in wanted}
    identity = ModelIdentity.of(model)
    provenance = {
        "contrast": contrast.provenance,
        "digest": contrast.digest,
        "position": position if isinstance(position, str) else getattr(position, "__name__", "callable"),
        "layers": wanted,
        "prepend_bos": prepend_bos,
    }
    file = _cache_file(cache, identity, provenance) if cache is not None and isinstance(position, str) else None
    if file is not None and file.exists():
        return Activations.load(file)

    pool = POOLS[position] if isinstance(position, str) else position
    texts = [*contrast.positive, *contrast.negative]
    rows = _forward(model, texts, names, pool, batch_size, prepend_bos)
    n = len(contrast.positive)
    found = {layer: LayerActivations(torch.cat(chunks[:n]), torch.cat(chunks[n:])) for layer, chunks in rows.items()}
    for layer, acts in found.items():
        require_finite(f"activations at layer {layer} (positive)", acts.positive)
        require_finite(f"activations at layer {layer} (negative)", acts.negative)
    result = Activations(found, identity, provenance)
    if file is not None:
        result.save(file)
    return result


def _cache_file(cache: str | Path, identity: ModelIdentity, provenance: dict[str, Any]) -> Path:
    """Where a result is kept: a name hashed from all that determines it."""
    key = json.dumps([asdict(identity), provenance], sort_keys=True)
    return Path(cache) / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.safetensors"


def _forward(
    model: TransformerBridge,
    texts: list[str],
    names: dict[int, str],
    pool: PoolFn,
    batch_size: int,
    prepend_bos: bool | None,
) -> dict[int, list[Tensor]]:
    """Pooled rows of every text at every layer: `{layer: [one [rows, d_model] tensor a text]}`."""
    tokens = [model.to_tokens(text, prepend_bos=prepend_bos)[0].cpu() for text in texts]
    by_length = sorted(range(len(texts)), key=lambda i: len(tokens[i]))
    rows: dict[int, list[Tensor]] = {layer: [torch.empty(0)] * len(texts) for layer in names}
    layer_of = {name: layer for layer, name in names.items()}
    batch: list[int] = []
    mask = torch.empty(0)

    def keep(x: Tensor, hook: Any) -> None:
        real = mask.to(x.device)
        pooled = pool(x, real).detach().float().cpu()
        per_text = real.sum(1).tolist() if len(pooled) == int(real.sum()) and len(pooled) != len(batch) else None
        for i, part in zip(batch, pooled.split(per_text or [1] * len(batch)), strict=True):
            rows[layer_of[hook.name]][i] = part

    hooks = [(name, keep) for name in layer_of]
    # nothing past the last wanted block is needed; stopping at n_layers would return logits anyway
    stop = max(names) + 1
    until = {} if stop == int(model.cfg.n_layers) else {"stop_at_layer": stop}
    starts = range(0, len(texts), batch_size)
    with model.hooks(fwd_hooks=hooks):
        for start in tqdm(starts, desc="collecting activations", disable=len(starts) < 8, leave=False):
            batch = by_length[start : start + batch_size]
            ids, mask = _pad_right([tokens[i] for i in batch])
            model(ids.to(model.cfg.device), attention_mask=mask.to(model.cfg.device).long(), return_type=None, **until)
    return rows


def _pad_right(rows: list[Tensor]) -> tuple[Tensor, Bool[Tensor, "batch pos"]]:
    """Stack token rows; padding on the right leaves a causal model's real positions exactly as they were."""
    lengths = torch.tensor([len(row) for row in rows])
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    return ids, torch.arange(ids.shape[1])[None, :] < lengths[:, None]
