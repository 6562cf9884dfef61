"""The families people ask for, tiny and random: everything done through a bridge is what a plain hook does.

The other side of every comparison is the transformers model with PyTorch's own hooks, and no code of this package.
"""

from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForCausalLM

import odesteer_tl as ode
from odesteer_tl._tokens import left_padded, text_tokens
from odesteer_tl.blocks import unembed
from odesteer_tl.plain import PlainModel, hooked
from tests.families import FAMILIES, family_directory
from tests.problems import on_disk

CONTRAST = ode.organism.contrast("valence", n=4)
PROMPTS = [text[:n] for text, n in zip(CONTRAST.positive, (20, 40), strict=False)]
MIDDLE, MULTIPLIER, NEW = 1, 0.5, 6
#: names of an attention's output projection in transformers
PROJECTIONS = (
    "attn.c_proj",
    "attn.out_proj",
    "attention.dense",
    "self_attention.dense",
    "self_attn.o_proj",
    "self_attn.out_proj",
)
#: two computations of one thing in float32
CLOSE = {"rtol": 1e-4, "atol": 1e-4}


class Pair:
    """One family's weights in a bridge and in a transformers model."""

    def __init__(self, folder, dtype="float32"):
        self.folder = folder
        self.bridge = ode.load_model(folder, dtype=dtype)
        self.plain = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
        base = self.plain.base_model
        self.blocks = next(getattr(base, name) for name in ("h", "layers") if hasattr(base, name))
        rows = [text_tokens(self.bridge, prompt) for prompt in PROMPTS]
        self.rows = rows
        self.tokens, self.mask = left_padded(self.bridge, rows)

    def projection(self, layer=MIDDLE):
        block = self.blocks[layer]
        return next(part for name, part in block.named_modules() if name in PROJECTIONS)

    @contextmanager
    def shifted(self, shift, start=-1, *, heads=False):
        """The plain model with `shift` added at the middle layer from a column on."""

        def add(x):
            x = x.clone()
            x[:, start:] += shift.to(x.dtype)
            return x

        def at_output(module, args, out):
            return add(out) if torch.is_tensor(out) else (add(out[0]), *out[1:])

        if heads:
            handle = self.projection().register_forward_pre_hook(lambda module, args: (add(args[0]),))
        else:
            handle = self.blocks[MIDDLE].register_forward_hook(at_output)
        try:
            yield self.plain
        finally:
            handle.remove()

    @torch.no_grad()
    def logits(self, shift, start=-1, *, heads=False):
        # positions as generation counts them: without them absolute ones would count the padding
        told = {} if self.plain.config.model_type == "mamba" else {"position_ids": self.positions}
        with self.shifted(shift, start, heads=heads) as plain:
            return plain(self.tokens, attention_mask=self.mask, **told).logits

    @property
    def positions(self):
        return (self.mask.cumsum(1) - 1).clamp_min(0)

    @torch.no_grad()
    def uncached(self, shift, *, heads=False):
        """Greedy continuations without padding and without a cache, every column from the last prompt token shifted."""
        texts = []
        for row in self.rows:
            tokens = row[None]
            with self.shifted(shift, len(row) - 1, heads=heads) as plain:
                while tokens.shape[1] < len(row) + NEW and int(tokens[0, -1]) != 2:
                    following = plain(tokens, use_cache=False).logits[:, -1:].argmax(-1)
                    tokens = torch.cat([tokens, following], 1)
            texts.append(self.bridge.tokenizer.decode(tokens[0, len(row) :], skip_special_tokens=True))
        return texts

    @torch.no_grad()
    def cached(self, shift, *, heads=False):
        """Greedy continuations of the padded batch as transformers writes them, the last column of a pass shifted."""
        with self.shifted(shift, heads=heads) as plain:
            tokens = plain.generate(
                self.tokens, attention_mask=self.mask, max_new_tokens=NEW, do_sample=False, pad_token_id=0,
                eos_token_id=2,
            )  # fmt: skip
        return self.bridge.tokenizer.batch_decode(tokens[:, self.tokens.shape[1] :], skip_special_tokens=True)

    def written(self, steerer):
        return steerer.generate(
            self.bridge, PROMPTS, max_new_tokens=NEW, temperature=0.0, batch_size=2, completions_only=True
        )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("families")


@pytest.fixture(scope="module", params=FAMILIES)
def pair(request, folder):
    return Pair(family_directory(request.param, folder))


def steerer_of(bridge, method="caa"):
    if method == "iti_heads":
        return ode.fit(method, bridge, CONTRAST, layer=MIDDLE)
    return ode.fit(method, bridge, CONTRAST, layer=MIDDLE, multiplier=MULTIPLIER)


def shift_of(steerer):
    """What a steerer adds to an activation: the vector is the method's, the sum is ours."""
    if steerer.flow.multiplier is not None:
        return (steerer.flow.multiplier * steerer.field.given).float()
    return (steerer.flow.T * steerer.field.tensors["bias"]).float()


@torch.no_grad()
def steered(pair, steerer):
    with steerer.on(pair.bridge, prompt_length=pair.tokens.shape[1]) as model:
        return model(pair.tokens, attention_mask=pair.mask)


def last_states(pair, layer=-1):
    """A list that every pass appends a block's output to."""
    found = []
    block = pair.blocks[layer]
    block.register_forward_hook(lambda _module, _args, out: found.append(out if torch.is_tensor(out) else out[0]))
    return found


def test_activations_are_hidden_states(pair):
    acts = ode.collect_activations(pair.bridge, CONTRAST)
    assert list(acts) == list(range(pair.plain.config.num_hidden_layers))
    # the last hidden state that transformers returns is behind the final norm: take that norm's input instead
    last = last_states(pair)
    for i, text in enumerate(CONTRAST.positive):
        with torch.no_grad():
            states = pair.plain(pair.bridge.to_tokens(text), output_hidden_states=True).hidden_states
        for layer, state in enumerate([*states[1:-1], last[-1]]):
            torch.testing.assert_close(acts[layer].positive[i], state[0, -1], **CLOSE)
            assert (state - states[layer]).norm() > 0.05 * states[layer].norm()  # the block does something


@pytest.mark.parametrize("method", ["caa", "iti_heads"])
def test_steering_is_a_plain_hook(pair, method):
    steerer, heads = steerer_of(pair.bridge, method), method == "iti_heads"
    shift = shift_of(steerer)
    expected = pair.logits(shift, heads=heads)
    assert (expected - pair.logits(0 * shift, heads=heads))[:, -1].abs().max() > 0.05
    for row, found in enumerate(steered(pair, steerer)):
        real = pair.mask[row].bool()
        torch.testing.assert_close(found[real], expected[row][real], **CLOSE)
    assert pair.written(steerer) == pair.cached(shift, heads=heads) == pair.uncached(shift, heads=heads)


def test_every_token_is_steered_as_by_a_plain_hook(pair):
    steerer = replace(steerer_of(pair.bridge), positions="all_and_bos")
    expected = pair.logits(shift_of(steerer), start=0)
    torch.testing.assert_close(steered(pair, steerer)[:, -1], expected[:, -1], **CLOSE)


@pytest.mark.parametrize("start", [0, -1])
def test_a_suffix_is_a_full_pass(pair, start):
    shift = shift_of(steerer_of(pair.bridge))
    prefix = ode.collect_prefix(pair.bridge, pair.tokens, pair.mask, start)
    torch.testing.assert_close(prefix.baseline, pair.logits(0 * shift)[:, -1], **CLOSE)
    found = prefix.logits(MIDDLE, prefix.residuals[MIDDLE] + shift)[:, -1]
    torch.testing.assert_close(found, pair.logits(shift, start)[:, -1], **CLOSE)


def test_heads_are_what_the_output_projection_reads(pair):
    acts, seen = ode.collect_activations(pair.bridge, CONTRAST, MIDDLE, site="z")[MIDDLE].positive, []
    handle = pair.projection().register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    config = pair.plain.config
    for i, text in enumerate(CONTRAST.positive):
        with torch.no_grad():
            pair.plain(pair.bridge.to_tokens(text))
        torch.testing.assert_close(acts[i], seen[-1][0, -1].unflatten(-1, (config.num_attention_heads, -1)), **CLOSE)
    handle.remove()


def test_a_saved_steerer_is_the_same_to_the_bit(pair, tmp_path):
    for method in ("caa", "iti_heads"):
        steerer = steerer_of(pair.bridge, method)
        steerer.save(tmp_path / method)
        assert torch.equal(steered(pair, ode.Steerer.load(tmp_path / method)), steered(pair, steerer))


@pytest.mark.parametrize("method", ["caa", "iti_heads"])
def test_half_precision_is_kept_and_is_as_close_as_the_model_itself(pair, method):
    half = Pair(pair.folder, "bfloat16")
    steerer, heads = steerer_of(half.bridge, method), method == "iti_heads"
    acts = ode.collect_activations(half.bridge, CONTRAST, MIDDLE)[MIDDLE].positive
    assert acts.isfinite().all()
    found, seen = steered(half, steerer), []
    with half.bridge.hooks(fwd_hooks=[*steerer.hooks(7), (steerer.hook_name, lambda x, hook: seen.append(x))]):
        half.bridge(half.tokens, attention_mask=half.mask)
    assert found.isfinite()[half.mask.bool()].all()
    assert seen[0].dtype == half.plain.dtype == torch.bfloat16
    exact, plain = (p.logits(shift_of(steerer), heads=heads)[:, -1].float() for p in (pair, half))
    # rounding in another order than the model's own; measured: at most 1.5 times its error, which is 1 to 2 percent
    assert (found[:, -1].float() - exact).norm() < 2 * (plain - exact).norm() < 0.1 * exact.norm()


@pytest.mark.parametrize("name", ["deepseek3", "codegen", "lfm2"])
def test_heads_of_other_kinds(name, folder):
    pair = Pair(family_directory(name, folder))
    test_heads_are_what_the_output_projection_reads(pair)
    test_steering_is_a_plain_hook(pair, "iti_heads")
    # the transformers model in the bridge, and by itself
    seen = []
    for model in (pair.bridge, PlainModel(pair.plain)):
        with hooked(model, [(f"blocks.{MIDDLE}.attn.hook_z", lambda x, hook: seen.append(x))]) as run, torch.no_grad():
            run(pair.tokens)
    assert seen[0].shape[2] == pair.plain.config.num_attention_heads
    torch.testing.assert_close(*seen)


@pytest.mark.parametrize("name", ["deepseek3", "codegen", "mamba"])
def test_blocks_of_other_kinds(name, folder):
    pair = Pair(family_directory(name, folder))
    acts, states = ode.collect_activations(pair.bridge, CONTRAST), [last_states(pair, i) for i in range(3)]
    with torch.no_grad():
        pair.plain(pair.bridge.to_tokens(CONTRAST.positive[0]))
    for layer, found in enumerate(states):
        torch.testing.assert_close(acts[layer].positive[0], found[-1][0, -1], **CLOSE)
    test_steering_is_a_plain_hook(pair, "caa")
    test_a_suffix_is_a_full_pass(pair, 0)
    if name != "mamba":
        test_a_suffix_is_a_full_pass(pair, -1)


def test_codegen_in_half_precision_runs_without_the_bridge(folder):
    pair, half = (Pair(family_directory("codegen", folder), dtype) for dtype in ("float32", "bfloat16"))
    steerer = steerer_of(half.bridge)
    assert half.written(steerer) == half.cached(shift_of(steerer))
    exact, found = (ode.collect_activations(p.bridge, CONTRAST, MIDDLE)[MIDDLE].positive for p in (pair, half))
    assert 0 < (found - exact).norm() < 0.02 * exact.norm()


def test_a_stream_is_unembedded_whatever_blocks_return(folder):
    for name in ("llama3", "falcon", "codegen"):
        pair = Pair(family_directory(name, folder))
        last = last_states(pair)
        with torch.no_grad():
            expected = pair.plain(pair.tokens).logits
        torch.testing.assert_close(unembed(pair.bridge, last[-1]), expected, **CLOSE)


def calls(model, tokens):
    """Everything that takes a model, by name."""
    field = ode.ConstantField(torch.ones(int(model.cfg.d_model)))
    steerer = ode.Steerer(field, ode.Flow(multiplier=1.0), layer=1)
    return {
        "check": lambda: steerer.check(model),
        "on": lambda: steerer.on(model, 4).__enter__(),
        "mlp_out": lambda: ode.collect_activations(model, CONTRAST, 0, site="mlp_out"),
        "collect": lambda: ode.collect_activations(model, CONTRAST),
        "fit": lambda: ode.fit("caa", model, CONTRAST, layer=1, multiplier=1.0),
        "generate": lambda: ode.generate(model, PROMPTS, max_new_tokens=2),
        "steered": lambda: steerer.generate(model, PROMPTS, max_new_tokens=2),
        "prefix": lambda: ode.collect_prefix(model, tokens),
        "cached prefix": lambda: ode.collect_prefix(model, tokens, start=-1),
        "heads": lambda: ode.collect_activations(model, CONTRAST, site="z"),
        "iti": lambda: ode.fit("iti_heads", model, CONTRAST, layer=0),
    }


ALL = ("check", "on", "collect", "fit", "generate", "steered", "prefix", "cached prefix", "heads", "iti")


@pytest.mark.parametrize(
    ("name", "dtype", "names", "word"),
    [
        ("t5", "float32", ALL, "model='t5' is a T5ForConditionalGeneration, which has an encoder beside its decoder"),
        ("codegen", "bfloat16", ("on",), "model='codegen' is in bfloat16, .* load it with dtype='float32'"),
        ("codegen", "float16", ("on", "mlp_out"), "model='codegen' is in float16, .* load it with dtype='float32'"),
        ("bert", "float32", ("generate", "steered"), "model='bert' is a BertForMaskedLM, which does not write"),
        ("bert", "float32", ("cached prefix",), "model='bert' has no cache of keys and values; use start=0"),
        ("mamba", "float32", ("heads", "iti"), "'mamba': block 0 has no attention heads, nor has any other"),
        ("mamba", "float32", ("cached prefix",), "model='mamba' has no cache of keys and values; use start=0"),
        ("lfm2", "float32", ("heads", "iti"), r"'lfm2': block 0 has no attention heads, only layers \[1\] have"),
        ("lfm2", "float32", ("cached prefix",), "model='lfm2' keeps its cache as .*; use start=0"),
    ],
)
def test_what_a_family_cannot_do_is_refused_and_why(name, dtype, names, word, folder):
    model = ode.load_model(family_directory(name, folder), dtype=dtype)
    entry = calls(model, torch.tensor([[1, 7, 9, 11]]))
    for each in names:
        with pytest.raises(ValueError, match=word):
            entry[each]()


def test_a_configuration_that_cannot_be_wrapped_is_refused(folder):
    with pytest.raises(ValueError, match="falcon40b' cannot be wrapped by TransformerLens"):
        ode.load_model(family_directory("falcon40b", folder))


IDS = {"vocab_size": 192, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
TUPLES = {
    "GPTJForCausalLM": {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64, "rotary_dim": 4},
    "BloomForCausalLM": {"hidden_size": 32, "n_layer": 3, "n_head": 4},
    "GPTNeoForCausalLM": {"hidden_size": 32, "num_layers": 3, "num_heads": 4, "attention_types": [[["global"], 3]],
                          "max_position_embeddings": 64},
    "MptForCausalLM": {"d_model": 32, "n_layers": 3, "n_heads": 4, "max_seq_len": 64},
}  # fmt: skip


@pytest.mark.parametrize("kind", TUPLES)
@torch.no_grad()
def test_blocks_that_return_more_than_the_stream_can_be_left_out(kind, tmp_path):
    import transformers

    constructor = getattr(transformers, kind)
    model = ode.load_model(on_disk(lambda: constructor(constructor.config_class(**IDS, **TUPLES[kind])), tmp_path))
    tokens = torch.randint(5, 100, (2, 7), generator=torch.Generator().manual_seed(0))

    def longer(x, hook):
        x = x.clone()
        x[:, -1:] *= 1.3
        return x

    with model.hooks(fwd_hooks=[("blocks.1.hook_out", longer)]):
        expected = model(tokens)[:, -1]
    prefix = ode.collect_prefix(model, tokens, start=-1)
    assert (prefix.baseline - expected).abs().max() > 1e-4
    found = prefix.logits(1, 1.3 * prefix.residuals[1])[:, 0]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
