"""Activations of a contrast set, by layer: what they are, where they came from, and their file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from odesteer_tl._display import Result, spread, stacked, table
from odesteer_tl._folder import new_file
from odesteer_tl._groups import remember_several_rows_a_text
from odesteer_tl.models import ModelIdentity
from odesteer_tl.reading import one_row_a_text
from odesteer_tl.sites import BLOCK_OUTPUT, Layer, place

if TYPE_CHECKING:
    import pandas as pd


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
    norms: pd.DataFrame = field(default_factory=lambda: table({}))

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
            return cls(layers, model, provenance, table(json.loads(metadata.get("norms", "{}"))))
        except (SafetensorError, KeyError, ValueError, TypeError) as error:
            raise ValueError(f"path={str(path)!r} is not a readable activation cache ({error}); delete it") from error


def _read_layer(tensors: dict[str, Tensor], layer: int) -> LayerActivations:
    labels = [tensors.get(f"{layer}.{side}_groups") for side in ("positive", "negative")]
    groups = [None if x is None else tuple(int(g) for g in x) for x in labels]
    return LayerActivations(tensors[f"{layer}.positive"], tensors[f"{layer}.negative"], *groups)
