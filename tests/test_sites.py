"""Sites: the names people type, what stands behind them on each architecture, reading and steering there."""

import json

import numpy as np
import pytest
import torch
import transformers
from transformer_lens.utilities import get_act_name

import odesteer_tl as ode
from odesteer_tl.sites import SITES, Place, place, site_of
from tests.problems import on_disk

TOKENS = torch.arange(7, 14)[None]
FEW = ode.organism.contrast("valence", n=4)
WIDE = ["resid_pre", "resid_mid", "attn_out", "mlp_out", "resid_post"]
SMALL = {"vocab_size": 512, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "hidden_size": 32,
         "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64,
         "max_position_embeddings": 64}  # fmt: skip
GROUPED = {**SMALL, "num_key_value_heads": 2}
CONFIGS = {
    "llama": lambda: transformers.LlamaConfig(**GROUPED),
    "gemma2": lambda: transformers.Gemma2Config(**GROUPED, head_dim=8),
    "olmo2": lambda: transformers.Olmo2Config(**GROUPED),
    "mixtral": lambda: transformers.MixtralConfig(**GROUPED, num_local_experts=2),
    "phi3": lambda: transformers.Phi3Config(**GROUPED),
    "gpt_neox": lambda: transformers.GPTNeoXConfig(**SMALL),
    "falcon": lambda: transformers.FalconConfig(**SMALL),
}
PARALLEL = ("gpt_neox", "falcon")


@pytest.fixture(scope="module", params=["gpt2", *CONFIGS])
def family(request, tmp_path_factory):
    """A tiny random model of an architecture, with its name."""
    if request.param == "gpt2":
        return request.param, request.getfixturevalue("gpt2")
    make = lambda: transformers.AutoModelForCausalLM.from_config(CONFIGS[request.param]())  # noqa: E731
    return request.param, ode.load_model(on_disk(make, tmp_path_factory.mktemp(request.param)))


def seen(model, tokens, names, hooks=()):
    """What hook points carry while a model runs with hooks, by name; [batch, pos, *width]."""
    found = {}
    look = [(name, lambda x, hook, name=name: found.update({name: x.detach().clone()})) for name in names]
    with torch.no_grad():
        model.run_with_hooks(tokens, fwd_hooks=[*hooks, *look])
    return found


def test_the_sites_add_up_to_the_block_on_every_architecture(family):
    name, model = family
    layer = model.cfg.n_layers - 1
    names = {s: Place(layer, site_of(s)).hook_name for s in WIDE if name not in PARALLEL or s != "resid_mid"}
    x = {s: seen(model, TOKENS, names.values())[hook] for s, hook in names.items()}
    before = seen(model, TOKENS, [Place(layer - 1, "hook_out").hook_name])[Place(layer - 1, "hook_out").hook_name]
    close = {"rtol": 1e-5, "atol": 1e-5}
    torch.testing.assert_close(x["resid_pre"], before, **close)
    torch.testing.assert_close(x["resid_pre"] + x["attn_out"] + x["mlp_out"], x["resid_post"], **close)
    assert x["attn_out"].abs().max() > 1e-3
    assert x["mlp_out"].abs().max() > 1e-4
    if name in PARALLEL:
        with pytest.raises(ValueError, match=r"hook_resid_mid.*same residual stream"):
            place(layer, "resid_mid", model=model)
    else:
        torch.testing.assert_close(x["resid_mid"], x["resid_pre"] + x["attn_out"], **close)


def test_steering_at_each_site_is_adding_there_by_hand(family):
    name, model = family
    for site in (s for s in [*WIDE, "z"] if name not in PARALLEL or s != "resid_mid"):
        acts = ode.collect_activations(model, FEW, [-1], site=site)
        layer = model.cfg.n_layers - 1
        hook = Place(layer, site_of(site)).hook_name
        text = seen(model, model.to_tokens(FEW.positive[1]), [hook])[hook][0, -1]
        torch.testing.assert_close(acts[layer].positive[1], text, rtol=1e-4, atol=1e-4)
        steerer = ode.fit("caa", model, FEW, layer=-1, multiplier=2.0, site=site, steer_position="all")
        push = 2 * (acts[layer].positive - acts[layer].negative).mean(0)
        with torch.no_grad(), steerer.on(model):
            steered = model(TOKENS)
        with torch.no_grad():
            by_hand = model.run_with_hooks(TOKENS, fwd_hooks=[(hook, lambda x, hook, push=push: x + push)])
        torch.testing.assert_close(steered, by_hand, rtol=1e-4, atol=1e-4)
        assert (steered - model(TOKENS)).abs().max() > 1e-4


def test_every_name_of_a_place_means_that_place(family):
    _, model = family
    last = model.cfg.n_layers - 1
    for short, long in (
        ("resid_pre", "hook_in"),
        ("resid_post", "hook_out"),
        ("mlp_out", "hook_mlp_out"),
        ("z", "hook_z"),
    ):
        expected = place(last, short, model=model)
        full = get_act_name(short, last)
        ways = [(last, short), (-1, short), (np.int64(last), long), (torch.tensor(last), full), (full, None),
                (full, short), (model.hook_dict[full].name, None)]  # fmt: skip
        assert {place(layer, site, model=model) for layer, site in ways} == {expected}
        assert model.hook_dict[full] is model.hook_dict[expected.hook_name]


@pytest.mark.parametrize(
    ("layer", "site", "word"),
    [
        (5, None, "layer=5 is out of range"), (-6, None, "layer=-6 is out of range"),
        ("blocks.7.hook_out", None, "out of range"), ("resid_post", None, "layer='resid_post' is neither"),
        (1, "resid_between", "site='resid_between' is unknown; choose one of 'resid_pre'"),
        (1, "blocks.2.hook_mlp_out", "name two places"), ("blocks.1.hook_out", "z", "name two places"),
        (True, None, "not a whole number"), (1.0, None, "not a whole number"),
        ("blocks.1.ln1.hook_scale", None, "site='ln1.hook_scale' is unknown"),
    ],
)  # fmt: skip
def test_names_that_are_none_are_refused(organism, layer, site, word, unchecked):
    with pytest.raises(ValueError, match=word):
        place(layer, site, model=organism)


def test_steerers_take_names_and_keep_the_file_format(organism, tmp_path):
    field, flow = ode.ConstantField(torch.ones(128)), ode.Flow(multiplier=1.0)
    steerer = ode.Steerer(field, flow, layer=get_act_name("resid_mid", 2))
    assert (steerer.layer, steerer.site, steerer.hook_name) == (2, "hook_resid_mid", "blocks.2.hook_resid_mid")
    assert ode.Steerer(field, flow, layer=2, site="resid_post").hook_name == "blocks.2.hook_out"
    steerer.save(tmp_path / "mid")
    assert json.loads((tmp_path / "mid" / "steerer.json").read_text())["hook_name"] == "blocks.2.hook_resid_mid"
    loaded = ode.Steerer.load(tmp_path / "mid")
    assert (loaded.layer, loaded.site, loaded.flow) == (2, "hook_resid_mid", flow)
    with pytest.raises(ValueError, match="layer=-1 counts from the end"):
        ode.Steerer(field, flow, layer=-1)
    identity = ode.ModelIdentity.of(organism)
    assert ode.Steerer(field, flow, layer=-1, model=identity).layer == organism.cfg.n_layers - 1


def test_activations_are_found_by_every_name(organism):
    acts = ode.collect_activations(organism, FEW, ["blocks.1.hook_resid_mid", "blocks.3.hook_resid_mid"])
    assert acts.site == "hook_resid_mid"
    assert list(acts) == [1, 3]
    assert acts["blocks.3.hook_resid_mid"] is acts[3] is acts[np.int64(3)] is acts[3 - organism.cfg.n_layers]
    assert 2 not in acts
    assert 99 not in acts
    with pytest.raises(KeyError, match="hook_resid_mid"):
        acts["blocks.3.hook_out"]
    with pytest.raises(ValueError, match="one site"):
        ode.collect_activations(organism, FEW, ["blocks.1.hook_resid_mid", "blocks.3.hook_out"])


def test_activations_may_stand_for_the_texts(organism):
    acts = ode.collect_activations(organism, FEW, [2, 3], site="resid_mid")
    one, two = (ode.fit("caa", organism, x, layer=2, multiplier=1.0, site="resid_mid") for x in (acts, FEW))
    assert one.hook_name == "blocks.2.hook_resid_mid"
    assert torch.equal(one.field.given, two.field.given)
    assert ode.fit("caa", organism, acts, layer=2, multiplier=1.0).hook_name == one.hook_name
    with pytest.raises(ValueError, match="pass the texts"):
        ode.fit("caa", organism, acts, layer=[2, 3], multiplier=1.0)
    with pytest.raises(ValueError, match="collect them there"):
        ode.fit("caa", organism, acts, layer=2, multiplier=1.0, site="resid_pre")
    with pytest.raises(ValueError, match="a method of attention heads"):
        ode.fit("iti_heads", organism, FEW, layer=2, multiplier=1.0, site="resid_post")


def test_every_site_has_a_short_name():
    assert {site_of(short) for short in [*WIDE, "z"]} == set(SITES)
