"""Dictionaries that SAELens itself made and saved, where it is installed (it brings TransformerLens 3.9)."""

import pytest
import torch

import odesteer_tl as ode
from odesteer_tl import methods

sae_lens = pytest.importorskip("sae_lens", reason="SAELens is not installed")


def make(architecture, settings, d=64, latents=96):
    """One of SAELens's own autoencoders with random weights."""
    kind, config = sae_lens.registry.get_sae_class(architecture)
    sae = kind(config(d_in=d, d_sae=latents, **settings))
    g = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in sae.named_parameters():
            weight.copy_(torch.randn(weight.shape, generator=g))
            if name == "threshold":
                weight.abs_()
    return sae


@pytest.mark.parametrize(
    ("architecture", "settings"),
    [
        ("standard", {}),
        ("standard", {"apply_b_dec_to_input": False}),
        ("topk", {"k": 7}),
        ("topk", {"k": 7, "rescale_acts_by_decoder_norm": True}),
        ("jumprelu", {}),
    ],
)
def test_what_saelens_saves_encodes_and_decodes_as_it_does_there(architecture, settings, tmp_path):
    theirs = make(architecture, settings)
    theirs.save_model(tmp_path)
    ours, x = methods.read_saelens(tmp_path), torch.randn(50, 64)
    codes = theirs.encode(x).detach()
    codes = codes.to_dense() if codes.is_sparse else codes
    torch.testing.assert_close(ours.encode(x), codes, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.decode(ours.encode(x)), theirs.decode(codes).detach(), rtol=1e-4, atol=1e-4)
    assert (codes > 0).any()


def test_a_dictionary_of_saelens_steers(organism, tmp_path):
    theirs = make("topk", {"k": 7}, d=organism.cfg.d_model)
    theirs.save_model(tmp_path)
    contrast = ode.organism.contrast("valence", n=30)
    acts = ode.collect_activations(organism, contrast, layers=[2])[2]
    field = methods.lf_steering(acts.positive, acts.negative, autoencoder=methods.read_saelens(tmp_path))
    steerer = ode.Steerer(field, ode.Flow(angle=0.4), layer=2)
    prompts, settings = ode.organism.prompts(4), {"temperature": 0.0, "max_new_tokens": 8}
    assert steerer.generate(organism, prompts, **settings) != ode.generate(organism, prompts, **settings)
