"""Threads, gradients and training mode: what may go on around a steered model, and what may not."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch

import odesteer_tl as ode
from odesteer_tl import _turn

LAYER = 2


@pytest.fixture(scope="module")
def steerers(organism, contrast):
    caa = ode.fit("caa", organism, contrast, layer=LAYER, angle=0.1)
    return [caa.at(ode.Flow(angle=angle, steps=1, solver="euler")) for angle in (0.0, 0.3, 0.6, 0.9)]


def in_threads(jobs):
    """The results of jobs that start at once, in their order."""
    start = threading.Barrier(len(jobs))
    with ThreadPoolExecutor(len(jobs)) as pool:
        return [f.result() for f in [pool.submit(lambda job=job: (start.wait(), job())[1]) for job in jobs]]


def test_threads_that_generate_from_one_model_get_what_each_gets_alone(organism, steerers):
    prompts = ode.organism.prompts(6)

    def job(steerer):
        return lambda: steerer.generate(organism, prompts, max_new_tokens=8, temperature=1.0, seed=3)

    expected = [job(steerer)() for steerer in steerers]
    assert len({tuple(texts) for texts in expected}) == len(expected)
    for _ in range(2):
        assert in_threads([job(steerer) for steerer in steerers]) == expected


def test_threads_that_collect_steer_and_evaluate_suffixes_do_not_mix(organism, steerers, contrast):
    tokens = torch.randint(5, 100, (4, 12), generator=torch.Generator().manual_seed(0))

    def steered():
        with steerers[2].on(organism, prompt_length=6), torch.no_grad():
            return organism(tokens)

    def prefix():
        found = ode.collect_prefix(organism, tokens, start=-1)
        return found.logits(1, found.residuals[1] * 1.5)

    def collected():
        return ode.collect_activations(organism, contrast, [1])[1].positive

    jobs = [steered, prefix, collected, lambda: steerers[3].generate(organism, ode.organism.prompts(3))]
    expected = [job() for job in jobs]
    for _ in range(3):
        for found, alone in zip(in_threads(jobs), expected, strict=True):
            assert found == alone if isinstance(found, list) else torch.equal(found, alone)


def test_a_thread_that_waits_long_says_for_what(organism, steerers, monkeypatch):
    monkeypatch.setattr(_turn, "PATIENCE", 0.05)
    held, release = threading.Event(), threading.Event()

    def hold():
        with steerers[0].on(organism, prompt_length=3):
            held.set()
            release.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(30)
    threading.Timer(0.5, release.set).start()
    with (
        pytest.warns(UserWarning, match="another thread holds this model"),
        steerers[1].on(organism, prompt_length=3),
        steerers[2].on(organism, prompt_length=3),  # the same thread may go in again
    ):
        pass
    thread.join()


@pytest.mark.parametrize("name", ["caa", "odesteer", "odesteer_kernel", "hpr", "linear_act_extrapolated"])
def test_a_loss_behind_a_steered_layer_has_the_gradient_of_its_finite_differences(organism, contrast, name):
    model = ode.load_model("organism", dtype="float64")
    tokens = torch.arange(7, 14)[None]
    # for any model: with the weights it is moved by, this one is another
    steerer = replace(ode.fit(name, organism, contrast, layer=LAYER, angle=0.4), model=None)
    weight = model.original_model.get_input_embeddings().weight

    def loss():
        with steerer.on(model, prompt_length=4):
            return model(tokens).log_softmax(-1)[0, :-1].gather(-1, tokens[0, 1:, None]).mean()

    model.zero_grad()
    loss().backward()
    (row,) = torch.randn(1, weight.shape[1], generator=torch.Generator().manual_seed(0)).double()
    expected = (weight.grad[tokens[0, 2]] * row).sum()
    ends = []
    for step in (2e-3, -2e-3):
        with torch.no_grad():
            weight[tokens[0, 2]] += step * row
            ends.append(loss())
            weight[tokens[0, 2]] -= step * row
    # coarse, because the norms of this architecture are float32 whatever the model is; without the steered positions'
    # share it would be off by its half
    torch.testing.assert_close((ends[0] - ends[1]) / 4e-3, expected, rtol=1e-2, atol=1e-6)
    assert expected.abs() > 1e-4


def test_gradients_are_those_of_a_plain_hook_that_adds(organism):
    from transformers import AutoModelForCausalLM

    plain = AutoModelForCausalLM.from_pretrained(ode.organism.PATH, dtype=torch.float32)
    vector = torch.randn(organism.cfg.d_model)
    steerer = ode.Steerer(ode.ConstantField(vector), ode.Flow(T=3.0, steps=1, solver="euler"), LAYER, "all_and_bos")
    tokens = torch.arange(7, 14)[None]

    def add(module, args, output):
        return output + 3 * vector / vector.norm()

    handle = plain.model.layers[LAYER].register_forward_hook(add)
    plain(tokens).logits.square().mean().backward()
    handle.remove()
    model = ode.load_model("organism")
    with steerer.on(model):
        model(tokens).square().mean().backward()
    found = model.original_model.get_input_embeddings().weight.grad
    torch.testing.assert_close(found, plain.get_input_embeddings().weight.grad, rtol=1e-3, atol=1e-6)


def test_a_constant_addition_passes_gradients_on_unchanged(organism):
    field = ode.ConstantField(torch.randn(organism.cfg.d_model))
    x = torch.randn(5, organism.cfg.d_model, requires_grad=True)
    ode.Flow(T=2.0, steps=1, solver="euler").solve(field, x).end.sum().backward()
    assert torch.equal(x.grad, torch.ones_like(x))


def test_a_model_in_training_mode_is_refused_by_name(steerers, contrast):
    model = ode.load_model("organism")
    model.original_model.model.layers[1].train()
    tokens = torch.arange(7, 14)[None]
    steerer = steerers[1]
    for call in (
        lambda: ode.collect_activations(model, contrast, [1]),
        lambda: ode.generate(model, ["anna was"]),
        lambda: steerer.generate(model, ["anna was"]),
        lambda: ode.collect_prefix(model, tokens),
        lambda: steerer.on(model, prompt_length=3).__enter__(),
        lambda: ode.compose([steerer]).on(model, prompt_length=3).__enter__(),
        lambda: ode.fit("caa", model, contrast, layer=1, angle=0.1),
    ):
        with pytest.raises(ValueError, match=r"training mode.*model\.eval"):
            call()
    model.eval()
    assert ode.generate(model, ["anna was"])
