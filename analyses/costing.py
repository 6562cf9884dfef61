"""What a study of one model will cost before it starts: forward tokens, certified steps, and both rates here."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import torch

import odesteer_tl as ode
from analyses.prompted import Prompted

#: passes over which the token rate is taken, and prompts of each
TIMED, ROWS = 2, 16


@dataclass(frozen=True)
class Cost:
    """Of what is left of a study.

    Attributes:
        what: of what so many are left.
        tokens: forward tokens, a token that runs through half of the blocks counted half.
        rate: tokens a second, measured here.
        other: seconds of everything that is no forward pass.
        workers: that share the layers.
    """

    what: str
    tokens: float
    rate: float
    other: float
    workers: int

    @property
    def seconds(self) -> float:
        """Of the clock, if the workers have a core each."""
        return (self.tokens / self.rate + self.other) / self.workers

    def __str__(self) -> str:
        where = "" if self.workers == 1 else f" in {self.workers} processes"
        return (
            f"{self.what}, about {rounded(self.tokens):,} forward tokens: {duration(self.seconds)} here{where} "
            f"({self.rate:.0f} tokens a second measured)"
        )


def rounded(tokens: float) -> int:
    """To two digits: an estimate is no more than that."""
    digits = max(0, math.floor(math.log10(max(tokens, 1))) - 1)
    return int(round(tokens, -digits))


def duration(seconds: float) -> str:
    """About so long, in the unit in which one would say it."""
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    return f"about {round(seconds / 60)} min" if seconds < 5400 else f"about {seconds / 3600:.1f} h"


def token_rate(prompted: Prompted) -> float:
    """Tokens a second of a pass of a token a prompt."""
    return pass_rate(next(iter(prompted))[1], ROWS)


def pass_rate(prefix: ode.Prefix, rows: int) -> float:
    """The same of a prefix, over so many of its rows at most."""
    some = prefix.rows(list(range(min(rows, len(prefix.tokens)))))
    decoder, token = some.decoder(), some.tokens[:, -1:]
    decoder.step(token)
    start = time.perf_counter()
    for _ in range(TIMED):
        decoder.step(token)
    return TIMED * len(token) / (time.perf_counter() - start)


def reading_rate(model: ode.plain.Model, texts: list[str]) -> float:
    """Tokens a second of passes over whole texts, `ROWS` of them together."""
    some = texts[:: max(1, len(texts) // ROWS)][:ROWS]
    next(iter(Prompted(model, some[:2])))  # the first pass takes longer
    prompted, start = Prompted(model, some), time.perf_counter()
    next(iter(prompted))
    return prompted.n_tokens / (time.perf_counter() - start)


def text_tokens(model: ode.plain.Model, texts: list[str]) -> float:
    """Tokens of all texts, from some of them."""
    some = texts[:: max(1, len(texts) // 50)]
    return len(texts) * sum(model.to_tokens(text).shape[1] for text in some) / len(some)


def step_seconds(d_model: int, steps: int = 10, paths: int = 32) -> float:
    """Seconds to certify one step of one path at this width, measured on a planted barrier."""
    draw = torch.Generator().manual_seed(0)
    basis = torch.randn(d_model, d_model, generator=draw, dtype=torch.float64) / d_model
    barrier = ode.QuadraticBarrier(basis + basis.mT, torch.randn(d_model, generator=draw, dtype=torch.float64))
    a = torch.randn(paths, d_model, generator=draw, dtype=torch.float64)
    flow, field = ode.Flow(angle=0.5, steps=steps), ode.BarrierField(barrier)
    ode.certify_path(barrier, flow.solve(field, a, record=True))
    start = time.perf_counter()
    ode.certify_path(barrier, flow.solve(field, a, record=True))
    return (time.perf_counter() - start) / (steps * paths)
