"""Composition: several steerers on one model, in a stated order."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from odesteer_tl._display import Displayed
from odesteer_tl._folder import new_folder
from odesteer_tl._turn import turn
from odesteer_tl.abilities import require_precision
from odesteer_tl.chats import Prompt
from odesteer_tl.flow import Flow
from odesteer_tl.hooks import HookFn
from odesteer_tl.steerer import Steerer

if TYPE_CHECKING:
    from odesteer_tl.plain import AnyModel

FORMAT = 1


@dataclass(frozen=True, repr=False)
class Composition(Displayed):
    """Steerers that act together, each with its own layer, strength and position rule.

    On different layers, and on different sites of one layer, the model itself orders them. On one hook point they act
    in the order given: each starts where the one before it ended, so the order matters as soon as one of the fields
    depends on the activation. The same as nested `with` blocks, the first steerer outermost.

    Args:
        steerers: at least one; `compose` takes any sequence.
    """

    steerers: tuple[Steerer, ...]

    def __post_init__(self) -> None:
        if not self.steerers:
            raise ValueError("steerers is empty; pass at least one Steerer")

    def _facts(self) -> dict[str, object]:
        return {f"{i}, {steerer.hook_name}": steerer for i, steerer in enumerate(self.steerers)}

    def hooks(self, prompt_length: int | None = None) -> list[tuple[str, HookFn]]:
        """`[(hook_name, hook_fn), …]` of all members, in their order; to observe paths, use a member's own `hooks`.

        Args:
            prompt_length: length of the (padded) prompt in tokens, BOS included.

        Raises:
            ValueError: a member's rule needs the prompt length and is not given it.
        """
        return [pair for steerer in self.steerers for pair in steerer.hooks(prompt_length)]

    @contextmanager
    def on(self, model: AnyModel, prompt_length: int | None = None) -> Generator[AnyModel]:
        """Steer every call inside the block; leaving it, also by an exception, removes our hooks and only ours.

        Other threads that are to steer, generate from or collect from the model wait until the block is left.

        Raises:
            ValueError: a member cannot run on this model, or it is in training mode.
        """
        from odesteer_tl.models import hosted, model_name

        host = hosted(model)
        self.check(host)
        require_precision(host, model_name(host))
        with turn(host), host.hooks(fwd_hooks=self.hooks(prompt_length)):
            yield model

    def generate(self, model: AnyModel, prompts: Iterable[Prompt], **settings: Any) -> list[str]:
        """Steered continuations of texts or chats; `settings` are those of `odesteer_tl.generate`."""
        from odesteer_tl.generation import generate

        self.check(model)
        return generate(model, prompts, self.hooks, **settings)

    def check(self, model: AnyModel) -> None:
        """Raise `ValueError` unless every member can run on `model`."""
        for steerer in self.steerers:
            steerer.check(model)

    def at(self, flow: Flow) -> Composition:
        """A copy whose members all have another strength or integrator; nothing is fitted again."""
        return Composition(tuple(steerer.at(flow) for steerer in self.steerers))

    def save(self, path: str | Path) -> None:
        """Write a directory `composition.json` + one saved steerer a member, `0`, `1`, …; all of it or nothing.

        Raises:
            ValueError: the path exists (nothing is overwritten), or a member cannot be saved.
        """
        with new_folder(path) as part:
            for i, steerer in enumerate(self.steerers):
                steerer.save(part / str(i))
            content = {"format": FORMAT, "n_steerers": len(self.steerers)}
            (part / "composition.json").write_text(json.dumps(content, indent=2))

    @classmethod
    def load(cls, path: str | Path) -> Composition:
        """Read what `save` wrote.

        Raises:
            ValueError: the directory or a member is missing, truncated, altered, or of another format.
        """
        path = Path(path)
        try:
            content = json.loads((path / "composition.json").read_text())
            if content["format"] != FORMAT:
                raise ValueError(f"format {content['format']} is not {FORMAT}; use the version that wrote it")
            return compose([Steerer.load(path / str(i)) for i in range(content["n_steerers"])])
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"path={str(path)!r} is not a readable composition: {error}; save it again") from error


def compose(steerers: Sequence[Steerer]) -> Composition:
    """The steerers acting together; on one layer in the order given.

    Args:
        steerers: at least one.

    Returns:
        One thing with the `hooks`, `on`, `generate`, `save` and `load` of a steerer.

    Raises:
        ValueError: there are none.
    """
    return Composition(tuple(steerers))
