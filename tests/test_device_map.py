"""A model placed by a device map, half its blocks on disk, is steered as the same model on one device."""

import inspect

import pytest
import torch
from transformer_lens.model_bridge import TransformerBridge

import odesteer_tl as ode

LAYERS = 5


def boot_offloaded(folder, on_disk):
    """The organism with `on_disk` offloaded and the rest in memory."""
    if "offload_folder" not in inspect.signature(TransformerBridge.boot_transformers).parameters:
        pytest.skip("TransformerLens 3 refuses device maps with CPU or disk targets")
    parts = ["model.embed_tokens", "model.rotary_emb", "model.norm", "lm_head"]
    parts += [f"model.layers.{i}" for i in range(LAYERS)]
    places = {part: "disk" if part in on_disk else "cpu" for part in parts}
    model = TransformerBridge.boot_transformers(str(ode.organism.PATH), device_map=places, offload_folder=str(folder))
    model.eval()
    # else this would test nothing: weights that are not in memory stand on the meta device
    assert any(p.device.type == "meta" for p in model.original_model.parameters())
    return model


@pytest.fixture(scope="module")
def offloaded(tmp_path_factory):
    return boot_offloaded(tmp_path_factory.mktemp("offload"), {f"model.layers.{i}" for i in range(1, LAYERS, 2)})


def test_activations_and_identity_are_those_of_the_whole_model(organism, offloaded):
    contrast = ode.organism.contrast("valence", n=10)
    ours, theirs = (ode.collect_activations(m, contrast) for m in (offloaded, organism))
    for layer in range(LAYERS):
        assert torch.equal(ours[layer].positive, theirs[layer].positive)
    assert ode.ModelIdentity.of(offloaded) == ode.ModelIdentity.of(organism)


def test_an_embedding_on_disk_is_read_and_put_back(organism, tmp_path):
    model = boot_offloaded(tmp_path, {"model.embed_tokens"})
    embedding = model.original_model.get_input_embeddings()
    assert embedding.weight.is_meta
    assert ode.ModelIdentity.of(model) == ode.ModelIdentity.of(organism)
    assert embedding.weight.is_meta  # the weight takes no memory afterwards either
    tokens = torch.arange(5, 15)[None]
    with torch.no_grad():
        assert torch.equal(model(tokens), organism(tokens))


def test_a_model_without_weights_is_nobody():
    empty = ode.load_model()
    empty.original_model.to("meta")
    with pytest.raises(ValueError, match="no weights to tell it by"):
        ode.ModelIdentity.of(empty)


@pytest.mark.parametrize("layer", [1, 2])  # on disk, in memory
def test_a_steerer_of_the_whole_model_steers_it_to_the_same_texts(organism, offloaded, layer):
    contrast = ode.organism.contrast("valence", n=30)
    steerer = ode.fit("odesteer_kernel", organism, contrast, layer=layer, angle=0.4)
    prompts = ode.organism.prompts(4)
    settings = {"temperature": 0.0, "max_new_tokens": 8}
    steered = steerer.generate(offloaded, prompts, **settings)
    assert steered == steerer.generate(organism, prompts, **settings)
    assert steered != ode.generate(offloaded, prompts, **settings)


def test_suffix_evaluation_gives_the_same_logits(organism, offloaded):
    tokens = torch.randint(5, 100, (3, 9), generator=torch.Generator().manual_seed(0))
    ours, theirs = (ode.collect_prefix(m, tokens, start=-1) for m in (offloaded, organism))
    edit = theirs.residuals[2] * 1.1
    assert torch.equal(ours.logits(2, edit), theirs.logits(2, edit))


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_a_steerer_follows_the_activation_across_gpus(organism):
    model = TransformerBridge.boot_transformers(str(ode.organism.PATH), n_devices=2)
    model.eval()
    steerer = ode.fit("odesteer_kernel", organism, ode.organism.contrast("valence", n=30), layer=3, angle=0.4)
    prompts = ode.organism.prompts(4)
    settings = {"temperature": 0.0, "max_new_tokens": 8}
    assert steerer.generate(model, prompts, **settings) == steerer.generate(organism, prompts, **settings)
