"""Activations: residual-stream states of a contrast set, all layers from one forward pass."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import groupby
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
from odesteer_tl._display import Displayed, spread
from odesteer_tl._tokens import fitting_tokens
from odesteer_tl.blocks import unembed_last
from odesteer_tl.contrast import ContrastSet
from odesteer_tl.hooks import HooksFor
from odesteer_tl.models import ModelIdentity, require_local
from odesteer_tl.sites import BLOCK_OUTPUT, site_hook

PoolFn = Callable[[Float[Tensor, "batch pos *width"], Bool[Tensor, "batch pos"]], Float[Tensor, "rows *width"]]
Pool = Literal["last", "mean", "all"] | PoolFn


def _last(x: Float[Tensor, "batch pos *width"], mask: Bool[Tensor, "batch pos"]) -> Float[Tensor, "batch *width"]:
    # texts are padded on the right, so the last real token stands at length − 1
    return x[torch.arange(len(x), device=x.device), mask.sum(1) - 1]


def _mean(x: Float[Tensor, "batch pos *width"], mask: Bool[Tensor, "batch pos"]) -> Float[Tensor, "batch *width"]:
    weights = mask.float() / mask.sum(1, keepdim=True)
    return torch.einsum("bp...,bp->b...", x.float(), weights)


def _all(x: Float[Tensor, "batch pos *width"], mask: Bool[Tensor, "batch pos"]) -> Float[Tensor, "rows *width"]:
    return x[mask]


POOLS: dict[str, PoolFn] = {"last": _last, "mean": _mean, "all": _all}


@dataclass(frozen=True, repr=False)
class LayerActivations(Displayed):
    """One layer's activations, float32 on the CPU; rows follow the contrast's texts.

    Their width is [d_model] on the residual stream and [n_heads, d_head] at the site "attn.hook_z".

    Attributes:
        positive, negative: one row a text.
    """

    positive: Float[Tensor, "n_positive *width"]
    negative: Float[Tensor, "n_negative *width"]

    def _facts(self) -> dict[str, object]:
        norms = torch.cat([self.positive, self.negative]).flatten(1).norm(dim=-1)
        return {"positive": self.positive, "negative": self.negative, "norm": spread(norms)}


@dataclass(frozen=True, repr=False)
class Activations(Displayed, Mapping[int, LayerActivations]):
    """Activations by layer: `acts[layer].positive`, with the model they came from and how they were taken.

    Attributes:
        layers: by layer number.
        model: what they came from.
        provenance: the contrast's, and how the activations were taken.
    """

    layers: dict[int, LayerActivations]
    model: ModelIdentity
    provenance: dict[str, Any]

    def _facts(self) -> dict[str, object]:
        first = next(iter(self.layers.values()))
        return {
            "model": f"{self.model.name}, {self.model.n_layers} layers, width {self.model.d_model}",
            "layers": ", ".join(str(layer) for layer in self.layers),
            "positive, each layer": first.positive,
            "negative, each layer": first.negative,
            "position": self.provenance.get("position"),
        }

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
    site: str = BLOCK_OUTPUT,
    negatives_under: HooksFor | None = None,
) -> Activations:
    """Residual-stream activations after each block (`resid_post`), every layer from one forward pass.

    Args:
        layers: `"all"` or the 0-based layers wanted.
        position: `"last"` token, `"mean"` over tokens, `"all"` tokens (one row a token), or a callable
            `(activations [batch, pos, *width], mask [batch, pos]) → [rows, *width]`.
        batch_size: texts a forward pass; texts are batched by length, so little is padded.
        prepend_bos: as in TransformerLens; False for chat-templated text that carries its own.
        cache: a folder in which to keep the result, under a name hashed from all that determines it. A callable
            position or `negatives_under` has no such hash and is not cached.
        site: where in the block: "hook_out", its output, or "attn.hook_z", its heads.
        negatives_under: the hooks under which the negative texts are run, such as `steerer.hooks`: how far from the
            positives steering leaves them. Each text is a prompt of its own, so that the position rule "all" steers
            all of its tokens and "generated" its last one; texts of equal length share a pass.

    Returns:
        Float32 CPU tensors by layer, in the order of the contrast's texts.

    Raises:
        ValueError: a layer, position or site is unknown, a text is longer than the model's context, or an activation is
            NaN or infinite (the layer is named).
    """
    require_local(model)
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size} must be at least 1")
    if isinstance(position, str):
        require_one_of("position", position, POOLS)
    wanted = list(range(int(model.cfg.n_layers))) if layers == "all" else [int(layer) for layer in layers]
    names = {layer: site_hook(model, layer, site) for layer in wanted}
    identity = ModelIdentity.of(model)
    provenance = {
        "contrast": contrast.provenance,
        "digest": contrast.digest,
        "position": position if isinstance(position, str) else getattr(position, "__name__", "callable"),
        "layers": wanted,
        "prepend_bos": prepend_bos,
        "site": site,
    }
    hashable = isinstance(position, str) and negatives_under is None
    file = _cache_file(cache, identity, provenance) if cache is not None and hashable else None
    if file is not None and file.exists():
        return Activations.load(file)

    pool = POOLS[position] if isinstance(position, str) else position
    groups: list[tuple[Sequence[str], HooksFor | None]] = [((*contrast.positive, *contrast.negative), None)]
    if negatives_under is not None:
        groups = [(contrast.positive, None), (contrast.negative, negatives_under)]
    passes = [_forward(model, texts, names, pool, batch_size, prepend_bos, under) for texts, under in groups]
    n = len(contrast.positive)
    found: dict[int, LayerActivations] = {}
    for layer in wanted:
        chunks = [chunk for rows in passes for chunk in rows[layer]]
        found[layer] = LayerActivations(torch.cat(chunks[:n]), torch.cat(chunks[n:]))
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
    texts: Sequence[str],
    names: dict[int, str],
    pool: PoolFn,
    batch_size: int,
    prepend_bos: bool | None,
    under: HooksFor | None,
) -> dict[int, list[Tensor]]:
    """Pooled rows of every text at every layer: `{layer: [one [rows, *width] tensor a text]}`."""
    tokens = [fitting_tokens(model, text, prepend_bos) for text in texts]
    rows: dict[int, list[Tensor]] = {layer: [torch.empty(0)] * len(texts) for layer in names}
    batch: list[int] = []
    mask = torch.empty(0)

    def keep(x: Tensor, hook: Any, layer: int) -> None:
        real = mask.to(x.device)
        pooled = pool(x, real).detach().float().cpu()
        per_text = real.sum(1).tolist() if len(pooled) == int(real.sum()) and len(pooled) != len(batch) else None
        for i, part in zip(batch, pooled.split(per_text or [1] * len(batch)), strict=True):
            rows[layer][i] = part

    hooks = [(name, partial(keep, layer=layer)) for layer, name in names.items()]
    # nothing past the last wanted block is needed; stopping at n_layers would return logits anyway, so of one position
    stop = max(names) + 1
    until = unembed_last(model, 1) if stop == int(model.cfg.n_layers) else {"stop_at_layer": stop}
    batches = _batches([len(row) for row in tokens], batch_size, mixed=under is None)
    for batch in tqdm(batches, desc="collecting activations", disable=len(batches) < 8, leave=False):
        ids, mask = _pad_right([tokens[i] for i in batch])
        # ours come last, so that they see what steering has left
        with model.hooks(fwd_hooks=[*([] if under is None else under(ids.shape[1])), *hooks]):
            model(ids.to(model.cfg.device), attention_mask=mask.to(model.cfg.device).long(), return_type=None, **until)
    return rows


def _batches(lengths: list[int], batch_size: int, *, mixed: bool) -> list[list[int]]:
    """Indices sorted by length and cut into batches, of one length each unless `mixed`."""
    order = sorted(range(len(lengths)), key=lambda i: lengths[i])
    groups = [order] if mixed else [list(group) for _, group in groupby(order, key=lambda i: lengths[i])]
    return [group[start : start + batch_size] for group in groups for start in range(0, len(group), batch_size)]


def _pad_right(rows: list[Tensor]) -> tuple[Tensor, Bool[Tensor, "batch pos"]]:
    """Stack token rows; padding on the right leaves a causal model's real positions exactly as they were."""
    lengths = torch.tensor([len(row) for row in rows])
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    return ids, torch.arange(ids.shape[1])[None, :] < lengths[:, None]
