"""Suffix evaluation equals full forward passes with steering hooks, on two architectures, and leaves no trace."""

import pytest
import torch

import odesteer_tl as ode
from analyses.cost.timing import peak_memory
from odesteer_tl.blocks import unembed
from odesteer_tl.suffix import collect_prefix
from tests.problems import padded_prompts

P = 7


def by_full_pass(model, tokens, mask, layer, start, change):
    """Logits and every resid_post of a full pass in which a hook changes the positions from `start` on."""
    seen = {}

    def steer(x, hook):
        x = x.clone()
        x[:, start:] = change(x[:, start:])
        return x

    def keep(x, hook):
        seen[int(hook.name.split(".")[1])] = x

    watch = [(f"blocks.{i}.hook_out", keep) for i in range(model.cfg.n_layers)]
    with torch.no_grad(), model.hooks(fwd_hooks=[(f"blocks.{layer}.hook_out", steer), *watch]):
        return model(tokens, attention_mask=mask), seen


def overrides(model):
    return [i for i, block in enumerate(model.blocks) if "forward" in block.__dict__]


def rotate(x, angle=0.7):
    field = ode.ConstantField(torch.randn(x.shape[-1], generator=torch.Generator().manual_seed(0)))
    return ode.Flow(angle=angle).solve(field, x).end


def every_other(x):
    """An edit of some of the positions only."""
    out = x.clone()
    out[:, ::2] = rotate(x[:, ::2])
    return out


@pytest.mark.parametrize("start", [0, P - 1, -1, 3])
@pytest.mark.parametrize("change", [rotate, every_other, torch.zeros_like])
def test_logits_and_residuals_equal_a_full_pass_with_hooks(model, start, change):
    tokens, mask = padded_prompts(P, 4)
    prefix = collect_prefix(model, tokens, mask, start)
    at = start % P
    real = mask[:, at:].bool()
    _, plain = by_full_pass(model, tokens, mask, 0, at, lambda x: x)
    for layer in range(model.cfg.n_layers):
        torch.testing.assert_close(prefix.residuals[layer][real], plain[layer][:, at:][real], rtol=1e-4, atol=1e-4)
        expected, seen = by_full_pass(model, tokens, mask, layer, at, change)
        found = prefix.logits(layer, change(prefix.residuals[layer]), last=P - at)
        # a column of padding holds nothing anyone may read
        torch.testing.assert_close(found[real], expected[:, at:][real], rtol=1e-4, atol=1e-4)
        later = list(range(layer + 1, model.cfg.n_layers))
        if later:
            residuals = prefix.later_residuals(layer, change(prefix.residuals[layer]), later)
            for other, x in residuals.items():
                torch.testing.assert_close(x[real], seen[other][:, at:][real], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("start", [0, -1])
def test_the_real_model_too(tinystories, start):
    tokens = tinystories.to_tokens(["The dog was very happy", "Once upon a time there was a", "Sad"],
                                   padding_side="left")  # fmt: skip
    mask = (tokens != tinystories.tokenizer.pad_token_id).long()
    mask[:, -1] = 1
    prefix = collect_prefix(tinystories, tokens, mask, start)
    for layer in range(tinystories.cfg.n_layers):
        expected, _ = by_full_pass(tinystories, tokens, mask, layer, prefix.start, rotate)
        found = prefix.logits(layer, rotate(prefix.residuals[layer]))
        torch.testing.assert_close(found[:, 0], expected[:, -1], rtol=1e-4, atol=1e-4)


def test_it_equals_a_steerer_on_the_last_prompt_token(model):
    acts = ode.collect_activations(model, ode.organism.contrast("valence", n=30), layers=[1])
    steerer = ode.Steerer(ode.BarrierField(ode.KernelBarrier(C=10.0).fit(acts[1].positive, acts[1].negative)),
                          ode.Flow(angle=0.4), layer=1)  # fmt: skip
    tokens, mask = padded_prompts(P, 4)
    with steerer.on(model, prompt_length=P), torch.no_grad():
        expected = model(tokens, attention_mask=mask)[:, -1]
    prefix = collect_prefix(model, tokens, mask, start=-1)
    for angle in (0.1, 0.4, 0.2):  # the order must not matter: nothing may be left in the shared cache
        end = steerer.at(ode.Flow(angle=angle)).flow.solve(steerer.field, prefix.residuals[1]).end
        found = prefix.logits(1, end)[:, 0]
        assert torch.allclose(found, expected, rtol=1e-4, atol=1e-4) == (angle == 0.4)


@pytest.mark.parametrize("start", [0, 3])
def test_the_unedited_residual_gives_the_baseline(model, start):
    tokens, mask = padded_prompts(P, 4)
    prefix = collect_prefix(model, tokens, mask, start)
    with torch.no_grad():
        torch.testing.assert_close(prefix.baseline, model(tokens, attention_mask=mask)[:, -1], rtol=1e-4, atol=1e-4)
    for layer, x in enumerate(prefix.residuals):
        assert torch.equal(prefix.logits(layer, x)[:, 0], prefix.baseline)


def test_earlier_blocks_really_do_not_run(organism):
    runs = []
    handles = [block.mlp.original_component.register_forward_hook(lambda *_, i=i: runs.append(i))
               for i, block in enumerate(organism.blocks)]  # fmt: skip
    try:
        prefix = collect_prefix(organism, *padded_prompts(P, 4), start=-1)
        runs.clear()
        prefix.logits(2, prefix.residuals[2])
        assert runs == [3, 4]
        runs.clear()
        prefix.later_residuals(1, prefix.residuals[1], [2, 3])
        assert runs == [2, 3]
    finally:
        for handle in handles:
            handle.remove()


@pytest.mark.parametrize("start", [0, -1])
def test_memory_does_not_grow_with_the_number_of_strengths(organism, start):
    prefix = collect_prefix(organism, *padded_prompts(P, 4), start)
    rotate(prefix.residuals[1])  # annotations are checked, and cached, at the first call

    def sweep(n):
        return [float(prefix.logits(1, rotate(prefix.residuals[1], a)).sum()) for a in torch.linspace(0, 1, n).tolist()]

    few, many = (peak_memory(lambda n=n: sweep(n)) for n in (1, 6))
    assert many <= 1.01 * few


def test_blocks_are_restored_after_an_exception_and_a_users_override_survives(organism):
    prefix = collect_prefix(organism, *padded_prompts(P, 4), start=-1)
    block = organism.blocks[1]
    mine = block.forward
    block.__dict__["forward"] = mine

    def fail(x, hook):
        raise RuntimeError("mine")

    try:
        with pytest.raises(RuntimeError, match="mine"), organism.hooks(fwd_hooks=[("blocks.4.hook_out", fail)]):
            prefix.logits(2, prefix.residuals[2])
        assert overrides(organism) == [1]
        assert block.__dict__["forward"] is mine
    finally:
        del block.__dict__["forward"]
    tokens, mask = padded_prompts(P, 4)
    with torch.no_grad():
        torch.testing.assert_close(prefix.baseline, organism(tokens, attention_mask=mask)[:, -1], rtol=1e-4, atol=1e-4)


def test_blocks_that_exchange_more_than_the_residual_stream_are_refused(gpt2_directory):
    model = ode.load_model(gpt2_directory)
    note, first, last = {}, model.blocks[0].forward, model.blocks[2].forward

    def leave_note(x, *args, **kwargs):
        note["x"] = x
        return first(x, *args, **kwargs)

    def read_note(x, *args, **kwargs):
        return last(x, *args, **kwargs) + note.pop("x", 0)

    model.blocks[0].__dict__["forward"], model.blocks[2].__dict__["forward"] = leave_note, read_note
    with pytest.raises(ValueError, match="exchange more than the residual stream"):
        collect_prefix(model, *padded_prompts(P, 4))


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
def test_other_precisions(gpt2_directory, dtype):
    model = ode.load_model(gpt2_directory, dtype=dtype)
    tokens, mask = padded_prompts(P, 4)
    prefix = collect_prefix(model, tokens, mask, start=-1)
    expected, _ = by_full_pass(model, tokens, mask, 1, P - 1, lambda x: 1.5 * x)
    tolerance = {"bfloat16": 3e-2, "float64": 1e-10}[dtype]
    found = prefix.logits(1, 1.5 * prefix.residuals[1])[:, 0]
    torch.testing.assert_close(found, expected[:, -1], rtol=tolerance, atol=tolerance)


def test_bad_input_names_the_argument_and_the_value(organism, unchecked):
    tokens, mask = padded_prompts(P, 4)
    for start in (P, -P - 1):
        with pytest.raises(ValueError, match=f"start={start} is out of range"):
            collect_prefix(organism, tokens, mask, start)
    prefix = collect_prefix(organism, tokens, mask, start=5)
    x = prefix.residuals[2]
    with pytest.raises(ValueError, match="layer=5 is out of range"):
        prefix.logits(5, x)
    with pytest.raises(ValueError, match=r"edited is \(4, 1, 128\)"):
        prefix.logits(2, x[:, :1])
    with pytest.raises(ValueError, match=r"edited is .* torch.float64"):
        prefix.logits(2, x.double())
    with pytest.raises(ValueError, match="last=3 must be 1 to 2"):
        prefix.logits(2, x, last=3)
    for layers in ([], [2], [1, 4]):
        with pytest.raises(ValueError, match="each after layer=2"):
            prefix.later_residuals(2, x, layers)


@pytest.mark.parametrize("start", [0, -1])
def test_the_stream_after_the_last_block_is_what_logits_are_made_of(model, start):
    tokens, mask = padded_prompts(P, 4)
    prefix = collect_prefix(model, tokens, mask, start)
    for layer in range(model.cfg.n_layers):
        edited = rotate(prefix.residuals[layer])
        expected = prefix.logits(layer, edited, last=edited.shape[1])
        torch.testing.assert_close(unembed(model, prefix.final(layer, edited)), expected, rtol=1e-4, atol=1e-4)
    assert overrides(model) == []


@pytest.mark.parametrize("start", [0, -1])
def test_some_of_the_prompts_and_more_tokens_behind_them_equal_a_batch_of_their_own(model, start):
    tokens, mask = padded_prompts(P, 4)
    more = torch.randint(5, 100, (4, 3), generator=torch.Generator().manual_seed(5))
    real = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 1, 1]])
    prefix = collect_prefix(model, tokens, mask, start)
    both, own = torch.cat([tokens, more], dim=1), torch.cat([mask, real], dim=1)
    for rows in ([2, 0], slice(1, 4)):
        longer = prefix.rows(rows).followed_by(more[rows], real[rows])
        expected = collect_prefix(model, both[rows], own[rows], prefix.start)
        seen = own[rows][:, prefix.start :].bool()
        for found, wanted in zip(longer.residuals, expected.residuals, strict=True):
            torch.testing.assert_close(found[seen], wanted[seen], rtol=1e-4, atol=1e-4)
        edited = rotate(longer.residuals[1])
        found, wanted = (x.logits(1, edited, last=3)[seen[:, -3:]] for x in (longer, expected))
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    whole = prefix.logits(0, prefix.residuals[0])  # nothing was written into the cache that all share
    torch.testing.assert_close(whole[:, 0], prefix.baseline, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("layer", [None, 0, 1])
@pytest.mark.parametrize("length", [P, 1])
def test_decoding_from_a_prefix_equals_full_passes(model, layer, length):
    """Token by token, also where the stream after a block is known and the blocks up to it are left out."""
    tokens, mask = padded_prompts(P, 4)
    tokens, mask = tokens[:, -length:], mask[:, -length:]
    more = torch.randint(5, 100, (4, 3), generator=torch.Generator().manual_seed(6))
    decoder = collect_prefix(model, tokens, mask, start=-1).decoder()
    both, real = torch.cat([tokens, more], dim=1), torch.cat([mask, torch.ones_like(more)], dim=1)
    expected, seen = by_full_pass(model, both, real, 0, 0, lambda x: x)
    for k in range(3):
        at = length - 1 + k
        known = {} if layer is None else {"layer": layer, "edited": seen[layer][:, at : at + 1]}
        found = decoder.step(both[:, at : at + 1], **known)
        torch.testing.assert_close(found, expected[:, at], rtol=1e-4, atol=1e-4)
    assert overrides(model) == []
    if length > 1:
        with pytest.raises(ValueError, match="collect the prefix with start=-1"):
            collect_prefix(model, tokens, mask).decoder()


@pytest.mark.parametrize("length", [P, 1])
def test_several_tokens_behind_a_steer_equal_full_passes(model, length):
    """The last token is steered once; what follows some of the prompts, some of them twice, is run behind it."""
    tokens, mask = (x[:, -length:] for x in padded_prompts(P, 4))
    prefix, layer, field = collect_prefix(model, tokens, mask, start=-1), 1, rotate
    more = torch.randint(5, 100, (3, 2), generator=torch.Generator().manual_seed(6))
    rows, real = [3, 0, 3], torch.tensor([[1, 1], [1, 1], [1, 0]])
    decoder, ends = prefix.decoder(), prefix.tokens[:, -1:]
    first = decoder.stream(ends, torch.ones_like(ends), layer, field(prefix.residuals[layer]))
    torch.testing.assert_close(first, prefix.final(layer, field(prefix.residuals[layer])), rtol=1e-4, atol=1e-4)
    longer = prefix.rows(rows).followed_by(more, real, layer)
    assert all(bool(x.isnan().all()) == (i != layer) for i, x in enumerate(longer.residuals))
    found = decoder.rows(rows).stream(more, real, layer, field(longer.residuals[layer][:, 1:]))
    both, own = torch.cat([tokens[rows], more], dim=1), torch.cat([mask[rows], real], dim=1)
    expected, _ = by_full_pass(model, both, own, layer, length - 1, field)
    at = own[:, length:].bool()
    torch.testing.assert_close(unembed(model, found)[at], expected[:, length:][at], rtol=1e-4, atol=1e-4)
    again = decoder.rows([1]).stream(more[:1], real[:1], layer, field(longer.residuals[layer][:1, 1:]))
    assert again.shape == found[:1].shape  # what one call appends, no other sees
    assert overrides(model) == []


@pytest.mark.parametrize("start", [0, -1])
def test_hooks_within_blocks_run_from_the_prefixs_cache(model, start):
    """On several blocks' outputs and on heads, against full passes on the bridge; later blocks do not run."""
    tokens, mask = padded_prompts(P, 4)
    prefix, runs = collect_prefix(model, tokens, mask, start), []
    at = prefix.start

    def push(x, hook=None):
        x = x.clone()
        x[:, at - P :] += 0.3 * x[:, at - P :].flip(-1)
        return x

    places = ["blocks.0.hook_out", "blocks.1.attn.hook_z", "blocks.1.hook_out"]
    seen = []
    look = ("blocks.1.hook_out", lambda x, hook: seen.append(x))
    with torch.no_grad(), model.hooks(fwd_hooks=[*((name, push) for name in places), look]):
        model(tokens, attention_mask=mask, position_ids=(mask.cumsum(1) - 1).clamp_min(0))
    later = ("blocks.2.hook_in", lambda x, hook=None: runs.append(x))
    real = mask[:, at:].bool()
    found = prefix.hooked(1, [*((name, push) for name in places), later])
    torch.testing.assert_close(found[real], seen[0][:, at:][real], rtol=1e-4, atol=1e-4)
    assert not runs


def test_layers_go_by_names_and_from_the_end(organism):
    tokens, mask = padded_prompts(P, 4)
    prefix = collect_prefix(organism, tokens, mask, start=-1)
    edited = prefix.residuals[2] * 1.5
    expected, later = prefix.logits(2, edited), prefix.later_residuals(2, edited, [3, 4])
    for name in (-3, "blocks.2.hook_resid_post", "blocks.2.hook_out", torch.tensor(2)):
        assert torch.equal(prefix.logits(name, edited), expected)
        assert torch.equal(prefix.final(name, edited), later[4])
        found = prefix.later_residuals(name, edited, [-1, "blocks.3.hook_resid_post"])
        assert sorted(found) == [3, 4]
        assert all(torch.equal(found[n], later[n]) for n in later)
    assert torch.equal(prefix.final(-1, edited), edited)
    with pytest.raises(ValueError, match=r"layer='blocks.2.hook_resid_mid' is not a block's output.* use 2 or"):
        prefix.logits("blocks.2.hook_resid_mid", edited)
    with pytest.raises(ValueError, match="each after layer=3"):
        prefix.later_residuals(-2, edited, [-2])
    with pytest.raises(ValueError, match="layer=-6 is out of range"):
        prefix.logits(-6, edited)
