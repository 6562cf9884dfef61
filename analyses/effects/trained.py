"""Methods trained through a model, each training kept in its study's folder: it takes minutes, and others need it."""

from __future__ import annotations

import inspect
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from transformer_lens.model_bridge import TransformerBridge

import odesteer_tl as ode
from analyses.refusal import fitted
from analyses.sweep import StoreError
from odesteer_tl._key import key_of
from odesteer_tl._tokens import tokens_of
from odesteer_tl.training import Training

#: of what is kept: raise it when the code that trains gives other fields of the same texts
VERSION = 1


@dataclass(frozen=True)
class Expense:
    """What a fit took. Methods are compared at equal `data_tokens`: whatever a method is, it is given the same texts.

    Attributes:
        data_tokens: of the texts that it was given, each text once.
        read_tokens: that ran through the model, each text as often as it was read to learn from; looks at held-out
            texts of a training, which decide when it stops, are not counted.
        seconds: of the processor, with reading.
    """

    data_tokens: int
    read_tokens: int
    seconds: float


def takes_concept(method: str) -> bool:
    """Whether a method is trained through the model and told of its concept in words."""
    own = ode.METHODS.get(method)
    return own is not None and own.train is not None and "concept" in inspect.signature(own.train).parameters


@dataclass(frozen=True)
class Trained:
    """Trainings through one model.

    No claims are kept, as in `Store`: two processes that train the same at once train the same bits, and the first to
    be done is kept.

    Args:
        folder: where each is a saved steerer, named by its key; None: all are made anew.
        concept: in words, for methods that are told of it; empty, they take what they take by themselves.
    """

    model: TransformerBridge
    folder: Path | None = None
    concept: str = ""

    def steerer(self, method: str, layer: int, texts: ode.ContrastSet, seed: int) -> ode.Steerer:
        """A method trained on texts, or read; what it took is in `provenance["fit"]`, an `Expense`.

        Raises:
            Refusal: the method refuses the texts.
            StoreError: what is kept is damaged, or cannot be written.
        """
        if self.folder is None:
            return self._train(method, layer, texts, seed)
        path = self._path(method, layer, texts, seed)
        if not path.exists():
            made = self._train(method, layer, texts, seed)
            try:
                made.save(path)
            except (OSError, ValueError) as error:
                if not path.exists():  # else another process was done first, with the same
                    raise StoreError(
                        f"the training of {method!r} could not be kept in {str(path)!r}: {error}"
                    ) from error
        try:
            return ode.Steerer.load(path)
        except ValueError as error:
            raise StoreError(f"{error}, or delete it: it is trained anew then") from error

    def has(self, method: str, layer: int, texts: ode.ContrastSet, seed: int) -> bool:
        """Whether it is kept."""
        return self.folder is not None and self._path(method, layer, texts, seed).exists()

    def _train(self, method: str, layer: int, texts: ode.ContrastSet, seed: int) -> ode.Steerer:
        start = time.process_time()
        # of no account here: a study has strengths of its own
        strength: dict[str, Any] = {} if ode.METHODS[method].own_strength else {"T": 1.0}
        found = fitted(
            method, lambda: ode.fit(method, self.model, texts, layer, seed=seed, **strength, **self._told(method))
        )
        tokens, training = int(found.provenance["tokens"]), dict[str, Any](found.provenance["training"])
        expense = Expense(tokens, tokens + int(training["tokens"]), time.process_time() - start)
        return replace(found, provenance={**found.provenance, "fit": asdict(expense)})

    def _told(self, method: str) -> dict[str, Any]:
        """The settings of a method that is told of the concept."""
        return {"settings": {"concept": self.concept}} if self.concept and takes_concept(method) else {}

    def _path(self, method: str, layer: int, texts: ode.ContrastSet, seed: int) -> Path:
        both = (*texts.positive, *texts.negative)
        rows = tokens_of(self.model, "contrast", both, texts.prepend_bos)
        arguments = {"method": method, "layer": layer, "seed": seed, "training": Training().config(),
                     "texts": texts.digest, "prepend_bos": texts.prepend_bos, **self._told(method)}  # fmt: skip
        assert self.folder is not None
        return self.folder / key_of(VERSION, self.model, ode.ModelIdentity.of(self.model), texts, rows, arguments)
