"""Whose activations, whose steerer: a changed block is another model, and a cache holds what its key determines."""

import warnings
from dataclasses import replace

import pytest
import torch
from tokenizers.normalizers import Lowercase

import odesteer_tl as ode
from odesteer_tl.fingerprint import SAMPLE, embedding_fingerprint

TEXTS = ode.organism.contrast("valence", n=8)


def weights(model):
    return dict(model.original_model.named_parameters())


def test_a_change_to_any_parameter_of_any_block_is_another_model(own):
    before = ode.ModelIdentity.of(own)
    for name, weight in weights(own).items():
        kept = weight.detach().clone()
        with torch.no_grad():
            weight.mul_(1 + 1e-3)
        assert ode.ModelIdentity.of(own).fingerprint != before.fingerprint, name
        with torch.no_grad():
            weight.copy_(kept)
    assert ode.ModelIdentity.of(own) == before


def test_an_edit_of_rank_one_and_two_exchanged_blocks_are_other_models(own):
    before = ode.ModelIdentity.of(own).fingerprint
    down = next(w for n, w in weights(own).items() if "layers.3" in n and "down_proj" in n)
    assert down.numel() > 10 * SAMPLE
    u, v = (torch.randn(n, generator=torch.Generator().manual_seed(0)) for n in down.shape)
    with torch.no_grad():
        down.add_(1e-3 * torch.outer(u, v))
    assert ode.ModelIdentity.of(own).fingerprint != before
    other = ode.load_model("organism")
    layers = other.original_model.model.layers
    layers[1], layers[2] = layers[2], layers[1]
    assert ode.ModelIdentity.of(other).fingerprint != before


def test_training_in_place_makes_another_model_for_steerers_and_caches(own, tmp_path):
    steerer = ode.fit("caa", own, TEXTS, layer=2, angle=0.2)
    before = ode.collect_activations(own, TEXTS, [2], cache=tmp_path)
    tokens = own.to_tokens(TEXTS.positive[0])
    optimiser = torch.optim.SGD(own.original_model.model.layers.parameters(), lr=5.0)
    with torch.enable_grad():
        own(tokens, return_type="loss").backward()
    optimiser.step()
    after = ode.collect_activations(own, TEXTS, [2], cache=tmp_path)
    assert (after[2].positive - before[2].positive).norm() > 0.01 * before[2].positive.norm()
    assert torch.equal(after[2].positive, ode.collect_activations(own, TEXTS, [2])[2].positive)
    with pytest.raises(ValueError, match="fingerprint"):
        steerer.check(own)


def test_an_identity_of_the_earlier_kind_is_still_read_and_says_what_it_does_not_see(organism, own, tmp_path):
    steerer = ode.fit("caa", organism, TEXTS, layer=2, angle=0.2)
    earlier = replace(steerer, model=replace(steerer.model, fingerprint=embedding_fingerprint(organism)))
    earlier.save(tmp_path / "s")
    loaded = ode.Steerer.load(tmp_path / "s")
    with pytest.warns(UserWarning, match=r"told by its embedding alone.*bound_to\(model\)"):
        loaded.check(organism)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded.bound_to(organism).check(organism)
    with torch.no_grad():
        own.original_model.get_input_embeddings().weight.add_(0.1)
    with pytest.raises(ValueError, match="fingerprint"):
        loaded.check(own)


def files(folder):
    return len(list(folder.iterdir()))


def test_whatever_determines_the_activations_is_in_the_key(own, tmp_path):
    def collect(**settings):
        return ode.collect_activations(own, TEXTS, [1], cache=tmp_path, **settings)

    first = collect()
    assert files(tmp_path) == 1
    assert torch.equal(collect()[1].positive, first[1].positive)
    assert files(tmp_path) == 1
    # what `prepend_bos=None` means is the model's to say, and may be changed
    own.cfg.default_prepend_bos = False
    without = collect()
    assert not torch.equal(without[1].positive, first[1].positive)
    assert files(tmp_path) == 2
    own.cfg.default_prepend_bos = True
    # other groups, which an analysis takes from the activations, of the same texts
    regrouped = ode.ContrastSet.from_texts(TEXTS.positive, TEXTS.negative, groups=([0] * 8, [1] * 8))
    ode.collect_activations(own, regrouped, [1], cache=tmp_path)
    assert files(tmp_path) == 3
    own.original_model.config.rms_norm_eps = 1e-2
    collect()
    assert files(tmp_path) == 4


def test_a_tokenizer_that_reads_other_tokens_has_another_key(own, tmp_path):
    contrast = ode.ContrastSet.from_texts(["anna was Sunny"], ["anna was sunny"])
    ode.collect_activations(own, contrast, [1], cache=tmp_path)
    own.tokenizer.backend_tokenizer.normalizer = Lowercase()
    acts = ode.collect_activations(own, contrast, [1], cache=tmp_path)
    assert files(tmp_path) == 2
    assert torch.equal(acts[1].positive, acts[1].negative)


def test_nothing_is_cached_under_hooks_that_change_what_the_model_computes(own, tmp_path):
    plain = ode.collect_activations(own, TEXTS, [1], cache=tmp_path)
    steerer = ode.fit("caa", own, TEXTS, layer=0, angle=0.4)
    with steerer.on(own, prompt_length=1):
        steered = ode.collect_activations(own, TEXTS, [1], cache=tmp_path)
    assert not torch.equal(steered[1].positive, plain[1].positive)
    handle = own.original_model.model.layers[0].register_forward_hook(lambda *_: None)
    other = ode.collect_activations(own, TEXTS, [1, 2], cache=tmp_path)
    handle.remove()
    # a hooked model runs the attention that TransformerLens chose, which rounds otherwise than transformers' own
    torch.testing.assert_close(other[1].positive, plain[1].positive, rtol=1e-5, atol=1e-3)
    assert files(tmp_path) == 1
    ode.generate(own, ["anna was"], max_new_tokens=1)  # which leaves hooks of transformers' own
    ode.collect_activations(own, TEXTS, [1, 2], cache=tmp_path)
    assert files(tmp_path) == 2
