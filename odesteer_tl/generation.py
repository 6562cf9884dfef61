"""Text generation that knows its prompt length and its padding, ends where it should and seeds its sampling."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from tqdm.auto import tqdm

from odesteer_tl._check import as_integer
from odesteer_tl._tokens import left_padded, tokens_of
from odesteer_tl.abilities import require_generation
from odesteer_tl.chats import Prompt, Prompts
from odesteer_tl.continuation import continued
from odesteer_tl.hooks import HooksFor
from odesteer_tl.models import hosted, model_name
from odesteer_tl.plain import AnyModel, Model, hooked

#: a stop token's id, or a string
Stop = str | int

_SAMPLING = threading.RLock()


@dataclass(frozen=True)
class Generated:
    """One batch of continued prompts.

    Attributes:
        tokens: padded prompt and continuation.
        prompt_length: columns of the (left-padded) prompt.
        starts: the column of each row's first token.
        ends: the column behind each row's last token, its first generated EOS or stop token left out; a token that
            completes a stop string is kept.
        stop: the stop strings; `decode` cuts the texts at them.
    """

    tokens: Int[Tensor, "batch pos"]
    prompt_length: int
    starts: list[int]
    ends: list[int]
    stop: tuple[str, ...] = ()


def generate(
    model: AnyModel,
    prompts: Iterable[Prompt],
    hooks_for: HooksFor | None = None,
    *,
    max_new_tokens: int = 20,
    temperature: float = 1.0,
    top_p: float | None = None,
    repetition_penalty: float = 1.0,
    seed: int = 0,
    batch_size: int = 64,
    prepend_bos: bool | None = None,
    stop: Stop | Sequence[Stop] = (),
    completions_only: bool | None = None,
) -> list[str]:
    """Continue every prompt; one text a prompt, in order.

    A text ends at the tokenizer's EOS, at whatever the model's `generation_config` names as one, and at `stop`.

    Args:
        prompts: texts; or chats, lists of `{"role": …, "content": …}`, which are written by the model's own template,
            its special tokens once, with what asks for the assistant's turn. A chat that ends with the assistant's
            turn is gone on with in it.
        hooks_for: the hooks for a prompt length, as `steerer.hooks`; left out, nothing is steered.
        temperature: 0 is greedy.
        seed: of the sampling, which is done in a forked random state: the caller's is left as it was.
        batch_size: prompts a batch; padding is on the left and masked.
        prepend_bos: as in TransformerLens, and False for chats, whose template has written what there should be; a
            prompt that begins with the BOS token gets no second one.
        stop: further ends: token ids, or strings, which may span tokens. Neither is part of the returned text.
        completions_only: leave the prompt out of the returned texts. By default a text is returned with its
            continuation, and of a chat only what was written to it: its template's marks are no text.

    Returns:
        One text a prompt, in order.

    Raises:
        ValueError: no prompts, one prompt in the place of several, texts among chats, no chat template, a setting out
            of range, a prompt that with `max_new_tokens` exceeds the context, logits that are NaN or infinite, or a
            model that does not write from left to right.
    """
    model = hosted(model)
    given = Prompts.of(model, prompts, prepend_bos)
    alone = given.chats if completions_only is None else completions_only
    batches = generate_tokens(
        model, given.texts, hooks_for, max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p,
        repetition_penalty=repetition_penalty, seed=seed, batch_size=batch_size,
        prepend_bos=given.prepend_bos, stop=stop,
    )  # fmt: skip
    return [text for batch in batches for text in decode(model, batch, alone)]


@torch.no_grad()
def generate_tokens(
    model: AnyModel,
    prompts: Iterable[Prompt],
    hooks_for: HooksFor | None = None,
    *,
    max_new_tokens: int = 20,
    temperature: float = 1.0,
    top_p: float | None = None,
    repetition_penalty: float = 1.0,
    seed: int = 0,
    batch_size: int = 64,
    prepend_bos: bool | None = None,
    stop: Stop | Sequence[Stop] = (),
) -> list[Generated]:
    """`generate`, before decoding; `hooks_for` is called once a batch."""
    from transformer_lens.utilities.logits_utils import sample_logits

    model = hosted(model)
    require_generation(model, model_name(model))
    max_new_tokens, batch_size, seed = (
        as_integer(name, value)
        for name, value in (("max_new_tokens", max_new_tokens), ("batch_size", batch_size), ("seed", seed))
    )
    if max_new_tokens < 1 or temperature < 0 or batch_size < 1:
        raise ValueError(
            f"max_new_tokens={max_new_tokens} and batch_size={batch_size} must be at least 1 and "
            f"temperature={temperature} at least 0"
        )
    # before anything is generated; learned positions fail beyond the context, and rotary ones go on untrained
    given = Prompts.of(model, prompts, prepend_bos)
    rows = tokens_of(model, "prompts", given.texts, given.prepend_bos, reserve=max_new_tokens)
    _require_alike(model, rows, batch_size)
    ids, strings = stops(model, stop)
    tokenizer: Any = model.tokenizer
    pads = (tokenizer.eos_token_id, tokenizer.pad_token_id, 0)
    choose = partial(sample_logits, temperature=temperature, top_p=top_p, repetition_penalty=repetition_penalty)
    found: list[Generated] = []
    starts = range(0, len(rows), batch_size)
    # the random state that is seeded is the process's, not the thread's
    with _SAMPLING, torch.random.fork_rng():
        torch.manual_seed(seed)
        for start in tqdm(starts, desc="generating", disable=len(starts) < 4, leave=False):
            batch, mask = (x.to(model.cfg.device) for x in left_padded(model, rows[start : start + batch_size]))
            length = batch.shape[1]
            with hooked(model, [] if hooks_for is None else hooks_for(length)) as run:
                tokens = continued(
                    run, batch, mask, lambda logits, tokens: choose(logits, tokens=tokens),
                    _ends_at(model, ids, strings, length), max_new_tokens=max_new_tokens,
                    fill=next(int(x) for x in pads if x is not None),
                )  # fmt: skip
            ended = torch.isin(tokens[:, length:], torch.tensor(ids, device=tokens.device)).int()
            # a row without an end keeps all its tokens
            kept = torch.where(ended.any(1), ended.argmax(1), tokens.shape[1] - length) + length
            found.append(Generated(tokens, length, (length - mask.sum(1)).tolist(), kept.tolist(), strings))
    return found


def decode(model: Model, batch: Generated, completions_only: bool = False) -> list[str]:
    """Texts without padding and BOS, cut at the first generated EOS (which not every tokenizer calls special) and at
    the first stop string."""
    tokenizer: Any = model.tokenizer
    start = batch.prompt_length if completions_only else 0
    rows = [row[start:end] for row, end in zip(batch.tokens, batch.ends, strict=True)]
    texts: list[str] = tokenizer.batch_decode(rows, skip_special_tokens=True)
    if not batch.stop:
        return texts
    written = [row[batch.prompt_length : end] for row, end in zip(batch.tokens, batch.ends, strict=True)]
    behind = (_behind_stop(text, batch.stop) for text in tokenizer.batch_decode(written, skip_special_tokens=True))
    return [text[: len(text) - n] for text, n in zip(texts, behind, strict=True)]


def _behind_stop(text: str, stop: Sequence[str]) -> int:
    """How many characters of a continuation stand from its first stop string on."""
    return len(text) - min((at for at in map(text.find, stop) if at >= 0), default=len(text))


def stops(model: Model, stop: Stop | Sequence[Stop] = ()) -> tuple[list[int], tuple[str, ...]]:
    """The tokens and the strings at which a text ends: the tokenizer's, the model's own and the caller's."""
    given = [stop] if isinstance(stop, str) or not isinstance(stop, Sequence) else list(stop)
    tokenizer: Any = model.tokenizer
    # a string that is one added token, such as <|im_end|>, is left out by decoding and can be found as a token only
    added: dict[str, int] = tokenizer.get_added_vocab()
    given = [added.get(x, x) if isinstance(x, str) else x for x in given]
    if "" in given:
        raise ValueError(f"stop={stop!r} holds an empty string, at which every text ends; leave it out")
    config: Any = getattr(model.original_model, "generation_config", None)
    # the tokenizer's first: the id with which TransformerLens fills rows that have ended
    known = [tokenizer.eos_token_id, getattr(config, "eos_token_id", None), getattr(model.cfg, "eos_token_id", None)]
    ids = [i for ids in known if ids is not None for i in (ids if isinstance(ids, list | tuple) else [ids])]
    ids += [as_integer("stop", x) for x in given if not isinstance(x, str)]
    return list(dict.fromkeys(int(i) for i in ids)), tuple(x for x in given if isinstance(x, str))


def _ends_at(
    model: Model, ids: Sequence[int], strings: Sequence[str], prompt_length: int
) -> Callable[[Int[Tensor, "batch pos"]], Bool[Tensor, " batch"]]:
    """Which rows are at an end: a stop token, or a stop string in what was written."""
    tokenizer: Any = model.tokenizer

    def ended(tokens: Int[Tensor, "batch pos"]) -> Bool[Tensor, " batch"]:
        at_end = torch.isin(tokens[:, -1], torch.tensor(ids, device=tokens.device))
        if not strings:
            return at_end
        texts = tokenizer.batch_decode(tokens[:, prompt_length:], skip_special_tokens=True)
        return at_end | torch.tensor([any(x in text for x in strings) for text in texts], device=tokens.device)

    return ended


def _require_alike(model: Model, rows: Sequence[Tensor], batch_size: int) -> None:
    """Raise where a batch would be padded for a model that cannot mask padding."""
    alike = batch_size == 1 or len({len(row) for row in rows}) == 1
    if not alike and not getattr(getattr(model, "adapter", None), "supports_batched_generation", True):
        raise ValueError(
            f"batch_size={batch_size}: {model_name(model)!r} does not mask padding, and the prompts differ in "
            "length; use batch_size=1"
        )
