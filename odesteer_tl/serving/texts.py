"""Steered texts from vLLM: tokenised, ended and decoded as `steerer.generate` does, and refused where not steered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from jaxtyping import Int
from torch import Tensor

from odesteer_tl._tokens import special_ids, tokens_of
from odesteer_tl.chats import Prompt, Prompts
from odesteer_tl.generation import Generated, decode, stops
from odesteer_tl.serving.checks import Audit, checked
from odesteer_tl.serving.engine import Engine, plugin
from odesteer_tl.serving.hook import SteeringHook
from odesteer_tl.serving.requests import Member, Steers, one_each, plan, require_audit, shared_folder
from odesteer_tl.steerer import Steerer

#: of a request's `extra_args`: what may fail in the same pass as ours and take it along
FOREIGN = ("apply_hooks", "apply_steering_vectors")


@dataclass(frozen=True)
class ServedText:
    """A text that an engine wrote, with what its steerers did.

    Attributes:
        text: as `steerer.generate` returns it.
        prompt_tokens, tokens: of the prompt, and written behind it, an end of text left out.
        steered: tokens that each of its steerers steered, in their order.
        audits: what each one's auditor saw of them; None where none was asked for.
        finish_reason: the engine's word for why it ended.
    """

    text: str
    prompt_tokens: Int[Tensor, " prompt"]
    tokens: Int[Tensor, " written"]
    steered: tuple[int, ...]
    audits: tuple[Audit | None, ...]
    finish_reason: str | None

    def __str__(self) -> str:
        return self.text


def generate_vllm(
    llm: Any,
    steerer: Steers | Sequence[Steers],
    prompts: Iterable[Prompt],
    sampling: Any,
    *,
    strength: Any = None,
    audit: Steerer | str | Path | bool = False,
    prepend_bos: bool | None = None,
    completions_only: bool | None = None,
) -> list[ServedText]:
    """Steered continuations of texts or chats by a vLLM engine; one a prompt, in order.

    Prompts become the tokens that `steerer.generate` makes of them, each request carries its own hook, and what the
    hooks have done is compared with what they were to do: a text that was not steered as asked is an error.

    Args:
        llm: `vllm.LLM(…)` in an environment with the plugin vllm-lens.
        steerer: a steerer, a composition, or the folder of a saved one; None for a text that is not steered. One for
            all prompts, or one a prompt. What is not saved yet is saved into a folder of this machine's for the time
            of the call; workers on other machines need the path of one that they can read.
        prompts: texts, or chats as in `odesteer_tl.generate`.
        sampling: `vllm.SamplingParams`; one for all, or one a prompt. Nothing is taken from the checkpoint's
            `generation_config` but its ends.
        strength: in place of the steerer's (of all members of a composition), in the unit of its flow; one for all, or
            one a prompt (None for its own).
        audit: True has every steerer's own barrier read before and after each steered token; or a steerer (or its
            folder) whose barrier is read instead. A `strength` of 0 reads and changes nothing.
        prepend_bos: as in `odesteer_tl.generate`; where TransformerLens, which knows, is not installed, texts need it
            said.
        completions_only: as in `odesteer_tl.generate`.

    Returns:
        One text a prompt, in order.

    Raises:
        ValueError: what can be known before anything is computed: the engine lacks the plugin or decodes
            speculatively, a steerer cannot run on it, a prompt does not fit.
        NotSteered: a hook raised, was not called, or did not see or steer the tokens that it was to.
    """
    engine = Engine(llm)
    given = Prompts.of(engine, prompts, prepend_bos)
    alone = given.chats if completions_only is None else completions_only
    settings = one_each("sampling", sampling, len(given.texts))
    reserve = max((int(each.max_tokens or 1) for each in settings), default=1)
    rows = tokens_of(engine, "prompts", given.texts, given.prepend_bos, reserve=reserve)  # pyright: ignore[reportArgumentType]
    return continued_vllm(engine, rows, steerer, settings, strength=strength, audit=audit, completions_only=alone)


def continued_vllm(
    engine: Engine,
    rows: Sequence[Int[Tensor, " _"]],
    steerer: Steers | Sequence[Steers],
    settings: Sequence[Any],
    *,
    strength: Any = None,
    audit: Steerer | str | Path | bool = False,
    completions_only: bool = True,
) -> list[ServedText]:
    """`generate_vllm` of prompts that are tokens already; `settings` are one a prompt."""
    special = set(special_ids(engine))  # pyright: ignore[reportArgumentType]
    with shared_folder() as folder:
        members = plan(engine, folder, steerer, strength, len(rows))
        hooks = [
            [(member, member.hook(len(row), int(row[0]) in special, require_audit(folder, audit, member)))
             for member in each]
            for row, each in zip(rows, members, strict=True)
        ]  # fmt: skip
        requests = [_params(i, each, settings[i], engine) for i, each in enumerate(hooks)]
        # steered keys and values are no other request's, not even of one with the same tokens
        asked = [{"prompt_token_ids": row.tolist(), "cache_salt": uuid4().hex} for row in rows]
        outputs = engine.llm.generate(asked, requests, use_tqdm=False)
    return [
        _served(engine, f"prompts[{i}]", row, each, output, params, completions_only)
        for i, (row, each, output, params) in enumerate(zip(rows, hooks, outputs, requests, strict=True))
    ]


def _params(i: int, hooks: Sequence[tuple[Member, SteeringHook]], sampling: Any, engine: Engine) -> Any:
    """A request's own sampling parameters, with its hooks."""
    if getattr(sampling, "n", 1) != 1:
        raise ValueError(
            f"sampling: n={sampling.n} texts of one request share what its hook counts; pass n=1 and repeat the prompt"
        )
    extra = dict(sampling.extra_args or {})
    if any(name in extra for name in FOREIGN):
        raise ValueError(
            f"sampling: extra_args of prompt {i} holds hooks or vectors of your own, and where one fails the plugin "
            "leaves the request's steerer out too, without a word; run them in a call of llm.generate"
        )
    params = sampling.clone()
    ids, _ = stops(engine)  # pyright: ignore[reportArgumentType]
    if not params.ignore_eos:
        params.stop_token_ids = sorted({*(params.stop_token_ids or []), *ids})
    # a prompt that is read from the cache of another is one that no hook sees
    params.skip_reading_prefix_cache = True
    if hooks:
        extra["apply_hooks"] = [plugin().Hook(fn=hook, layer_indices=[member.block]) for member, hook in hooks]
    params.extra_args = extra
    return params


def _served(
    engine: Engine,
    name: str,
    row: Int[Tensor, " prompt"],
    hooks: Sequence[tuple[Member, SteeringHook]],
    output: Any,
    params: Any,
    alone: bool,
) -> ServedText:
    """One request's text, once its hooks have been found to have done what they were to."""
    (written,) = output.outputs
    tokens = torch.tensor(list(written.token_ids), dtype=torch.int64)
    if output.prompt_token_ids != row.tolist():
        raise RuntimeError(f"{name}: the engine read other tokens than it was given; is its tokenizer another one?")
    sent = [(hook, member.steerer) for member, hook in hooks]
    results = getattr(output, "hook_results", None)
    counts, audits = checked(name, sent, results, len(row) + len(tokens) - 1)
    ends = set(params.stop_token_ids or []) if not params.ignore_eos else set[int]()
    end = next((i for i, token in enumerate(tokens.tolist()) if token in ends), len(tokens))
    strings = [params.stop] if isinstance(params.stop, str) else list(params.stop or [])
    whole = torch.cat([row, tokens])
    batch = Generated(whole[None], len(row), [0], [len(row) + end], tuple(strings))
    (text,) = decode(engine, batch, alone)  # pyright: ignore[reportArgumentType]
    return ServedText(text, row, tokens[:end], tuple(counts), tuple(audits), written.finish_reason)
