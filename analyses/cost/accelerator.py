"""What steering costs on an accelerator, where a model's pass takes no longer than the Python around it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

import odesteer_tl as ode
from analyses.cost.material import Row, classes, gpt2_small, row
from analyses.cost.published_form import published_euler
from analyses.cost.timing import interleaved

PROMPT, NEW, LAYER = 32, 32, 6


def accelerator_rows() -> Iterator[Row]:
    """A steering call against the published form; and GPT-2-small in float32 and bfloat16, steered against not.

    Nothing where torch finds no accelerator.
    """
    if torch.accelerator.is_available():
        device = torch.accelerator.current_accelerator()
        assert device is not None
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
        for line in (*_calls(device), *_texts(device, "float32"), *_texts(device, "bfloat16")):
            yield {**line, "what": f"{line['what']}, {name}"}


def _calls(device: torch.device) -> Iterator[Row]:
    for d in (768, 4096):
        sketch = ode.SketchBarrier().fit(*classes(500, d))
        field, flow = ode.BarrierField(sketch), ode.Flow(angle=0.5, steps=10, solver="euler")
        for batch in (1, 256):
            a = 20 * torch.randn(batch, d, generator=torch.Generator().manual_seed(1)).to(device)
            T = 0.5 * a.norm(dim=-1, keepdim=True)
            theirs, ours = published_euler(sketch, a, T), flow.solve(field, a).end
            error = float((theirs - ours).norm() / ours.norm())
            assert error <= 1e-5, f"end points differ by {error:.1e}"
            times = interleaved(lambda: published_euler(sketch, a, T), lambda: flow.solve(field, a).end)  # noqa: B023
            yield row(f"steering call, d = {d}, batch {batch}", "", *times)


def _texts(device: torch.device, dtype: str) -> Iterator[Row]:
    model = gpt2_small(dtype)
    barriers = {"sketch": ode.SketchBarrier(), "kernel": ode.KernelBarrier(C=10.0)}
    fields = {name: ode.BarrierField(barrier.fit(*classes(500, 768))) for name, barrier in barriers.items()}
    told: dict[str, Any] = {"max_new_tokens": NEW, "do_sample": False, "verbose": False, "stop_at_eos": False,
                            "return_type": "tokens"}  # fmt: skip
    for batch in (16, 256):
        tokens = torch.randint(5, 180, (batch, PROMPT), generator=torch.Generator().manual_seed(0)).to(device)
        plain = partial(model.generate, tokens, attention_mask=torch.ones_like(tokens), **told)
        for name, field in fields.items():
            steerer = ode.Steerer(field, ode.Flow(angle=0.3), layer=LAYER)

            def steered(steerer: ode.Steerer = steerer, plain: partial[Any] = plain) -> None:
                with steerer.on(model, prompt_length=PROMPT):
                    plain()

            what = f"generation, 124 M in {dtype}, batch {batch}, {PROMPT} + {NEW} tokens, {name}, steered against not"
            yield row(what, "", *interleaved(steered, plain, rounds=3))
