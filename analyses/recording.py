"""What a steerer did while a model generated: every path it solved, recorded in the hook, never in a second pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

import odesteer_tl as ode
from analyses.effects.writing import Written, write_batch
from analyses.prompted import Prompted

T = TypeVar("T")


@dataclass(frozen=True)
class Drawing:
    """How texts are sampled (`effects.sampling.Sampling`), with nothing measured beside them."""

    max_new_tokens: int = 20
    temperature: float = 1.0
    seed: int = 0
    measures: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Recording:
    """Paths of every steered token, prompt by prompt.

    Attributes:
        points: all points of every path, in the dtype that was integrated in.
        prompt: which prompt a path belongs to.
        token: position behind the prompt; −1 is the prompt's last token, 0 the first generated one.
        written: the texts.
    """

    points: Float[Tensor, "steps_plus_1 n d"]
    prompt: Int[Tensor, " n"]
    token: Int[Tensor, " n"]
    written: tuple[Written, ...]

    @property
    def texts(self) -> list[str]:
        """Prompt and continuation."""
        return [text for part in self.written for text in part.texts]

    @classmethod
    def joined(cls, parts: Sequence[Recording]) -> Recording:
        """Of all batches."""
        prompt, token = (torch.cat([getattr(part, name) for part in parts]) for name in ("prompt", "token"))
        written = tuple(text for part in parts for text in part.written)
        return cls(torch.cat([part.points for part in parts], dim=1), prompt, token, written)

    def ends(self) -> Recording:
        """The ends of every path alone."""
        return replace(self, points=self.points[[0, -1]])


def recorded(
    prompted: Prompted,
    steerer: ode.Steerer,
    drawing: Drawing,
    then: Callable[[Recording], T],
    compared: bool = False,
) -> list[T]:
    """What `then` makes of each batch's recording, which is let go before the next one is written.

    The tokens are those of `odesteer_tl.generate` in batches of this size, draw for draw.

    Args:
        compared: as `write_batch` takes it.
    """
    steerer.check(prompted.model)
    made: list[T] = []
    with torch.random.fork_rng():
        torch.manual_seed(drawing.seed)
        for first, prefix in prompted:
            paths: list[Tensor] = []

            def observe(path: ode.Path, positions: Tensor, found: list[Tensor] = paths) -> None:
                assert path.points is not None
                found.append(path.points[:, :, 0].cpu())

            hooks = steerer.hooks(prefix.tokens.shape[1], observe)
            written = write_batch(prefix, hooks, steerer.layer, drawing, compared)
            prompt, token = places(written, len(paths))
            # [steps + 1, n, tokens, d]: the prompt's last token, and every written one that was passed on
            points = torch.stack(paths, dim=2)[:, prompt, token + 1]
            made.append(then(Recording(points, prompt + first, token, (written,))))
    return made


def places(written: Written, columns: int) -> tuple[Int[Tensor, " n"], Int[Tensor, " n"]]:
    """Prompt and token of every state a text came from: the prompt's last (−1) and what was written but the last."""
    first = torch.ones(len(written.texts), 1, dtype=torch.bool)
    prompt, column = torch.cat([first, written.kept[:, : columns - 1]], dim=1).nonzero().unbind(1)
    return prompt, column - 1


@dataclass(frozen=True, eq=False)
class Unsteered:
    """The unsteered model's own texts, written once, with the states they came from at several layers.

    Attributes:
        states: resid_post by layer of the prompts' last tokens and of every token written but the last.
        prompt, token: of each state, as in `Recording`.
        written: the texts.
    """

    states: dict[int, Float[Tensor, "n d"]]
    prompt: Int[Tensor, " n"]
    token: Int[Tensor, " n"]
    written: tuple[Written, ...]

    @classmethod
    def of(cls, prompted: Prompted, layers: Sequence[int], drawing: Drawing) -> Unsteered:
        """Write behind every prompt and read the states off one pass over what was written."""
        states: dict[int, list[Tensor]] = {layer: [] for layer in layers}
        at: list[tuple[Tensor, Tensor]] = []
        texts: list[Written] = []
        with torch.random.fork_rng():
            torch.manual_seed(drawing.seed)
            for first, prefix in prompted:
                written = write_batch(prefix, [], -1, drawing)
                columns = int(written.kept.any(0).sum()) + 1
                columns = min(columns, written.tokens.shape[1])
                behind = written.tokens[:, : columns - 1]
                whole = prefix.followed_by(behind, torch.ones_like(behind)) if columns > 1 else prefix
                prompt, token = places(written, columns)
                for layer in layers:
                    states[layer].append(whole.residuals[layer][prompt, token + 1].cpu())
                at.append((prompt + first, token))
                texts.append(written)
        prompt, token = (torch.cat(x) for x in zip(*at, strict=True))
        return cls({layer: torch.cat(x) for layer, x in states.items()}, prompt, token, tuple(texts))

    @property
    def texts(self) -> list[str]:
        """Prompt and continuation."""
        return [text for part in self.written for text in part.texts]

    def blocks(self, size: int) -> list[slice]:
        """All states, whole prompts together, about `size` at a time."""
        ends = torch.nonzero(self.prompt.diff()).squeeze(1) + 1
        cuts, start = [0], 0
        for end in [*ends.tolist(), len(self.prompt)]:
            if end - start >= size:
                cuts.append(end)
                start = end
        if cuts[-1] != len(self.prompt):
            cuts.append(len(self.prompt))
        return [slice(a, b) for a, b in pairwise(cuts)]
