"""Where steering acts: every rule, on five architectures, in every way that Hugging Face generates.

The reference is a plain PyTorch forward hook on the same block of the transformers model, which never sees a cache: it
runs whole sequences, and edits the columns that a test counts for itself.
"""

import copy
from contextlib import contextmanager

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    Qwen3Config,
    Qwen3ForCausalLM,
)

import odesteer_tl as ode
from tests.problems import on_disk

P, NEW, LAYER, VOCAB, BOS = 10, 3, 1, 96, 1
PUSH = 6.0

SIZES = {
    "vocab_size": VOCAB, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "bos_token_id": BOS, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
#: windows shorter than the prompt, so that a sliding layer's attention tells nothing of where a pass begins
FAMILIES = {
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(n_layer=3, n_head=4, n_embd=32, vocab_size=VOCAB, n_positions=64,
                                               bos_token_id=BOS, eos_token_id=2, pad_token_id=0)),
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SIZES)),
    "gemma3": lambda: Gemma3ForCausalLM(Gemma3TextConfig(**SIZES, sliding_window=8, layer_types=[
        "full_attention", "sliding_attention", "full_attention"])),
    "mistral": lambda: MistralForCausalLM(MistralConfig(**SIZES, sliding_window=8)),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**SIZES)),
}  # fmt: skip


def odd(at, prompt):
    return (at % 2 == 1) & (at < prompt + 2)


def not_the_first(at, prompt):
    return at > 0


RULES = {
    "generated": lambda at, n: at >= n - 1,
    "prompt": lambda at, n: at < n,
    "last": lambda at, n: at == n - 1,
    "all": lambda at, n: at > 0,
    "all_and_bos": lambda at, n: at >= 0,
    odd: lambda at, n: (at % 2 == 1) & (at < n + 2),
    not_the_first: lambda at, n: at > 0,
}


@pytest.fixture(scope="module", params=FAMILIES)
def pair(request, tmp_path_factory):
    """A bridge around a tiny random model, and the same model without one."""
    folder = on_disk(FAMILIES[request.param], tmp_path_factory.mktemp(request.param))
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    return ode.load_model(folder), plain


def blocks(model: PreTrainedModel):
    base = model.base_model
    return base.h if hasattr(base, "h") else base.layers


@contextmanager
def plainly_edited(model, rule, starts, length, since=0):
    """A plain forward hook on the block: adds `PUSH · vector` in the columns counted from each row's first token.

    Columns before `since` are left alone.
    """

    def edit(module, args, output):
        x = output[0] if isinstance(output, tuple) else output
        rows = len(x) // len(starts)
        begin = torch.tensor(starts).repeat_interleave(rows)[:, None]
        columns = torch.arange(x.shape[1])
        at = columns - begin
        chosen = RULES[rule](at, length - begin) & (at >= 0) & (columns >= since)
        x = torch.where(chosen[..., None], x + PUSH * vector_of(), x)
        return (x, *output[1:]) if isinstance(output, tuple) else x

    handle = blocks(model)[LAYER].register_forward_hook(edit)
    yield
    handle.remove()


def vector_of(width=32):
    v = torch.randn(width, generator=torch.Generator().manual_seed(5))
    return v / v.norm()


def steerer_for(rule):
    return ode.Steerer(ode.ConstantField(vector_of()), ode.Flow(T=PUSH, steps=1, solver="euler"), LAYER, rule)


def prompts():
    """A left-padded batch: no padding, some, and two real tokens."""
    tokens = torch.randint(5, VOCAB, (3, P), generator=torch.Generator().manual_seed(1))
    mask, starts = torch.ones_like(tokens), [0, 3, 8]
    for row, start in enumerate(starts):
        tokens[row, :start], mask[row, :start], tokens[row, start] = 0, 0, BOS
    return tokens, mask, starts


#: ways to generate
MODES = {
    "plain": {},
    "without cache": {"use_cache": False},
    "chunked prefill": {"prefill_chunk_size": 4},
    "static cache": {"cache_implementation": "static"},
    "beams": {"num_beams": 4, "num_return_sequences": 2},
    "samples": {"do_sample": True, "num_return_sequences": 2, "top_k": 0},
    "static cache, beams": {"cache_implementation": "static", "num_beams": 3},
}
GREEDY = {"max_new_tokens": NEW, "min_new_tokens": NEW, "do_sample": False, "return_dict_in_generate": True,
          "output_logits": True, "pad_token_id": 0}  # fmt: skip


def generated(model, tokens, mask, **mode):
    torch.manual_seed(0)
    return model.generate(tokens, attention_mask=mask, **{**GREEDY, **mode})


def agree(found, expected):
    assert torch.equal(found.sequences, expected.sequences)
    torch.testing.assert_close(torch.stack(found.logits), torch.stack(expected.logits), rtol=1e-3, atol=1e-3)


def every_rule(pair, tokens, mask, starts, way, reference=None, since=0):
    """What is generated in a `way`, steered by every rule, is what a plain hook gives from the columns `since`."""
    bridge, plain = pair
    for rule in RULES:
        told = way() if callable(way) else way
        with steerer_for(rule).on(bridge, prompt_length=P):
            found = generated(bridge.original_model, tokens, mask, **told)
        with plainly_edited(plain, rule, starts, P, since):
            expected = generated(plain, tokens, mask, **{**(reference or {}), "use_cache": False})
        agree(found, expected)


@pytest.mark.parametrize("mode", MODES)
def test_the_right_tokens_are_steered_however_a_batch_is_generated(pair, mode):
    reference = {k: v for k, v in MODES[mode].items() if k not in ("prefill_chunk_size", "cache_implementation")}
    every_rule(pair, *prompts(), MODES[mode], reference)


@pytest.mark.parametrize("mode", ["plain", "chunked prefill", "static cache"])
def test_and_without_a_mask(pair, mode):
    tokens = prompts()[0].clamp_min(3)
    tokens[:, 0] = BOS
    every_rule(pair, tokens, None, [0, 0, 0], MODES[mode])


@pytest.mark.parametrize("mode", ["prompt lookup", "assisted"])
def test_and_where_tokens_are_guessed_ahead(pair, mode):
    tokens = torch.tensor([[BOS, 7, 8, 9, 7, 8, 9, 7, 8, 9]])
    ahead = {"prompt_lookup_num_tokens": 3} if mode == "prompt lookup" else {"assistant_model": copy.deepcopy(pair[1])}
    every_rule(pair, tokens, torch.ones_like(tokens), [0], ahead)


def test_and_in_a_second_turn_over_a_kept_cache(pair):
    tokens, mask, starts = prompts()
    before = P - 1
    positions = (mask.cumsum(1) - 1).clamp_min(0)[:, :before]

    def kept():
        first = pair[0].original_model(tokens[:, :before], attention_mask=mask[:, :before], position_ids=positions,
                                       use_cache=True)  # fmt: skip
        return {"past_key_values": first.past_key_values}

    every_rule(pair, tokens, mask, starts, kept, since=before)


def test_the_bridges_own_generation_and_a_bare_pass(pair):
    bridge, plain = pair
    tokens, mask, starts = prompts()
    for rule in RULES:
        with steerer_for(rule).on(bridge, prompt_length=P):
            out = bridge.generate(tokens, attention_mask=mask, max_new_tokens=NEW, do_sample=False, verbose=False,
                                  output_logits=True, stop_at_eos=False, return_type="tokens")  # fmt: skip
            whole = bridge(tokens, attention_mask=mask)
        with plainly_edited(plain, rule, starts, P):
            expected = generated(plain, tokens, mask, use_cache=False)
            passed = plain(tokens, attention_mask=mask, position_ids=(mask.cumsum(1) - 1).clamp_min(0)).logits
        agree(out, expected)
        real = mask.bool()
        torch.testing.assert_close(whole[real], passed[real], rtol=1e-3, atol=1e-3)


def test_padding_on_the_right_counts_each_rows_own_prompt(pair):
    bridge, plain = pair
    tokens = prompts()[0].clamp_min(3)
    tokens[:, 0] = BOS
    lengths = torch.tensor([[P], [6], [3]])
    mask = (torch.arange(P) < lengths).long()
    for rule in ("last", "generated", "prompt", "all"):
        with steerer_for(rule).on(bridge, prompt_length=P):
            found = bridge.original_model(tokens, attention_mask=mask).logits
        for row, length in enumerate(lengths.flatten().tolist()):
            with plainly_edited(plain, rule, [0], length):
                alone = plain(tokens[row : row + 1, :length]).logits[0]
            torch.testing.assert_close(found[row, :length], alone, rtol=1e-3, atol=1e-3)


def test_an_observer_is_told_the_columns_and_rows_that_are_not_steered_are_nan(pair):
    bridge, _ = pair
    tokens, mask, starts = prompts()
    seen = []
    with steerer_for("all").on(bridge, prompt_length=P, observe=lambda path, at: seen.append((path, at.tolist()))):
        generated(bridge.original_model, tokens, mask, prefill_chunk_size=4, max_new_tokens=3, min_new_tokens=3)
    assert [at for _, at in seen] == [[1, 2, 3], [4, 5, 6, 7], [8, 9], [10], [11]]
    for path, at in seen:
        expected = torch.tensor(at)[None] > torch.tensor(starts)[:, None]
        assert torch.equal(path.end.isfinite().all(-1), expected)
        assert torch.equal(path.points.isfinite().all(-1), expected.expand(2, -1, -1))


@pytest.mark.parametrize(
    ("told", "word"),
    [
        (lambda t: {"input_ids": t, "position_ids": torch.tensor([[0, 1, 2, 3, 4, 0, 1, 2, 3, 4]])}, "packed into"),
        (lambda t: {"input_ids": t, "position_ids": torch.arange(20, 30)[None]}, "a cache that was not passed on"),
        (lambda t: {"input_ids": t, "attention_mask": torch.zeros(1, 1, P, P)}, "prepared mask of shape"),
        (lambda t: {"inputs_embeds": torch.zeros(1, P, 32)}, "inputs_embeds"),
    ],
)
def test_where_nothing_says_it_the_pass_is_refused(pair, told, word):
    bridge, _ = pair
    with (
        pytest.raises(ValueError, match=word),
        steerer_for("all").on(bridge, prompt_length=P),
        torch.no_grad(),
    ):
        bridge.original_model(**told(torch.arange(5, 5 + P)[None]))


def test_rules_are_told_padding_and_special_tokens(pair):
    bridge, _ = pair
    tokens, mask, starts = prompts()
    seen = {}

    def rule(at, prompt, special):
        seen.update(at=at, prompt=prompt, special=special)
        return ~special

    with steerer_for(rule).on(bridge, prompt_length=P):
        bridge.original_model(tokens, attention_mask=mask)
    begin = torch.tensor(starts)[:, None]
    assert torch.equal(seen["at"], torch.where(mask.bool(), torch.arange(P) - begin, -1))
    assert torch.equal(seen["prompt"], P - begin)
    assert torch.equal(seen["special"], tokens < 3)


@pytest.mark.parametrize("returned", [None, [True], torch.ones(P), torch.ones(P, dtype=torch.bool)])
def test_a_rule_that_returns_no_mask_is_refused(pair, returned, unchecked):
    bridge, _ = pair
    with pytest.raises(ValueError, match="boolean mask"), steerer_for(lambda at, p: returned).on(bridge):
        bridge(torch.arange(5, 5 + P)[None])


def test_a_model_that_nobody_listens_to_is_refused():
    from transformer_lens.model_bridge import TransformerBridge

    bridge = TransformerBridge.boot_transformers(str(ode.organism.PATH), dtype=torch.float32)
    field = ode.ConstantField(vector_of(bridge.cfg.d_model))
    steerer = ode.Steerer(field, ode.Flow(angle=0.3), 1)
    tokens = torch.arange(5, 9)[None]
    with pytest.raises(ValueError, match="never shown"):
        bridge.run_with_hooks(tokens, fwd_hooks=steerer.hooks(prompt_length=4))
    steerer.check(bridge)
    assert bridge.run_with_hooks(tokens, fwd_hooks=steerer.hooks(prompt_length=4)).isfinite().all()
    with pytest.raises(ValueError, match="outside of a forward pass"), steerer.on(bridge, prompt_length=4):
        bridge.blocks[1].hook_out(torch.randn(1, 4, bridge.cfg.d_model))
