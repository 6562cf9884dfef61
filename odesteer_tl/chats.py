"""Chats: message lists as the text a model was trained to read, with where the last turn's completion begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Message = Mapping[str, Any]
Messages = Sequence[Message]


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


def _written(tokenizer: Any, chat: Sequence[Message], **how: bool) -> str:
    return str(tokenizer.apply_chat_template([dict(x) for x in chat], tokenize=False, **how))
