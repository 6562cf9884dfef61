"""Collecting activations: equal to one text at a time, every pool, the cache, bad input."""

import pytest
import torch

import odesteer_tl as ode

TEXTS = ode.organism.contrast("valence", n=13)


def alone(model, text):
    """What every block puts out for one text, by layer."""
    found = {}
    hooks = [(f"blocks.{i}.hook_out", lambda x, hook, i=i: found.update({i: x[0]})) for i in range(model.cfg.n_layers)]
    with model.hooks(fwd_hooks=hooks):
        model(text)
    return found


@pytest.mark.parametrize("name", ["organism", "gpt2"])
@pytest.mark.parametrize("batch_size", [1, 5, 64])
def test_a_batch_gives_what_each_text_gives_alone(name, batch_size, request):
    model = request.getfixturevalue(name)
    # BOS is left out of what is pooled over tokens, unless it is asked for
    cases = {
        ("last", False): lambda x: x[-1:],
        ("mean", False): lambda x: x[1:].mean(0, keepdim=True),
        ("all", False): lambda x: x[1:],
        ("mean", True): lambda x: x.mean(0, keepdim=True),
        ("all", True): lambda x: x,
    }
    states = [alone(model, text) for text in TEXTS.negative]
    for (position, special), reduce in cases.items():
        acts = ode.collect_activations(
            model, TEXTS, read_position=position, batch_size=batch_size, special_tokens=special
        )
        assert sorted(acts) == list(range(model.cfg.n_layers))
        for layer in acts:
            expected = torch.cat([reduce(state[layer]) for state in states])
            torch.testing.assert_close(acts[layer].negative, expected, rtol=1e-4, atol=1e-4)


def test_a_callable_position(organism):
    acts = ode.collect_activations(organism, TEXTS, [2], read_position=lambda x, mask: x[:, 3])
    expected = torch.stack([alone(organism, text)[2][3] for text in TEXTS.positive])
    torch.testing.assert_close(acts[2].positive, expected, rtol=1e-4, atol=1e-4)


def test_layers_are_collected_from_one_forward_pass_per_batch(organism):
    calls = []
    handle = organism.original_model.register_forward_pre_hook(lambda *_: calls.append(1))
    try:
        ode.collect_activations(organism, TEXTS, "all", batch_size=13)
    finally:
        handle.remove()
    assert len(calls) == 2


def test_no_logits_are_made_that_nobody_uses(organism):
    """All layers are wanted, and behind the last the pass is over: nothing is unembedded."""
    shapes = []
    head = organism.original_model.get_output_embeddings()
    watch = head.register_forward_hook(lambda module, x, out: shapes.append(tuple(out.shape)))
    try:
        ode.collect_activations(organism, TEXTS, "all", batch_size=26)
    finally:
        watch.remove()
    assert shapes == []


def test_hooks_and_grad_mode_are_left_as_they_were(organism):
    count = lambda: sum(len(p.fwd_hooks) for p in organism.hook_dict.values())  # noqa: E731
    before = count()
    ode.collect_activations(organism, TEXTS, [1])
    assert count() == before
    assert torch.is_grad_enabled()


def test_the_cache_returns_the_same_and_is_keyed_by_what_matters(organism, tmp_path):
    first = ode.collect_activations(organism, TEXTS, [1, 2], cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    again = ode.collect_activations(organism, TEXTS, [1, 2], cache=tmp_path)
    assert torch.equal(first[2].positive, again[2].positive)
    assert (again.model, again.provenance) == (first.model, first.provenance)
    ode.collect_activations(organism, TEXTS, [1, 2], read_position="mean", cache=tmp_path)
    ode.collect_activations(organism, TEXTS.split((0.5, 0.5))[0], [1, 2], cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 3


def test_a_damaged_cache_is_refused(organism, tmp_path):
    ode.collect_activations(organism, TEXTS, [1], cache=tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ValueError, match="delete it"):
        ode.collect_activations(organism, TEXTS, [1], cache=tmp_path)


def test_a_model_that_yields_nan_is_named_by_layer():
    model = ode.load_model("organism")
    with torch.no_grad():
        next(model.original_model.model.layers[2].parameters()).fill_(torch.nan)
    with pytest.raises(ValueError, match=r"layer 2 \(positive\) holds"):
        ode.collect_activations(model, TEXTS)


@pytest.mark.parametrize("name", ["organism", "gpt2"])
def test_a_text_longer_than_the_context_is_refused_and_one_that_fills_it_is_whole(name, request):
    model = request.getfixturevalue(name)
    context, base = model.cfg.n_ctx, "leo noticed"
    spare = context - model.to_tokens(base).shape[1]
    full = base + " round" * spare
    contrast = ode.ContrastSet.from_texts([full], ["anna was"])
    acts = ode.collect_activations(model, contrast, [1])
    torch.testing.assert_close(acts[1].positive[0], alone(model, full)[1][context - 1], rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match=rf"text 'leo noticed.* {context + 1} tokens.* context is {context}; cut"):
        ode.collect_activations(model, ode.ContrastSet.from_texts([full + " old"], ["anna was"]), [1])


@pytest.mark.parametrize(
    ("settings", "word"),
    [({"layers": [5]}, "layer=5"), ({"layers": [-6]}, "layer=-6"), ({"batch_size": 0}, "batch_size=0"),
     ({"read_position": "middle"}, "read_position='middle'")],
)  # fmt: skip
def test_bad_input_names_the_argument_and_the_value(organism, settings, word, unchecked):
    with pytest.raises(ValueError, match=word):
        ode.collect_activations(organism, TEXTS, **settings)
    with pytest.raises(KeyError, match="layer=1"):
        ode.collect_activations(organism, TEXTS, [2])[1]
