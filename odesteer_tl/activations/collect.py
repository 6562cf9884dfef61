"""Collecting: the texts of a contrast set through the model, or a cache of what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from odesteer_tl._check import as_integer, require_finite
from odesteer_tl._key import is_hooked, key_of
from odesteer_tl._renamed import renamed
from odesteer_tl._tokens import tokens_of
from odesteer_tl._turn import turn
from odesteer_tl.activations.collected import Activations, LayerActivations
from odesteer_tl.activations.run import EngineRun, Run
from odesteer_tl.contrast import ContrastSet
from odesteer_tl.hooks import HooksFor
from odesteer_tl.models import ModelIdentity, hosted
from odesteer_tl.norms import NormMeter, warn_of_dominance
from odesteer_tl.plain import AnyModel, Model
from odesteer_tl.reading import Pool, averages_tokens, pool_of, position_name, position_of, tokens_read
from odesteer_tl.serving.engine import Engine, is_engine
from odesteer_tl.sites import HEADS, Layer, Place, places, site_shape

#: of what is cached: raised when the same arguments give another result
FORMAT = 2


@renamed(position="read_position")
@torch.no_grad()
def collect_activations(
    model: AnyModel,
    contrast: ContrastSet,
    layers: Layer | Sequence[Layer] = "all",
    read_position: Pool = "last",
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
        read_position: which tokens of a text are read. `"last"`, the `"mean"` over tokens, or `"all"` (a row a token).
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
    reading = position_of(read_position, "read_position")
    wanted, site = places(model, layers, site)
    prepend_bos = contrast.prepend_bos if prepend_bos is None else prepend_bos
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
    names = {layer: Place(layer, site).hook_name for layer in wanted}
    heads = site_shape(model, site) if site == HEADS else None
    kind = Run if engine is None else EngineRun
    run = kind(model, rows, counted, names, pool_of(reading), NormMeter(model), heads)
    with turn(model) if engine is None else nullcontext():
        _read(run, len(contrast.positive), batch_size, negatives_under)
    provenance["tokens"] = sum(map(len, rows))
    result = _warned(Activations(_by_layer(run, contrast), identity, provenance, run.meter.report()))
    if file is not None:
        result.save(file)
    return result


def _read(run: Run, positive: int, batch_size: int, negatives_under: HooksFor | None) -> None:
    """All texts, the positive ones first; together, unless the others are run under hooks."""
    n = len(run.rows)
    parts = [range(n)] if negatives_under is None else [range(positive), range(positive, n)]
    for texts, under in zip(parts, (None, negatives_under), strict=False):
        run.forward(texts, batch_size, under)


def _by_layer(run: Run, contrast: ContrastSet) -> dict[int, LayerActivations]:
    """What was read, with the group of every row."""
    n = len(contrast.positive)
    found: dict[int, LayerActivations] = {}
    for layer, pooled in run.pooled.items():
        labels = [_repeated(contrast.positive_groups, pooled[:n]), _repeated(contrast.negative_groups, pooled[n:])]
        found[layer] = LayerActivations(torch.cat(pooled[:n]), torch.cat(pooled[n:]), *labels)
        require_finite(f"activations at layer {layer} (positive)", found[layer].positive)
        require_finite(f"activations at layer {layer} (negative)", found[layer].negative)
    return found


def _repeated(groups: Sequence[int], chunks: Sequence[Tensor]) -> tuple[int, ...]:
    """The group of every row, from that of every text."""
    return tuple(int(g) for g, chunk in zip(groups, chunks, strict=True) for _ in range(len(chunk)))


def _warned(acts: Activations) -> Activations:
    position = acts.provenance["position"]
    if averages_tokens(position):
        warn_of_dominance(acts.norms, position)
    return acts
