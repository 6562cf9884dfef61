"""The families people ask for, tiny and random: each boots, and what is collected is the model's own hidden states."""

import pytest
import torch
from transformers import AutoModelForCausalLM

import odesteer_tl as ode
from tests.families import FAMILIES, family_directory

CONTRAST = ode.organism.contrast("valence", n=4)


@pytest.fixture(scope="module", params=FAMILIES)
def family(request, tmp_path_factory):
    return family_directory(request.param, tmp_path_factory.mktemp("families"))


def test_a_family_boots_and_its_activations_are_its_hidden_states(family):
    model = ode.load_model(family)
    plain = AutoModelForCausalLM.from_pretrained(family, dtype=torch.float32).eval()
    acts = ode.collect_activations(model, CONTRAST)
    assert list(acts) == list(range(plain.config.num_hidden_layers))

    # the last hidden state that transformers returns is behind the final norm: take that norm's input instead
    blocks = plain.base_model.h if hasattr(plain.base_model, "h") else plain.base_model.layers
    last = {}
    blocks[-1].register_forward_hook(lambda _module, _args, out: last.update(x=out if torch.is_tensor(out) else out[0]))
    for i, text in enumerate(CONTRAST.positive):
        with torch.no_grad():
            states = plain(model.to_tokens(text), output_hidden_states=True).hidden_states
        expected = [*states[1:-1], last["x"]]
        for layer, state in enumerate(expected):
            torch.testing.assert_close(acts[layer].positive[i], state[0, -1], rtol=1e-4, atol=1e-4)
            assert (state - states[layer]).norm() > 0.05 * states[layer].norm()  # the block does something
