"""The state of a training, and the file from which one that was cut off goes on."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from odesteer_tl.training.constraint import Multiplier
from odesteer_tl.training.identity import digest
from odesteer_tl.training.learner import Learner
from odesteer_tl.training.settings import Training


@dataclass
class State:
    """All that the next step depends on."""

    optimiser: torch.optim.AdamW
    generator: torch.Generator
    multiplier: Multiplier | None
    step: int = 0
    tokens: int = 0
    since_best: int = 0
    best: tuple[float, float] | None = None
    kept: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    history: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    @classmethod
    def fresh(cls, learner: Learner, seed: int, settings: Training) -> State:
        """Before the first step."""
        groups = [
            # AdamW decays by rate · decay, and the rate has the scale in it
            {"params": [p], "lr": 0.0, "full": settings.learning_rate * scale,
             "weight_decay": settings.weight_decay / scale}
            for name, p in learner.parameters.items()
            for scale in [learner.scales.get(name, 1.0)]
        ]  # fmt: skip
        optimiser = torch.optim.AdamW(groups)
        multiplier = None if settings.kl is None else Multiplier(settings.kl)
        return cls(optimiser, torch.Generator().manual_seed(seed), multiplier)

    def note(self, learner: Learner, score: tuple[float, float] | None) -> None:
        """After a look: the score of parameters that are to be kept, or None."""
        if score is None:
            self.since_best += 1
            return
        self.best, self.since_best = score, 0
        self.kept = {name: p.detach().cpu().clone() for name, p in learner.parameters.items()}

    def restore_best(self, learner: Learner) -> None:
        """The parameters of the best look."""
        with torch.no_grad():
            for name, p in learner.parameters.items():
                p.copy_(self.kept[name])


@dataclass(frozen=True)
class Store:
    """Where states are kept, if anywhere.

    Args:
        file: of safetensors.
        identity: of the training, by part, of what JSON can say and tensors; a state of another one is refused.
    """

    file: str | Path | None
    identity: Mapping[str, Any]

    def __post_init__(self) -> None:
        """Keep hashes alone: they are of the start, which training moves away from."""
        object.__setattr__(self, "identity", {name: digest(part) for name, part in self.identity.items()})

    @contextmanager
    def restoring(self, learner: Learner) -> Generator[None]:
        """Where states are kept, a training that is cut off leaves the parameters as they were at the start."""
        start = {name: p.detach().clone() for name, p in learner.parameters.items()} if self.file is not None else {}
        try:
            yield
        except BaseException:
            with torch.no_grad():
                for name, x in start.items():
                    learner.parameters[name].copy_(x)
            raise

    def keep(self, state: State, learner: Learner) -> None:
        """Write a state; the one before it is there until this one is whole."""
        if self.file is None:
            return
        tensors = {f"now.{n}": p.detach().cpu().clone() for n, p in learner.parameters.items()}
        tensors |= {f"kept.{n}": x.clone() for n, x in state.kept.items()}
        tensors["generator"] = state.generator.get_state()
        for i, own in state.optimiser.state_dict()["state"].items():
            tensors |= {f"adam.{i}.{n}": torch.as_tensor(x).cpu().clone() for n, x in own.items()}
        said = {
            "step": state.step, "tokens": state.tokens, "since_best": state.since_best, "best": state.best,
            "multiplier": None if state.multiplier is None else state.multiplier.value, "history": state.history,
        }  # fmt: skip
        file = Path(self.file)
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_name(file.name + ".part")
        save_file(tensors, part, metadata={"key": json.dumps(self.identity), "state": json.dumps(said)})
        part.replace(file)

    def start(self, learner: Learner, seed: int, settings: Training) -> State:
        """A fresh state, or the one that is kept; the learner's parameters become its.

        Raises:
            ValueError: what is kept is of another training, or unreadable.
        """
        state = State.fresh(learner, seed, settings)
        if self.file is None or not Path(self.file).exists():
            return state
        tensors, said = self._read(Path(self.file))
        self._require_shapes(tensors, learner)
        with torch.no_grad():
            for name, p in learner.parameters.items():
                p.copy_(tensors[f"now.{name}"])
        state.kept = {n.removeprefix("kept."): x for n, x in tensors.items() if n.startswith("kept.")}
        state.generator.set_state(tensors["generator"])
        full = state.optimiser.state_dict()
        for i in range(len(learner.parameters)):
            prefix = f"adam.{i}."
            full["state"][i] = {n.removeprefix(prefix): x for n, x in tensors.items() if n.startswith(prefix)}
        state.optimiser.load_state_dict(full)
        state.step, state.tokens, state.since_best = said["step"], said["tokens"], said["since_best"]
        state.best = None if said["best"] is None else (said["best"][0], said["best"][1])
        if state.multiplier is not None:
            state.multiplier.value = said["multiplier"]
        state.history = said["history"]
        return state

    def _read(self, file: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
        try:
            with safe_open(str(file), framework="pt") as opened:
                metadata = opened.metadata() or {}
                tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118 (not a dict)
            key, said = metadata["key"], json.loads(metadata["state"])
            # (earlier versions wrote one hash, of fewer things)
            known: Any = json.loads(key) if key.startswith("{") else {}
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise ValueError(f"checkpoint={str(file)!r} is no readable training ({error}); delete it") from error
        if other := [name for name, part in self.identity.items() if known.get(name) != part]:
            raise self._another(f"differing in {', '.join(other)}")
        return tensors, said

    def _require_shapes(self, tensors: Mapping[str, Tensor], learner: Learner) -> None:
        """Every tensor is there, and those of the parameters' size have it."""
        shapes = {f"{when}.{n}": p.shape for n, p in learner.parameters.items() for when in ("now", "kept")}
        for i, p in enumerate(learner.parameters.values()):
            shapes |= {f"adam.{i}.{n}": p.shape for n in ("exp_avg", "exp_avg_sq") if f"adam.{i}.step" in tensors}
        if other := [name for name, shape in shapes.items() if name not in tensors or tensors[name].shape != shape]:
            raise self._another(f"in which {other[0]} has another shape")

    def _another(self, how: str) -> ValueError:
        return ValueError(
            f"checkpoint={str(self.file)!r} is of another training, {how}; give another file, or delete this one"
        )
