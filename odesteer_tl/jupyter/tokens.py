"""Tokens coloured by the calibrated barrier: where in a text h is high, and what steering made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Any

import matplotlib
import pandas as pd
import torch
from jaxtyping import Float, Int
from matplotlib.colors import to_hex
from torch import Tensor

from odesteer_tl._tokens import text_tokens
from odesteer_tl.barriers import Barrier
from odesteer_tl.chats import Prompt, Prompts
from odesteer_tl.generation import generate_tokens
from odesteer_tl.hooks import HookFn, HooksFor
from odesteer_tl.plain import Model
from odesteer_tl.steerer import Steerer

#: from dark to bright with h: told apart in grey and by every kind of colour vision
COLORMAP = "cividis"
SWATCHES = 7
#: the luminance on which black and white stand out equally
EQUAL_CONTRAST = 0.179
TOKEN = "padding: 1px 2px; margin: 0 1px; border-radius: 2px; display: inline-block; white-space: pre"


@dataclass(frozen=True)
class TokenRow:
    """One text at one moment.

    Attributes:
        prompt: index of the prompt.
        label: "unsteered", or "steered, before the hook" and "steered, after the hook".
        tokens: the text, token by token.
        h: the calibrated barrier at each, nats.
        generated_from: index of the first generated token.
    """

    prompt: int
    label: str
    tokens: tuple[str, ...]
    h: tuple[float, ...]
    generated_from: int


@dataclass(frozen=True, repr=False)
class ColoredTokens:
    """Texts whose tokens are shaded by calibrated h; Jupyter shows it, `frame()` gives the numbers.

    All rows share one scale, symmetric about 0: dark where h < 0, bright where h > 0. It is that of the unsteered rows,
    so that a strong steer does not make all else look alike; values beyond its ends have the colour of the end.

    Attributes:
        rows: three a prompt, each with its tokens and their calibrated h in nats.
    """

    rows: tuple[TokenRow, ...]

    @property
    def limit(self) -> float:
        """The end of the scale: the largest |h| in unsteered rows (nats); where there are none, in the first row."""
        rows = [row for row in self.rows if row.label == "unsteered"] or self.rows[:1]
        return max((abs(h) for row in rows for h in row.h), default=0.0) or 1.0

    def frame(self) -> pd.DataFrame:
        """One row a token: `prompt`, `label`, `position`, `token`, `h`, `generated`."""
        return pd.DataFrame(
            [
                {"prompt": row.prompt, "label": row.label, "position": i, "token": token, "h": h,
                 "generated": i >= row.generated_from}
                for row in self.rows for i, (token, h) in enumerate(zip(row.tokens, row.h, strict=True))
            ]
        )  # fmt: skip

    def __repr__(self) -> str:
        prompts = len({row.prompt for row in self.rows})
        return f"ColoredTokens({prompts} prompts, {len(self.rows)} rows, scale ±{self.limit:.3g} nats)"

    def _repr_html_(self) -> str:
        cell = "text-align: left; padding: 2px 8px; vertical-align: top"
        body = "".join(
            f'<tr><th scope="row" style="{cell}; white-space: nowrap; font-weight: normal">{escape(row.label)}</th>'
            f'<td style="{cell}; line-height: 1.9">{self._shaded(row)}</td></tr>'
            for row in self.rows
        )
        return f"<table>{self._legend()}<tbody>{body}</tbody></table>"

    def _shaded(self, row: TokenRow) -> str:
        spans: list[str] = []
        for i, (token, h) in enumerate(zip(row.tokens, row.h, strict=True)):
            line = "; border-bottom: 2px solid currentColor" if i >= row.generated_from else ""
            text = escape(token.strip(" ").replace("\n", "↵") or "␣")
            style = f"{TOKEN}; {_shade(h, self.limit)}{line}"
            spans.append(f'<span style="{style}" title="h = {h:+.2f} nats">{text}</span>')
        return "".join(spans)

    def _legend(self) -> str:
        values = [self.limit * (2 * k / (SWATCHES - 1) - 1) for k in range(SWATCHES)]
        bar = "".join(f'<span style="{TOKEN}; {_shade(x, self.limit)}">{x:+.1f}</span>' for x in values)
        words = "calibrated h in nats (log p₊/p₋): "
        unsteered = any(row.label == "unsteered" for row in self.rows)
        scale = f"scale of the {'unsteered text' if unsteered else 'first row'}; beyond it, the colour of its end"
        return (f'<caption style="text-align: left; caption-side: top">{words}{bar} '
                f"{scale}; underlined: generated</caption>")  # fmt: skip


@torch.no_grad()
def color_tokens(
    model: Model,
    steerer: Steerer,
    barrier: Barrier,
    prompts: Sequence[Prompt],
    *,
    max_new_tokens: int = 20,
    temperature: float = 1.0,
    seed: int = 0,
    prepend_bos: bool | None = None,
) -> ColoredTokens:
    """Generate from every prompt with and without `steerer`, and read calibrated h at every token of both texts.

    Three rows a prompt: the unsteered text, and the steered one as the hook found each token's state and as it left it.
    A state before the hook depends on the text alone: where it is higher than in the unsteered text, the *text* became
    more positive; the rise within the hook is steering's own doing, and says nothing of the text.

    Args:
        model, steerer, prompts: as for `steerer.generate`.
        barrier: calibrated, of the layer that is steered.
        max_new_tokens: of each text.
        temperature: 0 is greedy; both texts are drawn with the same seed.
        seed: of the sampling.
        prepend_bos: as in `generate`.

    Returns:
        What Jupyter shows as shaded text.

    Raises:
        ValueError: the barrier is not calibrated, or the steerer cannot run on this model; and as `generate`.
    """
    steerer.check(model)
    if barrier.calibration is None:
        raise ValueError("barrier is not calibrated; call calibrate(positive, negative) on held-out data first")
    given = Prompts.of(model, prompts, prepend_bos)
    rows: list[TokenRow] = []
    written: dict[bool, list[Int[Tensor, " pos"]]] = {}
    for steered in (False, True):
        hooks_for = steerer.hooks if steered else None
        written[steered] = _texts(model, given, hooks_for, max_new_tokens, temperature, seed)
    for k, prompt in enumerate(given.texts):
        length = len(text_tokens(model, prompt, given.prepend_bos))
        for steered in (False, True):
            tokens = written[steered][k]
            hooks = steerer.hooks(length) if steered else []
            states = _states(model, tokens, steerer.hook_name, hooks)
            labels = ("steered, before the hook", "steered, after the hook") if steered else ("unsteered",)
            for label, state in zip(labels, states, strict=False):
                h = tuple(barrier.log_ratio(state).tolist())
                rows.append(TokenRow(k, label, _pieces(model, tokens), h, length))
    return ColoredTokens(tuple(rows))


def _texts(
    model: Model,
    given: Prompts,
    hooks_for: HooksFor | None,
    max_new_tokens: int,
    temperature: float,
    seed: int,
) -> list[Int[Tensor, " pos"]]:
    """Token ids of each prompt with its continuation, without padding."""
    batches = generate_tokens(
        model, given.texts, hooks_for, max_new_tokens=max_new_tokens, temperature=temperature, seed=seed,
        prepend_bos=given.prepend_bos,
    )  # fmt: skip
    rows = [(row, end, b.prompt_length) for b in batches for row, end in zip(b.tokens, b.ends, strict=True)]
    lengths = [len(text_tokens(model, prompt, given.prepend_bos)) for prompt in given.texts]
    return [row[padded - own : end] for (row, end, padded), own in zip(rows, lengths, strict=True)]


def _states(
    model: Model, tokens: Int[Tensor, " pos"], hook_name: str, hooks: list[tuple[str, HookFn]]
) -> list[Float[Tensor, "pos d"]]:
    """The residual stream of one text at the hook point, before and after `hooks`."""
    seen: list[Tensor] = []

    def read(x: Tensor, hook: Any) -> None:
        seen.append(x[0].detach().flatten(1).double())

    # hooks of one point run in this order
    with model.hooks(fwd_hooks=[(hook_name, read), *hooks, (hook_name, read)]):
        model(tokens.unsqueeze(0), return_type=None)
    return seen


def _pieces(model: Model, tokens: Int[Tensor, " pos"]) -> tuple[str, ...]:
    """The text of each token as it stands in the whole: tokenizers decode a token alone without its space."""
    tokenizer: Any = model.tokenizer
    heads = [tokenizer.decode(tokens[:i]) if i else "" for i in range(len(tokens) + 1)]
    return tuple(after[len(before) :] for before, after in pairwise(heads))


def _shade(h: float, limit: float) -> str:
    """Background for h, and the text colour that stands out on it."""
    # beyond its ends a colour map gives the colour of the end
    color = matplotlib.colormaps[COLORMAP](0.5 + h / (2 * limit))[:3]
    return f"background: {to_hex(color)}; color: {'#000' if luminance(color) > EQUAL_CONTRAST else '#fff'}"


def luminance(color: tuple[float, float, float]) -> float:
    """Relative luminance of an sRGB colour in [0, 1] (WCAG 2)."""
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in color]
    return sum(weight * x for weight, x in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
