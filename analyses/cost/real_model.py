"""What a real model costs here, beside the same weights in transformers with a hook of ten lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from time import process_time
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

import odesteer_tl as ode
from analyses.cost.material import Row, row
from analyses.cost.timing import interleaved
from odesteer_tl.checkpoints import checkpoint

LAYER, NEW, PUSH = 15, 64, 2.0
OPENINGS = ("The weather in the north of the country", "My grandmother used to tell a story about", "In the year 1900",
            "The most important thing to know about bread is")  # fmt: skip
PROMPTS = [f"{opening}{end}" for opening in OPENINGS for end in (",", " and", " when", ":")]
seconds = partial(interleaved, rounds=5, clock=process_time)


def real_model_rows() -> Iterator[Row]:
    """SmolLM2, 135 M parameters and 30 layers: loading, generating 16 × 64 tokens greedily, and collecting."""
    path = checkpoint("smollm2", torch.float32)
    plain: Any = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    tokenizer: Any = AutoTokenizer.from_pretrained(path, padding_side="left")
    model = ode.load_model("smollm2")
    batch = tokenizer(PROMPTS, return_tensors="pt", padding=True)
    vector = torch.randn(int(model.cfg.d_model), generator=torch.Generator().manual_seed(0))
    field = ode.ConstantField(vector)
    steerer = ode.Steerer(field, ode.Flow(T=PUSH, steps=1, solver="euler"), LAYER)
    texts: dict[str, Any] = {
        "temperature": 0.0, "max_new_tokens": NEW, "prepend_bos": False, "completions_only": True,
    }  # fmt: skip

    @torch.no_grad()
    def theirs(steered: bool) -> list[str]:
        length = batch["input_ids"].shape[1]

        def hook(module: Any, args: Any, output: Tensor) -> Tensor:
            x = output.clone()
            x[:, -1:] += PUSH * vector / vector.norm()  # under a cache: the last prompt token and each generated one
            return x

        handle = plain.model.layers[LAYER].register_forward_hook(hook) if steered else None
        tokens = plain.generate(**batch, max_new_tokens=NEW, do_sample=False)
        if handle is not None:
            handle.remove()
        return tokenizer.batch_decode(tokens[:, length:], skip_special_tokens=True)

    assert ode.generate(model, PROMPTS, **texts) == theirs(False), "both must write the same texts"
    assert steerer.generate(model, PROMPTS, **texts) == theirs(True), "both must write the same texts"
    yield _row("unsteered", "≤ 1.02×", lambda: ode.generate(model, PROMPTS, **texts), lambda: theirs(False))
    yield _row("steered", "≤ 1.02×", lambda: steerer.generate(model, PROMPTS, **texts), lambda: theirs(True))

    contrast = ode.ContrastSet.from_texts(PROMPTS[:8], PROMPTS[8:])
    right = tokenizer(PROMPTS, return_tensors="pt", padding=True, padding_side="right")

    @torch.no_grad()
    def states() -> Any:
        return plain(**right, output_hidden_states=True)

    for layers, target in (([LAYER], "≤ 0.6×"), ("all", "≤ 1.1×")):
        ours = lambda layers=layers: ode.collect_activations(model, contrast, layers, prepend_bos=False)  # noqa: E731
        what = "collecting one layer" if layers != "all" else "collecting all layers"
        yield row(f"{what} of SmolLM2 against output_hidden_states, 16 texts", target, *seconds(ours, states))

    def loaded() -> Any:
        return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32), AutoTokenizer.from_pretrained(path)

    for what, call in (("load_model", lambda: ode.load_model("smollm2")),
                       ("PlainModel.from_pretrained", lambda: ode.PlainModel.from_pretrained("smollm2"))):  # fmt: skip
        yield row(f"{what}('smollm2') against from_pretrained", "≤ 1.2×", *seconds(call, loaded))


def _row(what: str, target: str, ours: Callable[[], Any], theirs: Callable[[], Any]) -> Row:
    return row(f"generating 16 × 64 tokens with SmolLM2, {what}, against transformers", target, *seconds(ours, theirs))
