"""What a method costs: tokens and time of its fit, and processor time a token that it steers."""

from __future__ import annotations

import statistics
import time
from dataclasses import asdict
from typing import Any

import torch

from analyses.effects.measures import Seen
from analyses.effects.writing import looks_back, show
from odesteer_tl.plain import hooked

#: prompts of a timed step, steps thrown away, and steps timed
ROWS, WARM, TIMED = 16, 1, 7


def expense(seen: Seen) -> dict[str, Any]:
    """`data_tokens`, `read_tokens` and `fit_seconds` of the fit (see `Expense`), and `token_cost`.

    `token_cost` is the processor time of a steered token over that of an unsteered one, the median of steps taken in
    turn at one batch; it is this machine's. All are the same in all rows of a cell.
    """
    spent = asdict(seen.steer.fits.expense(seen.steer.arm))
    return {**spent, "fit_seconds": spent.pop("seconds"), "token_cost": token_cost(seen)}


@torch.no_grad()
def token_cost(seen: Seen) -> float:
    """How much longer a token takes when it is steered."""
    rows = list(range(min(ROWS, len(seen.states.prompt.tokens))))
    prompt = seen.states.prompt.rows(rows)
    steering = seen.steer.steerer_for(rows)
    hooks = steering.hooks(prompt.tokens.shape[1])
    if looks_back(steering):
        show(prompt, hooks)
    sides = [(prompt.decoder(), hooks), (prompt.decoder(), [])]
    ratios: list[float] = []
    for _ in range(WARM + TIMED):
        took: list[float] = []
        for decoder, own in sides:
            with hooked(prompt.model, own):
                start = time.process_time()
                decoder.step(prompt.tokens[:, -1:])
                took.append(time.process_time() - start)
        ratios.append(took[0] / took[1])
    return statistics.median(ratios[WARM:])
