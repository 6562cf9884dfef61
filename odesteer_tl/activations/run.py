"""A run: forward passes over a contrast's texts, and what they leave at each layer."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from math import prod
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor
from tqdm.auto import tqdm

from odesteer_tl.hooks import HooksFor
from odesteer_tl.norms import NormMeter
from odesteer_tl.plain import Model, hooked
from odesteer_tl.reading import OVER_TOKENS, POOLS, PoolFn
from odesteer_tl.serving.capture import captured


class _Enough(Exception):
    """Raised in a forward pass whose last layer of interest is read."""


@dataclass(frozen=True)
class Run:
    """Forward passes over a contrast's texts, and what they leave.

    Attributes:
        rows: the tokens of every text.
        counted: which of them a pool over tokens takes.
        names: the hook point of every layer.
        heads: their number and width, where heads are collected.
        pooled: by layer, one [rows, *width] tensor a text.
    """

    model: Model
    rows: list[Int[Tensor, " _"]]
    counted: list[Bool[Tensor, " _"]]
    names: dict[int, str]
    position: str | PoolFn
    meter: NormMeter
    heads: tuple[int, ...] | None = None
    pooled: dict[int, list[Tensor]] = field(default_factory=dict[int, list[Tensor]])

    def begin(
        self, batch: Sequence[int]
    ) -> tuple[Int[Tensor, "batch pos"], Bool[Tensor, "batch pos"], Bool[Tensor, "batch pos"]]:
        """The tokens of these texts padded on the right, which are real, and which are taken."""
        ids, real = _pad_right([self.rows[i] for i in batch])
        counted, _ = _pad_right([self.counted[i] for i in batch])
        self.meter.begin(ids, real, counted)
        return ids, real, counted if self.position in OVER_TOKENS else real

    def take(
        self, batch: Sequence[int], taken: Bool[Tensor, "batch pos"], layer: int, x: Float[Tensor, "batch pos ..."]
    ) -> None:
        """Make rows of one layer's activations of these texts."""
        pool = POOLS[self.position] if isinstance(self.position, str) else self.position
        x = x if self.heads is None else _split(x, self.heads, self.names[layer])
        self.meter.add(layer, torch.linalg.vector_norm(x.flatten(2), dim=-1, dtype=torch.float32).cpu())
        pooled = pool(x, taken.to(x.device)).float().cpu()
        n = int(taken.sum())
        per_text = taken.sum(1).tolist() if len(pooled) == n and n != len(batch) else [1] * len(batch)
        kept = self.pooled.setdefault(layer, [torch.empty(0)] * len(self.rows))
        for i, part in zip(batch, pooled.split(per_text), strict=True):
            kept[i] = part

    def forward(self, texts: Sequence[int], batch_size: int, under: HooksFor | None) -> None:
        """Run these texts, with hooks under them."""
        model, names = self.model, self.names
        batch: list[int] = []
        taken = torch.empty(0)
        last = max(names)

        def keep(x: Tensor, hook: Any, layer: int) -> None:
            self.take(batch, taken, layer, x.detach())
            if layer == last:
                raise _Enough  # what comes behind, the unembedding too, is not needed

        hooks = [(name, partial(keep, layer=layer)) for layer, name in sorted(names.items())]
        batches = _batches([len(self.rows[i]) for i in texts], batch_size, mixed=under is None)
        for within in tqdm(batches, desc="collecting activations", disable=len(batches) < 8, leave=False):
            batch = [texts[i] for i in within]
            ids, real, taken = self.begin(batch)
            inputs, mask = ids.to(model.cfg.device), real.to(model.cfg.device).long()
            # ours come last, so that they see what steering has left
            with hooked(model, [*([] if under is None else under(ids.shape[1])), *hooks]) as run, suppress(_Enough):
                run(input_ids=inputs, attention_mask=mask)


class EngineRun(Run):
    """The same inside an engine, which reads every text as a prompt of its own."""

    def forward(self, texts: Sequence[int], batch_size: int, under: HooksFor | None) -> None:
        """Run these texts; `under` is None."""
        engine: Any = self.model
        blocks = {layer: engine.require_place(layer, name.partition(".")[2].partition(".")[2])
                  for layer, name in self.names.items()}  # fmt: skip
        for start in range(0, len(texts), batch_size):
            batch = texts[start : start + batch_size]
            states = captured(engine, [self.rows[i] for i in batch], sorted(set(blocks.values())))
            for i, found in zip(batch, states, strict=True):
                _, _, taken = self.begin([i])
                for layer, block in sorted(blocks.items()):
                    self.take([i], taken, layer, found[block][None])


def _split(x: Float[Tensor, "batch pos ..."], heads: tuple[int, ...], name: str) -> Float[Tensor, "batch pos h d_head"]:
    """What heads write, by head; a bridge's own split goes by the width of what they compare."""
    flat = x.flatten(2)
    if flat.shape[-1] != prod(heads):
        raise ValueError(
            f"{name!r} is {flat.shape[-1]} wide, but the configuration says {heads[0]} heads of {heads[1]}: this "
            "model's heads differ from layer to layer; collect another site, such as 'attn_out'"
        )
    return rearrange(flat, "batch pos (head d) -> batch pos head d", head=heads[0])


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
