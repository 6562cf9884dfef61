"""What steering costs where the model is on an accelerator, whose passes take far less than the steer's Python does."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

import odesteer_tl as ode
from analyses.cost.material import Row, classes, row
from analyses.cost.published_form import published_euler
from analyses.cost.real_model import LAYER, NEW, OPENINGS
from analyses.cost.timing import interleaved

METHODS = ("caa", "odesteer", "odesteer_kernel")
ENDS = {"positive": ("it was wonderful", "I loved it", "a joy to see", "simply great"),
        "negative": ("it was terrible", "I hated it", "a bore to see", "simply bad")}  # fmt: skip


def accelerator_rows() -> Iterator[Row]:
    """SmolLM2 in float32 and bfloat16, steered against not; and a steering call against the published form.

    Nothing where torch finds no accelerator.
    """
    if not torch.accelerator.is_available():
        return
    device = torch.accelerator.current_accelerator()
    assert device is not None
    yield from _calls(device)
    for dtype in ("float32", "bfloat16"):
        yield from _texts(device, dtype)


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
            yield row(f"steering call, d = {d}, batch {batch}, {_name(device)}", "", *times)


def _texts(device: torch.device, dtype: str) -> Iterator[Row]:
    model = ode.load_model("smollm2", dtype=dtype, device=str(device))
    contrast = ode.ContrastSet.from_texts(
        *([f"{opening}: {end}" for opening in OPENINGS for end in ends] for ends in ENDS.values())
    )
    told: dict[str, Any] = {"max_new_tokens": NEW, "do_sample": False, "verbose": False, "stop_at_eos": False,
                            "return_type": "tokens"}  # fmt: skip
    for batch in (16, 256):
        tokens = torch.randint(100, 20_000, (batch, 32), generator=torch.Generator().manual_seed(0)).to(device)
        plain = partial(model.generate, tokens, attention_mask=torch.ones_like(tokens), **told)
        for name in METHODS:
            steerer = ode.fit(name, model, contrast, layer=LAYER, angle=0.2)

            def steered(steerer: ode.Steerer = steerer, plain: partial[Any] = plain, length: int = 32) -> None:
                with steerer.on(model, prompt_length=length):
                    plain()

            what = f"generating {batch} × {NEW} tokens with SmolLM2 in {dtype}, {name}, steered against not"
            yield row(f"{what}, {_name(device)}", "", *interleaved(steered, plain, rounds=3))


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
