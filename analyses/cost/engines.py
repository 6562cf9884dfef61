"""Engines side by side: the same steered texts from vLLM, a bridge and the plain transformers model."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import torch

import odesteer_tl as ode
from analyses.cost.real_model import LAYER, NEW, PROMPTS
from analyses.cost.serving import ServingCostConfig
from analyses.cost.writers import ENGINE, WRITERS
from analyses.runs import save_run
from odesteer_tl.checkpoints import checkpoint


def steerers() -> dict[str, ode.Steerer]:
    """A constant vector, and the kernel barrier's flow in one and in ten geodesic steps."""
    generator = torch.Generator().manual_seed(0)
    vector = torch.randn(576, generator=generator)
    positive, negative = (torch.randn(64, 576, generator=generator) + s * vector / 8 for s in (0.5, -0.5))
    field = ode.BarrierField(ode.KernelBarrier(gamma=1.0, C=1.0).fit(positive, negative))
    constant = ode.Steerer(ode.ConstantField(vector), ode.Flow(T=2.0, steps=1, solver="euler"), LAYER)
    return {
        "constant vector": constant,
        "kernel, one step": ode.Steerer(field, ode.Flow(angle=0.1, steps=1), LAYER),
        "kernel, ten steps": ode.Steerer(field, ode.Flow(angle=0.1, steps=10), LAYER),
    }


class Writer:
    """One of `WRITERS` in a process of its own."""

    def __init__(self, name: str, python: str, folder: Path) -> None:
        env = {**os.environ, **ENGINE, "PYTHONPATH": str(Path.cwd())}
        command = [
            python,
            "-c",
            "import sys; from analyses.cost.writers import main; main(*sys.argv[1:])",
            name,
            str(folder),
        ]
        self.process = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.answer()  # it has loaded

    def answer(self) -> dict[str, Any]:
        """The next answer; what libraries print before it is not for us."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("answer "):
                return json.loads(line.removeprefix("answer "))
        raise RuntimeError(f"{self.process.args} ended with {self.process.wait()}")

    def write(self, what: str) -> dict[str, Any]:
        """Seconds and tokens of all prompts under a steerer."""
        assert self.process.stdin is not None
        print(what, file=self.process.stdin, flush=True)
        return self.answer()


def measured(writers: dict[str, Writer], rounds: int) -> pd.DataFrame:
    """One row a steerer and writer: medians of rounds run in turn, after one that is not counted."""
    lines: list[dict[str, Any]] = []
    for what in ("unsteered", *steerers()):
        found = [{name: writer.write(what) for name, writer in writers.items()} for _ in range(rounds + 1)]
        seconds = {name: statistics.median(x[name]["seconds"] for x in found[1:]) for name in writers}
        texts = {name: found[0][name]["tokens"] for name in writers}
        same = all(x == texts["bridge"] for x in texts.values())
        n = sum(map(len, texts["bridge"]))
        for name in writers:
            lines.append({
                "steerer": what, "writer": name, "seconds": seconds[name], "tokens": n, "same texts": same,
                "tokens a second": n / seconds[name], "against the bridge": seconds["bridge"] / seconds[name],
                "rounds": rounds,
            })  # fmt: skip
    return pd.DataFrame(lines)


def run(config: ServingCostConfig) -> None:
    """Save and print the table.

    Raises:
        ValueError: the engine's environment is not there.
    """
    if not config.engine.is_file():
        raise ValueError(f"engine={str(config.engine)!r} is not there; `make test-vllm` makes its environment")
    with TemporaryDirectory() as part:
        folder = Path(part)
        for name, steerer in steerers().items():
            steerer.save(folder / name)
        model = ode.load_model("smollm2")
        rows = [model.to_tokens(text)[0].tolist() for text in PROMPTS]
        told = {"model": checkpoint("smollm2", torch.float32), "prompts": PROMPTS, "rows": rows, "layer": LAYER,
                "new": NEW, "end": model.tokenizer.eos_token_id}  # fmt: skip
        (folder / "told.json").write_text(json.dumps(told))
        del model
        python = {name: str(config.engine.absolute()) if name == "vLLM" else sys.executable for name in WRITERS}
        writers = {name: Writer(name, python[name], folder) for name in WRITERS}
        try:
            table = measured(writers, config.rounds)
        finally:
            for writer in writers.values():
                writer.process.kill()
    save_run(config.out, {"serving": table}, {"rounds": config.rounds})
    print(table.to_markdown(index=False, floatfmt=".2f"))
