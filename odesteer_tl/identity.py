"""Whose: the model that an artefact belongs to, told by its sizes, precision and weights.

A saved steerer says whose it is where neither TransformerLens nor transformers is installed, so that what reads a
model is imported when one is to be read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from odesteer_tl._check import warn

if TYPE_CHECKING:
    from odesteer_tl.plain import AnyModel

#: what fingerprints of all parameters begin with; those of an earlier kind, of the embedding alone, have no such
#: beginning
PREFIX = "2:"


@dataclass(frozen=True)
class ModelIdentity:
    """What a fitted artefact must find again: the same weights, in the same basis and precision.

    `fingerprint` hashes elements of every parameter; `compatibility_mode` changes the basis of LayerNorm models.

    Attributes:
        name: for people; not compared.
        d_model, n_layers, dtype: sizes and precision.
        compatibility_mode: whether LayerNorm and biases are folded in, which changes the residual basis.
        fingerprint: a hash of elements of every parameter, "2:…"; without that beginning, as earlier versions wrote
            it, of rows of the embedding alone.
    """

    name: str
    d_model: int
    n_layers: int
    dtype: str
    compatibility_mode: bool
    fingerprint: str

    @classmethod
    def of(cls, model: AnyModel) -> ModelIdentity:
        """Read the identity of a loaded model, its weights from disk where they were offloaded.

        Of a vLLM engine the checkpoint is read, since its weights are fused and cut up.

        Read anew at every call, in milliseconds: training in place makes another model.

        Raises:
            ValueError: a remote model, or one loaded without its weights.
        """
        from odesteer_tl.serving.engine import Engine, is_engine

        if is_engine(model):
            return Engine(model).identity
        from odesteer_tl.fingerprint import embedding_rows, fingerprint
        from odesteer_tl.models import hosted, model_name

        model = hosted(model)
        return cls(
            name=model_name(model),
            d_model=int(model.cfg.d_model),
            n_layers=int(model.cfg.n_layers),
            dtype=str(embedding_rows(model).dtype).removeprefix("torch."),
            compatibility_mode=bool(model.compatibility_mode),
            fingerprint=fingerprint(model),
        )

    def require(self, model: AnyModel) -> None:
        """Raise `ValueError` unless `model` is the one described here (its name may differ, its weights may not).

        An identity of the earlier kind is compared by the embedding, and warns that the blocks are not.
        """
        from odesteer_tl.fingerprint import embedding_fingerprint
        from odesteer_tl.models import hosted

        model = hosted(model)
        found = ModelIdentity.of(model)
        if not self.fingerprint.startswith(PREFIX):
            found = replace(found, fingerprint=embedding_fingerprint(model))
        for key in ("d_model", "n_layers", "compatibility_mode", "dtype", "fingerprint"):
            mine, other = getattr(self, key), getattr(found, key)
            if mine != other:
                raise ValueError(
                    f"model: this steerer was made for {self.name!r} with {key}={mine!r}, but {found.name!r} has "
                    f"{key}={other!r}; load the original model, fit again, or say `steerer.bound_to(model)` "
                    "if you mean to carry it over"
                )
        if not self.fingerprint.startswith(PREFIX):
            warn(
                f"model: this steerer was saved when a model was told by its embedding alone, so blocks that were "
                f"trained since are not noticed; if {found.name!r} is the model it was fitted on, save "
                "`steerer.bound_to(model)`"
            )
