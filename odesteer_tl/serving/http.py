"""HTTP: one steered request to `vllm serve`, and the check of what came back.

The hook travels as a pickle, as vllm-lens's own client sends it: whoever may send one may run any code in the server.
"""

from __future__ import annotations

import base64
import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from odesteer_tl.chats import Prompt, Prompts
from odesteer_tl.plain import with_bos
from odesteer_tl.serving.checks import Audit, checked
from odesteer_tl.serving.engine import SITES, plugin
from odesteer_tl.serving.hook import Saved, SteeringHook, at_strength, barrier_of, require_servable
from odesteer_tl.sites import BLOCK_OUTPUT
from odesteer_tl.steerer import Steerer


@dataclass(frozen=True)
class HttpRequest:
    """A request for `/v1/completions`.

    Attributes:
        body: what to post, as JSON.
        hook, steerer: what steers it.
    """

    body: dict[str, Any]
    hook: SteeringHook
    steerer: Steerer

    def text(self, answer: Mapping[str, Any]) -> tuple[str, int, Audit | None]:
        """The text of the server's answer, how many tokens were steered, and what the auditor saw of them.

        Raises:
            NotSteered: as `generate_vllm` does, or the server says that something is wrong.
        """
        if "choices" not in answer:
            raise ValueError(f"the server refuses the request: {answer.get('error', answer)}")
        results = {i: {name: _decoded(x) for name, x in saved.items()}
                   for i, saved in (answer.get("hook_results") or {}).items()}  # fmt: skip
        taken = int(answer["usage"]["total_tokens"]) - 1
        (steered,), (audit,) = checked(str(answer.get("id")), [(self.hook, self.steerer)], results, taken)
        return str(answer["choices"][0]["text"]), steered, audit


def http_request(
    model: str,
    tokenizer: Any,
    steerer: str | Path,
    prompt: Prompt,
    *,
    prepend_bos: bool | None = None,
    strength: float | str | None = None,
    audit: str | Path | bool = False,
    **body: Any,
) -> HttpRequest:
    """A steered completion of a text or chat, for a server that may read the steerer's folder.

    Args:
        model: its name on the server.
        tokenizer: the model's, of transformers.
        steerer: the folder of a saved one, under a path that both sides read.
        prompt: a text, which needs `prepend_bos` said, or a chat.
        strength, audit: as in `generate_vllm`; the auditor is True or a folder.
        body: further fields of the request, such as `max_tokens` and `temperature`.

    Returns:
        What to post to `/v1/completions`, and the check of the answer.

    Raises:
        ValueError: the steerer cannot be read, or stands within a block, or a text comes without `prepend_bos`.
    """
    saved = Saved.at(steerer)
    own = saved.load()
    require_servable(own)
    if own.site not in SITES or (own.site != BLOCK_OUTPUT and own.layer == 0):
        raise ValueError(f"site={own.site!r} of layer {own.layer}: an engine's hooks see a block's output alone")
    given = Prompts.of(tokenizer, [prompt], prepend_bos)
    if given.prepend_bos is None:
        raise ValueError("prepend_bos=None: say whether this text begins with a BOS, as it did where it was fitted")
    tokens = with_bos(tokenizer, given.texts[0], given.prepend_bos)[0].tolist()
    auditor = {True: saved, False: None}[audit] if isinstance(audit, bool) else Saved.at(audit)
    if auditor is not None:
        barrier_of(auditor.load())
    at_strength(own.flow, strength)
    hook = SteeringHook(saved, len(tokens), tokens[0] in tokenizer.all_special_ids, strength, auditor)
    block = own.layer if own.site == BLOCK_OUTPUT else own.layer - 1
    sent = {
        "fn": {"cloudpickle": base64.b64encode(pickle.dumps(hook)).decode()},
        "layer_indices": [block],
        "pre": False,
    }
    return HttpRequest(
        # steered keys and values are no other request's, not even of one with the same tokens
        {"model": model, "prompt": tokens, "cache_salt": uuid4().hex, "vllm_xargs": {"apply_hooks": json.dumps([sent])},
         **body},
        hook, own,
    )  # fmt: skip


def _decoded(value: Any) -> Any:
    """A number, a word or a tensor; anything else stays as it was sent, and nothing is unpickled."""
    if isinstance(value, Mapping) and value.get("__type__") == "tensor":
        return plugin().deserialize_tensor(value)
    return value
