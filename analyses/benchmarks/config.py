"""What every benchmark of a steered model is told, and how it is run, saved and set beside published figures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Annotated

import pandas as pd
from tyro.conf import arg

import odesteer_tl as ode
from analyses.benchmarks.presets import Preset, Sampling, Unit, preset
from analyses.benchmarks.published import published
from analyses.options import ANGLES, COUNT, FINITE, LAYERS, Out, Seed, Within
from odesteer_tl._words import require_one_of

if TYPE_CHECKING:  # what needs the model's libraries is imported once the command line is read
    from transformer_lens.model_bridge import TransformerBridge

    from analyses.benchmarks.study import BenchmarkResult, Settings
    from analyses.benchmarks.task import Task

ChosenLayers = Annotated[
    tuple[int, ...] | None,
    arg(name="layer", help="0-based blocks, chosen from on validation units; left out, the preset's, or all"),
    LAYERS,
    FINITE,
]

ChosenAngles = Annotated[
    tuple[float, ...] | None,
    arg(
        name="angle",
        help="radians of the activation's own norm, chosen from on validation units; left out, the preset's strengths, "
        "or 0.1 0.2 0.4",
    ),
    ANGLES,
    FINITE,
]


def require_device(device: str | None) -> None:
    """Raise `ValueError` unless torch has a kind of device of this name; None is the fastest that there is."""
    if device is None:
        return
    import torch  # which `--help` does without

    try:
        torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device={device!r} is none; give cpu, cuda, cuda:0 or mps, or leave it out") from error


@dataclass(frozen=True)
class Common(ABC):
    """What every benchmark of a steered model is told."""

    data: str
    """file, folder or hub name"""
    out: Out
    model: str | None = None
    """hub name or directory; left out, the preset's own"""
    preset: str | None = None
    """odesteer-falcon-7b, -mistral-7b, -llama3.1-8b or -qwen2.5-7b: layer, strengths and sampling as published"""
    revision: str | None = None
    """of the data, if they are on the hub"""
    limit: Annotated[int | None, COUNT] = None
    """the first (or a sample of) so many units; left out, all"""
    methods: tuple[str, ...] = ("odesteer", "caa", "random")
    """names in METHODS that are compared with the unsteered model"""
    layers: ChosenLayers = None
    angle: ChosenAngles = None
    strengths: Annotated[tuple[float, ...] | None, FINITE] = None
    """in the place of angles: in `unit`, chosen from on validation units"""
    unit: Unit | None = None
    """of `strengths`: T (length of the path), relative (that, as a share of the fitting data's median norm) or angle;
    left out, T with a preset and angle without"""
    validation: Annotated[float, Within(0, 1, above=True)] = 0.2
    """share of a training fold that layer and strength are chosen on"""
    dtype: str = "float32"
    """of the model's weights"""
    device: str | None = None
    """of the model; left out, the fastest there is"""
    seed: Seed = 0
    sampling: Sampling = field(default_factory=Sampling)
    """of texts that are generated"""

    @abstractmethod
    def task(self, model: TransformerBridge) -> Task:
        """The benchmark, with its data and judges."""

    def published_strengths(self, known: Preset) -> tuple[float, ...]:
        """A preset's strengths for this benchmark."""
        return known.strengths

    def check(self) -> None:
        """Refuse what cannot be done, before a model is loaded.

        Raises:
            ValueError: what is wrong, by argument, value and remedy.
        """
        if self.model is None and self.preset is None:
            raise ValueError("model and preset are both missing; name one")
        if self.preset is not None:
            preset(self.preset)
        if not self.methods:
            raise ValueError("methods is empty; give at least one")
        for name in self.methods:
            require_one_of("methods", name, ode.METHODS)
        require_device(self.device)
        if self.angle is not None and (self.strengths is not None or self.unit not in (None, "angle")):
            raise ValueError(f"angle={self.angle} and strengths={self.strengths}, unit={self.unit!r}: give one of them")

    def load_model(self) -> TransformerBridge:
        """The model named, or the preset's own; `check` has seen that there is one."""
        name = self.model if self.model is not None else preset(str(self.preset)).model
        return ode.load_model(name, dtype=self.dtype, device=self.device)

    def settings(self, model: TransformerBridge) -> Settings:
        """What is compared; anything said on the command line goes before the preset."""
        from analyses.benchmarks.study import Settings

        chosen = Settings(self.methods, tuple(range(int(model.cfg.n_layers))), (0.1, 0.2, 0.4),
                          validation=self.validation, seed=self.seed)  # fmt: skip
        if self.preset is not None:
            known = preset(self.preset)
            chosen = replace(chosen, layers=(known.layer,), strengths=self.published_strengths(known), unit="T",
                             folds=known.folds)  # fmt: skip
        strengths, unit = (self.strengths, self.unit) if self.angle is None else (self.angle, "angle")
        said = {"layers": self.layers, "strengths": strengths, "unit": unit}
        return replace(chosen, **{name: value for name, value in said.items() if value is not None})

    def beside(self, model: TransformerBridge, task: str) -> pd.DataFrame:
        """Published figures, where this is the preset's own model on all of the data; else none."""
        own = self.preset is not None and preset(self.preset).describes(ode.ModelIdentity.of(model))
        return published(str(self.preset) if own and self.limit is None else "", task)

    def run(self) -> BenchmarkResult:
        """Run, save and return."""
        self.check()
        from analyses.benchmarks.study import run_benchmark

        model = self.load_model()
        task = self.task(model)
        result = run_benchmark(task, model, self.settings(model))
        beside = self.beside(model, task.name)
        run = {**result.run, "config": asdict(self), "published": beside.to_dict("records")}
        result = replace(result, run=run)
        result.save(self.out)
        print(result)
        if len(beside):
            print(f"\nPublished, same model:\n{beside.to_markdown(index=False)}")
        return result
