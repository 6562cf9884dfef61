"""Activations: residual-stream states of a contrast set, all layers from one forward pass."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import groupby
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm.auto import tqdm

from odesteer_tl._check import as_integer, require_finite
from odesteer_tl._display import Result, spread, stacked, table
from odesteer_tl._folder import new_file
from odesteer_tl._groups import remember_several_rows_a_text
from odesteer_tl._key import is_hooked, key_of
from odesteer_tl._tokens import tokens_of
from odesteer_tl._turn import turn
from odesteer_tl.contrast import ContrastSet
from odesteer_tl.hooks import HooksFor
from odesteer_tl.models import ModelIdentity, hosted
from odesteer_tl.norms import NormMeter, warn_of_dominance
from odesteer_tl.plain import AnyModel, Model, hooked
from odesteer_tl.reading import (
    OVER_TOKENS,
    POOLS,
    Pool,
    PoolFn,
    averages_tokens,
    one_row_a_text,
    pool_of,
    position_name,
    position_of,
    tokens_read,
)
from odesteer_tl.serving.capture import captured
from odesteer_tl.serving.engine import Engine, is_engine
from odesteer_tl.sites import BLOCK_OUTPUT, HEADS, Layer, Place, place, places, site_shape

if TYPE_CHECKING:
    import pandas as pd

#: of what is cached: raised when the same arguments give another result
FORMAT = 2


@dataclass(frozen=True, repr=False)
class LayerActivations(Result):
    """One layer's activations, float32 on the CPU; rows follow the contrast's texts.

    Their width is [d_model] on the residual stream and [n_heads, d_head] at the site "attn.hook_z".

    Attributes:
        positive, negative: one row a text, or one a token for position="all".
        positive_groups, negative_groups: the contrast's group of each row's text, one label a row. None where nobody
            said: every row is then taken as a text of its own, and rows of equal index in equally long classes as a
            pair.

    Raises:
        ValueError: only one class has groups, or they are not one label a row.
    """

    positive: Float[Tensor, "n_positive *width"]
    negative: Float[Tensor, "n_negative *width"]
    positive_groups: tuple[int, ...] | None = None
    negative_groups: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if (self.positive_groups is None) != (self.negative_groups is None):
            raise ValueError("positive_groups and negative_groups belong together; give both or neither")
        for name, rows, labels in (
            ("positive_groups", self.positive, self.positive_groups),
            ("negative_groups", self.negative, self.negative_groups),
        ):
            if labels is not None and len(labels) != len(rows):
                raise ValueError(f"{name} has {len(labels)} labels for {len(rows)} rows; give one label a row")

    @property
    def groups(self) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
        """The labels of both classes, for `groups=` of every fit; None where they are not known."""
        if self.positive_groups is None or self.negative_groups is None:
            return None
        return self.positive_groups, self.negative_groups

    def _facts(self) -> dict[str, object]:
        norms = torch.cat([self.positive, self.negative]).flatten(1).norm(dim=-1)
        known = None if self.groups is None else len({*self.groups[0], *self.groups[1]})
        return {
            "positive": self.positive,
            "negative": self.negative,
            "groups": known or "not known: every row a text",
            "norm": spread(norms),
        }

    def frame(self) -> pd.DataFrame:
        """One row an activation: its class, its number within it, its group if known, its norm."""
        sides = (("positive", self.positive, self.positive_groups), ("negative", self.negative, self.negative_groups))
        return stacked(
            table(
                {
                    "class": side,
                    "number": range(len(x)),
                    "group": [None] * len(x) if groups is None else groups,
                    "norm": x.flatten(1).norm(dim=-1).numpy(),
                }
            )
            for side, x, groups in sides
        )


@dataclass(frozen=True, repr=False)
class Activations(Result, Mapping[int, LayerActivations]):
    """Activations by layer: `acts[layer].positive`, with the model they came from and how they were taken.

    Attributes:
        layers: by layer number.
        model: what they came from.
        provenance: the contrast's, how the activations were taken, and of how many `tokens` the texts are.
        norms: one row a layer, with medians over the texts of the norms of BOS (`bos`), of the first token of text
            (`first`) and of the later ones (`other`), and which token is `largest` of those that "mean" and "all" take
            (of those read, where a completion or one token of it is), by what `factor` over the text's median one (in
            one text of ten, or more).
    """

    layers: dict[int, LayerActivations]
    model: ModelIdentity
    provenance: dict[str, Any]
    norms: pd.DataFrame = field(default_factory=lambda: _frame({}))

    def __post_init__(self) -> None:
        if one_row_a_text(self.provenance.get("position")):
            return
        for acts in self.layers.values():
            # one row a text repeats a label only where texts were grouped; then this errs to the safe side
            if acts.groups is None or any(len(set(labels)) < len(labels) for labels in acts.groups):
                remember_several_rows_a_text(acts.positive, acts.negative)

    def _facts(self) -> dict[str, object]:
        first = next(iter(self.layers.values()))
        return {
            "model": f"{self.model.name}, {self.model.n_layers} layers, width {self.model.d_model}",
            "layers": ", ".join(str(layer) for layer in self.layers),
            "positive, each layer": first.positive,
            "negative, each layer": first.negative,
            "position": self.provenance.get("position"),
        }

    def frame(self) -> pd.DataFrame:
        """One row a layer and activation, as each layer's own."""
        return stacked([x.frame().assign(layer=layer) for layer, x in self.layers.items()])

    def __getitem__(self, layer: Layer) -> LayerActivations:
        """One layer's, by its number (negative ones from the end) or by the name of the hook point collected."""
        try:
            return self.layers[place(layer, self.site, self.model.n_layers).layer]
        except (KeyError, ValueError) as error:
            at = f"site {self.site!r} of layers {sorted(self.layers)}"
            raise KeyError(f"layer={layer} was not collected; these were: {at}") from error

    @property
    def site(self) -> str:
        """Where in the block they were taken, a key of `odesteer_tl.sites.SITES`."""
        return str(self.provenance.get("site", BLOCK_OUTPUT))

    def __iter__(self) -> Iterator[int]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    @classmethod
    def from_caches(
        cls, positive: Any, negative: Any, layers: Any = "all", position: Any = "last", **how: Any
    ) -> Activations:
        """From two `ActivationCache`s, or dicts of tensors; see `odesteer_tl.caches.activations_from_caches`."""
        from odesteer_tl.caches import activations_from_caches  # which needs this class

        return activations_from_caches(positive, negative, layers, position, **how)

    def save(self, path: str | Path) -> None:
        """Write one safetensors file, atomically; the metadata holds the model and the provenance."""
        tensors = {
            f"{layer}.{side}": getattr(acts, side).contiguous()
            for layer, acts in self.layers.items()
            for side in ("positive", "negative")
        }
        for layer, acts in self.layers.items():
            if acts.groups is not None:
                for side, labels in zip(("positive", "negative"), acts.groups, strict=True):
                    tensors[f"{layer}.{side}_groups"] = torch.tensor(labels, dtype=torch.int64)
        metadata = {
            "model": json.dumps(asdict(self.model)),
            "provenance": json.dumps(self.provenance),
            "norms": json.dumps(self.norms.to_dict("list")),
        }
        with new_file(path) as part:
            save_file(tensors, part, metadata=metadata)

    @classmethod
    def load(cls, path: str | Path) -> Activations:
        """Read what `save` wrote; a file written before groups were kept has none (see `LayerActivations`).

        Raises:
            ValueError: the file is truncated or not one of ours.
        """
        try:
            with safe_open(str(path), framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
            layers = {layer: _read_layer(tensors, layer) for layer in sorted({int(k.split(".")[0]) for k in tensors})}
            model, provenance = ModelIdentity(**json.loads(metadata["model"])), json.loads(metadata["provenance"])
            return cls(layers, model, provenance, _frame(json.loads(metadata.get("norms", "{}"))))
        except (SafetensorError, KeyError, ValueError, TypeError) as error:
            raise ValueError(f"path={str(path)!r} is not a readable activation cache ({error}); delete it") from error


def _frame(columns: dict[str, list[Any]]) -> pd.DataFrame:
    import pandas as pd  # which what serves steerers has no other need of

    return pd.DataFrame(columns)


def _read_layer(tensors: dict[str, Tensor], layer: int) -> LayerActivations:
    labels = [tensors.get(f"{layer}.{side}_groups") for side in ("positive", "negative")]
    groups = [None if x is None else tuple(int(g) for g in x) for x in labels]
    return LayerActivations(tensors[f"{layer}.positive"], tensors[f"{layer}.negative"], *groups)


@torch.no_grad()
def collect_activations(
    model: AnyModel,
    contrast: ContrastSet,
    layers: Layer | Sequence[Layer] = "all",
    position: Pool = "last",
    *,
    batch_size: int = 32,
    prepend_bos: bool | None = None,
    special_tokens: bool = False,
    cache: str | Path | None = None,
    site: str | None = None,
    negatives_under: HooksFor | None = None,
) -> Activations:
    """Activations at a site of each block (by default `resid_post`), every layer from one forward pass.

    Args:
        model: a bridge, a plain model, or a vLLM engine with the plugin vllm-lens, whose capture is used: then at a
            block's output or input alone, and without `cache` and `negatives_under`.
        layers: `"all"`, or the layers wanted: 0-based numbers, negative ones from the end, or names of hook points
            (`"blocks.12.hook_resid_mid"`); one, or a sequence.
        position: which tokens of a text are read. `"last"`, the `"mean"` over tokens, or `"all"` (one row a token).
            Of texts with a prompt (`ContrastSet.from_completions`, `from_chat`): `"completion"`, the mean over the
            completion's tokens; `"completion_last"`; `"first"` or `"answer"`, the completion's first token (CAA's
            letter). A whole number is an index as Python's into the text's own tokens, before which a BOS does not
            count, whoever wrote it: 0 is the first token of text, −1 the last, −2 the one before it. Or a callable
            `(activations [batch, pos, *width], mask [batch, pos]) → [rows, *width]`, whose mask holds every token of
            the text.
        batch_size: texts a forward pass; texts are batched by length, so little is padded.
        prepend_bos: as in TransformerLens, unless the contrast knows better (texts of `ContrastSet.from_chat` carry
            their own); a text that begins with the BOS token gets no second one.
        special_tokens: whether "mean", "all" and "completion" take BOS and other special tokens, too. A BOS is an
            attention sink: its norm may be a hundred times that of a word, and a mean with it is about nothing else.
        cache: a folder in which to keep the result, under a name hashed from all that determines it. A callable
            position, `negatives_under`, or hooks that stand on the model have no such hash: then nothing is cached.
        site: where in the block: "resid_post" (its output, unless a layer's name says otherwise), "resid_pre",
            "resid_mid", "attn_out", "mlp_out", or "z", its heads; under these or TransformerLens's longer names.
        negatives_under: the hooks under which the negative texts are run, such as `steerer.hooks`: how far from the
            positives steering leaves them. Each text is a prompt of its own, so that the position rule "all" steers
            all of its tokens but the BOS, and "generated" its last one; texts of equal length share a pass.

    Returns:
        Float32 CPU tensors by layer, in the order of the contrast's texts, with the group of every row and the norms by
        position.

    Raises:
        ValueError: a layer, position or site is unknown, a text is longer than the model's context, a pool over tokens
            has none to take, a text has no token at an index, a contrast without completions is read at one, a token
            holds a prompt's end and its completion's beginning, or an activation is NaN or infinite (the layer is
            named).

    Warns:
        UserWarning: one token is more than ten times as large as the others that are pooled with it.
    """
    engine = Engine(model) if is_engine(model) else None
    if engine is not None and (cache is not None or negatives_under is not None):
        raise ValueError(
            "an engine's weights cannot be hashed for cache=, and it has no hooks for negatives_under=; save the "
            "result with acts.save(path), or collect on a bridge"
        )
    model = hosted(model) if engine is None else cast("Model", engine)
    batch_size = as_integer("batch_size", batch_size)
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size} must be at least 1")
    reading = position_of(position)
    wanted, site = places(model, layers, site)
    prepend_bos = contrast.prepend_bos if prepend_bos is None else prepend_bos
    names = {layer: Place(layer, site).hook_name for layer in wanted}
    identity = ModelIdentity.of(model) if engine is None else engine.identity
    provenance = {
        "contrast": contrast.provenance,
        "digest": contrast.digest,
        "position": position_name(reading),
        "layers": wanted,
        "prepend_bos": prepend_bos,
        "special_tokens": special_tokens,
        "site": site,
    }
    rows = tokens_of(
        model, "contrast", [*contrast.positive, *contrast.negative], prepend_bos, reserve=int(engine is not None)
    )
    file = None
    if cache is not None and not callable(reading) and negatives_under is None and not is_hooked(model):
        file = Path(cache) / f"{key_of(FORMAT, model, identity, contrast, rows, provenance)}.safetensors"
    if file is not None and file.exists():
        return _warned(Activations.load(file))

    counted = tokens_read(model, contrast, rows, reading, special_tokens)
    heads = site_shape(model, site) if site == HEADS else None
    kind = _Run if engine is None else _EngineRun
    run = kind(model, rows, counted, names, pool_of(reading), NormMeter(model), heads)
    n = len(contrast.positive)
    parts: list[tuple[range, HooksFor | None]] = [(range(len(rows)), None)]
    if negatives_under is not None:
        parts = [(range(n), None), (range(n, len(rows)), negatives_under)]
    with turn(model) if engine is None else nullcontext():
        for texts, under in parts:
            run.forward(texts, batch_size, under)
    found: dict[int, LayerActivations] = {}
    for layer, pooled in run.pooled.items():
        labels = [_repeated(contrast.positive_groups, pooled[:n]), _repeated(contrast.negative_groups, pooled[n:])]
        found[layer] = LayerActivations(torch.cat(pooled[:n]), torch.cat(pooled[n:]), *labels)
        require_finite(f"activations at layer {layer} (positive)", found[layer].positive)
        require_finite(f"activations at layer {layer} (negative)", found[layer].negative)
    said = {**provenance, "tokens": sum(len(row) for row in rows)}
    result = _warned(Activations(found, identity, said, run.meter.report()))
    if file is not None:
        result.save(file)
    return result


def _repeated(groups: Sequence[int], chunks: Sequence[Tensor]) -> tuple[int, ...]:
    """The group of every row, from that of every text."""
    return tuple(int(g) for g, chunk in zip(groups, chunks, strict=True) for _ in range(len(chunk)))


def _over_tokens(position: object) -> bool:
    return position in OVER_TOKENS


def _warned(acts: Activations) -> Activations:
    position = acts.provenance["position"]
    if averages_tokens(position):
        warn_of_dominance(acts.norms, position)
    return acts


class _Enough(Exception):
    """Raised in a forward pass whose last layer of interest is read."""


@dataclass(frozen=True)
class _Run:
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
        return ids, real, counted if _over_tokens(self.position) else real

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


class _EngineRun(_Run):
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
