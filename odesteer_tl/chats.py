"""Chats: message lists as the text a model was trained to read, with where the last turn's completion begins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from odesteer_tl._check import require_texts

Message = Mapping[str, Any]
Messages = Sequence[Message]
#: what is continued
Prompt = str | Messages


@dataclass(frozen=True)
class Turns:
    """A chat as text.

    Attributes:
        text: what the template writes.
        start: the character at which the assistant's last turn begins; None where the chat does not end with one.
    """

    text: str
    start: int | None


def render_chat(model: Any, messages: Messages) -> Turns:
    """A chat as the model's template writes it, special tokens included.

    Behind an assistant's last turn nothing is written, so that its content's last token is the text's; behind any
    other what asks for the assistant's turn is.

    Args:
        model: a bridge, a transformers model's tokenizer, or anything with a `tokenizer`.
        messages: `{"role": …, "content": …}`, in order.

    Raises:
        ValueError: no chat template, no messages, or a template that does not write a chat as the continuation of the
            chat before its last turn, so that nobody knows where the completion begins.
    """
    tokenizer = getattr(model, "tokenizer", model)
    if getattr(tokenizer, "chat_template", None) is None:
        raise ValueError(
            f"model={type(model).__name__} has no chat template; use an instruction-tuned model, or from_completions"
        )
    chat: list[Any] = list(messages) if not isinstance(messages, str | Mapping) else []
    if not chat or not all(isinstance(x, Mapping) and {"role", "content"} <= x.keys() for x in chat):
        raise ValueError(f"messages={messages!r} is not a non-empty list of {{'role': …, 'content': …}}")
    if chat[-1]["role"] != "assistant":
        return Turns(_written(tokenizer, chat, add_generation_prompt=True), None)
    text = _written(tokenizer, chat, continue_final_message=True)
    before = _written(tokenizer, chat[:-1], add_generation_prompt=True) if len(chat) > 1 else ""
    if not text.startswith(before) or len(text) == len(before):
        raise ValueError(
            "messages: this model's template does not write the assistant's turn behind what asks for it, so where "
            f"the completion begins is not known ({before[-40:]!r} against {text[-80:]!r}); write the texts yourself "
            "and use from_completions"
        )
    return Turns(text, len(before))


@dataclass(frozen=True)
class Prompts:
    """Prompts as texts.

    Attributes:
        texts: one a prompt.
        chats: whether they were written by a chat template.
        prepend_bos: what reading them does about a BOS: what was asked for, or nothing where a template wrote it.
    """

    texts: list[str]
    chats: bool
    prepend_bos: bool | None

    @classmethod
    def of(cls, model: Any, prompts: Iterable[Prompt], prepend_bos: bool | None = None) -> Prompts:
        """Texts as they are, chats as the model's template writes them.

        Raises:
            ValueError: both among them, one prompt in the place of several, anything else, or see `render_chat`.
        """
        asked: Any = prompts  # what a user hands in may be anything
        listed = isinstance(asked, Iterable) and not isinstance(asked, str | bytes | Mapping | set | frozenset)
        if not listed or hasattr(asked, "columns"):
            return cls(require_texts("prompts", asked), False, prepend_bos)  # which says what is wrong
        given: list[Any] = list(asked)
        if given and all(isinstance(x, Mapping) for x in given):
            raise ValueError("prompts is one chat where a sequence of prompts is meant; pass a list: prompts=[chat]")
        chats = [i for i, x in enumerate(given) if isinstance(x, Sequence) and not isinstance(x, str | bytes)]
        if not chats:
            return cls(require_texts("prompts", given), False, prepend_bos)
        if len(chats) < len(given):
            other = next(i for i in range(len(given)) if i not in chats)
            raise ValueError(
                f"prompts[{chats[0]}] is a chat and prompts[{other}]={given[other]!r} is none; pass one kind: a text "
                "as a chat is [{'role': 'user', 'content': text}]"
            )
        texts = [render_chat(model, chat).text for chat in given]
        return cls(texts, True, False if prepend_bos is None else prepend_bos)


def _written(tokenizer: Any, chat: Sequence[Message], **how: bool) -> str:
    return str(tokenizer.apply_chat_template([dict(x) for x in chat], tokenize=False, **how))
