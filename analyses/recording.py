"""What a steerer did while a model generated: every path it solved, recorded in the hook, never in a second pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

import odesteer_tl as ode
from odesteer_tl.generation import decode, generate_tokens
from odesteer_tl.hooks import HookFn


@dataclass(frozen=True)
class Recording:
    """Paths of every steered token, prompt by prompt.

    Attributes:
        points: all points of every path, in the dtype that was integrated in.
        prompt: which prompt a path belongs to.
        token: position behind the prompt; −1 is the prompt's last token, 0 the first generated one.
        texts: prompt and continuation.
    """

    points: Float[Tensor, "steps_plus_1 n d"]
    prompt: Int[Tensor, " n"]
    token: Int[Tensor, " n"]
    texts: list[str]

    def at_prompt_end(self) -> Float[Tensor, "steps_plus_1 prompts d"]:
        """The path of each prompt's last token, in order."""
        return self.points[:, self.token == -1]


def record(model: TransformerBridge, steerer: ode.Steerer, prompts: Sequence[str], **settings: Any) -> Recording:
    """Generate with `steerer` and keep every path; tokens behind a text's end are left out.

    Args:
        settings: of `odesteer_tl.generate`, without `completions_only`.
    """
    steerer.check(model)
    seen: list[list[tuple[Tensor, Tensor]]] = []

    def hooks_for(length: int) -> list[tuple[str, HookFn]]:
        calls: list[tuple[Tensor, Tensor]] = []
        seen.append(calls)

        def observe(path: ode.Path, positions: Tensor) -> None:
            assert path.points is not None
            calls.append((path.points, positions))

        return steerer.hooks(length, observe)

    batches = generate_tokens(model, prompts, hooks_for, **settings)
    points: list[Tensor] = []
    where: list[tuple[int, int]] = []
    texts: list[str] = []
    for calls, batch in zip(seen, batches, strict=True):
        for path, positions in calls:
            for column, position in enumerate(positions.tolist()):
                # the token at `position` is the text's own unless the text ended before it, or begins behind it
                steered = path[0, :, column].isfinite().all(-1).tolist()
                rows = [row for row, end in enumerate(batch.ends) if position < end and steered[row]]
                points.append(path[:, rows, column])
                where += [(len(texts) + row, position - batch.prompt_length) for row in rows]
        texts += decode(model, batch)
    prompt, token = torch.tensor(where).unbind(1)
    order = (prompt * (int(token.max()) + 2) + token).argsort()
    return Recording(torch.cat(points, dim=1)[:, order], prompt[order], token[order], texts)
