"""The third stage: the prompts as the model has them before anything is steered."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from transformer_lens.model_bridge import TransformerBridge

import odesteer_tl as ode
from analyses.effects.next_token import NextToken
from analyses.effects.passage import Passage
from analyses.effects.settings import EffectSettings
from analyses.effects.writing import Written, left_padded, write


class Unsteered:
    """Prompts, up to their last token, along their passage and with the text behind them.

    Args:
        settings: of the passage and the sampling.
    """

    def __init__(self, model: TransformerBridge, prompts: Sequence[str], settings: EffectSettings) -> None:
        self.model, self.prompts, self.settings = model, tuple(prompts), settings
        tokens, mask = left_padded(model, prompts)
        #: up to the last token, from whose keys and values texts are written and completions scored
        self.prompt = ode.collect_prefix(model, tokens, mask, start=-1)

    @cached_property
    def whole(self) -> ode.Prefix:
        """The prompts with all their positions, for steering everywhere."""
        return ode.collect_prefix(self.model, self.prompt.tokens, self.prompt.attention_mask)

    @cached_property
    def neutral(self) -> NextToken:
        """Next-token distributions at every position of the prompts, which say nothing of the concept."""
        return NextToken(self.model, self.whole.residuals[-1])

    @cached_property
    def last(self) -> NextToken:
        """The next-token distributions behind the prompts."""
        return NextToken(self.model, self.prompt.residuals[-1])

    @cached_property
    def text(self) -> Written:
        """What is written without steering."""
        return write(self.prompt, None, self.settings)

    @cached_property
    def passage(self) -> Passage:
        """The tokens over which budgets are counted."""
        if self.settings.passage == "text":
            return Passage.unsteered_text(self.prompt, self.text, self.settings.seed)
        return Passage.last_token(self.prompt)
