"""Norms by position: which tokens would drown a mean over tokens, as an attention sink's activation does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from odesteer_tl._check import warn
from odesteer_tl._tokens import is_special
from odesteer_tl.plain import Model

if TYPE_CHECKING:
    import pandas as pd

#: norm of a text's largest token over that of its median one, from which on a mean is about that token
DOMINATES = 10.0


class NormMeter:
    """Takes norms while activations are collected, and reports them by layer and position.

    Args:
        model: whose tokenizer names the tokens.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._tokenizer: Any = model.tokenizer
        self._found: dict[int, dict[str, list[np.ndarray[Any, Any]]]] = {}

    def begin(
        self,
        tokens: Int[Tensor, "batch pos"],
        real: Bool[Tensor, "batch pos"],
        counted: Bool[Tensor, "batch pos"],
    ) -> None:
        """A batch, whose norms layer by layer are to follow.

        Args:
            real: which tokens are no padding.
            counted: which tokens a pool over tokens takes.
        """
        text = real & ~is_special(self._model, tokens)
        first = text & (text.cumsum(1) == 1)
        bos = torch.zeros_like(text)
        if self._tokenizer.bos_token_id is not None:
            bos[:, 0] = tokens[:, 0] == self._tokenizer.bos_token_id
        self._tokens, self._kinds = tokens, {"bos": bos, "first": first, "other": text & ~first, "counted": counted}

    def add(self, layer: int, norms: Float[Tensor, "batch pos"]) -> None:
        """The norms of the batch's tokens at one layer."""
        medians = {name: _median(norms, where) for name, where in self._kinds.items()}
        largest = norms.masked_fill(~self._kinds["counted"], -torch.inf).argmax(1, keepdim=True)
        # ∞/∞, in half precision, is not a small factor
        factor = (norms.gather(1, largest)[:, 0] / medians.pop("counted")).nan_to_num(nan=torch.inf, posinf=torch.inf)
        columns = {**medians, "factor": factor, "token": self._tokens.gather(1, largest)[:, 0]}
        for name, x in columns.items():
            self._found.setdefault(layer, {}).setdefault(name, []).append(x.numpy())

    def report(self) -> pd.DataFrame:
        """One row a layer; see `Activations.norms`."""
        import pandas as pd

        lines: list[dict[str, object]] = []
        for layer, parts in sorted(self._found.items()):
            found = {name: np.concatenate(x) for name, x in parts.items()}
            # what dominates in one text of ten is in every mean over texts
            factor = float(np.quantile(found["factor"], 0.9, method="higher"))
            tokens, counts = np.unique(found["token"][found["factor"] >= min(factor, DOMINATES)], return_counts=True)
            medians = {name: _known_median(found[name]) for name in ("bos", "first", "other")}
            largest = str(self._tokenizer.convert_ids_to_tokens(int(tokens[counts.argmax()])))
            lines.append({"layer": layer, **medians, "largest": largest, "factor": factor})
        return pd.DataFrame(lines)


def _known_median(x: Float[np.ndarray, " n"]) -> float:
    known = x[~np.isnan(x)]
    return float(np.median(known)) if len(known) else float("nan")


def _median(norms: Float[Tensor, "batch pos"], where: Bool[Tensor, "batch pos"]) -> Float[Tensor, " batch"]:
    """Of each row's chosen tokens; NaN where there is none."""
    return norms.masked_fill(~where, torch.nan).nanmedian(1).values


def warn_of_dominance(norms: pd.DataFrame, position: str) -> None:
    """A `UserWarning` where one token outweighs what is pooled over tokens."""
    lines = norms.to_dict("records")
    drowned = [line for line in lines if line["factor"] > DOMINATES]
    if drowned:
        worst = max(drowned, key=lambda line: line["factor"])
        warn(
            f"read_position={position!r}: at layer {worst['layer']} the token {worst['largest']!r} is "
            f"{worst['factor']:.0f} times as large as a text's median token, so that what is averaged is about that "
            f"token (layers {', '.join(str(line['layer']) for line in drowned)}); see `norms` of the activations, and "
            "use read_position='last', or a callable that leaves the token out"
        )
