"""What an effect study is about, as its command line and its hash have it."""

from __future__ import annotations

from dataclasses import dataclass

from odesteer_tl._check import require_one_of


@dataclass(frozen=True)
class EffectSettings:
    """What is steered, on what, and who judges.

    Args:
        outcome: "grammar" (the organism's exact judge) or "endings" (happy against sad endings of a story).
        select, test: prompts to choose on and to report on.
        passage: over which tokens budgets are counted: "prompt" (its last one), or "text" (on average over those from
            which the first eight of the prompt's unsteered continuation were drawn: dearer, and the only fair way for
            methods that do not act on every token).
        highest: radians; the largest strength tried when a budget is matched.

    Raises:
        ValueError: an unknown passage.
    """

    model: str = "organism"
    contrast: str = "valence"
    outcome: str = "grammar"
    pairs: int = 600
    select: int = 100
    test: int = 250
    temperature: float = 0.7
    max_new_tokens: int = 25
    passage: str = "prompt"
    highest: float = 1.2
    seed: int = 0
    threads: int = 1

    def __post_init__(self) -> None:
        require_one_of("passage", self.passage, ("prompt", "text"))
