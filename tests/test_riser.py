"""RISER: its library, its router's warm-up, and policy optimisation against a reward."""

from itertools import combinations, product

import numpy as np
import pytest
import torch
from torch.distributions import Bernoulli, Normal

import odesteer_tl as ode
from odesteer_tl import methods
from odesteer_tl.fields import RouterField
from odesteer_tl.methods.riser import GRID, SPREAD, divergence, grid_search, library
from odesteer_tl.organism.lexicon import CLASSES
from tests.problems import activations, draw, gaussian_classes

D = 16


def router(vectors, seed=0, hidden=8):
    k, d = vectors.shape
    g = torch.Generator().manual_seed(seed)
    sizes = [(hidden, d), (2 * k, hidden)]
    layers = [(torch.randn(o, i, generator=g) / i**0.5, torch.randn(o, generator=g)) for o, i in sizes]
    return RouterField(layers, vectors, 8.0)


# --- the field


def test_the_field_is_the_weighted_sum_of_the_chosen_vectors():
    f, a = router(draw(3, D)), activations(200, D)
    routing, v = f.routing(a), f(a)
    mixed = 0
    for row in range(200):
        expected = torch.zeros(D, dtype=torch.float64)
        for i in range(3):
            if routing.gate[row, i] > 0.7:
                expected += routing.weight[row, i] * f.tensors["library"][i]
        torch.testing.assert_close(v[row], expected, rtol=1e-12, atol=1e-12)
        mixed += 0 < int(routing.chosen[row].sum()) < 3
    assert mixed > 50
    assert ((routing.weight > 0) & (routing.weight < 2)).all()
    torch.testing.assert_close(ode.Flow(T=1.0, steps=1, solver="euler").solve(f, a).end, a + v, rtol=1e-12, atol=1e-12)


def test_a_router_that_opens_no_gate_is_bitwise_identity():
    f = router(draw(2, D))
    shut = RouterField([(w, b - 1e3 * (i == 1)) for i, (w, b) in enumerate(f.layers(draw(1).float()))],
                       draw(2, D), 8.0)  # fmt: skip
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        a = activations(20, D).to(dtype)
        assert torch.equal(ode.Flow(T=1.0, steps=1, solver="euler").solve(shut, a).end, a)


# --- the library and the warm-up


def test_the_library_is_the_planted_directions():
    planted = torch.linalg.qr(draw(D, 4)).Q.mT
    differences = torch.cat([(3 + i) * planted[i] + 0.2 * draw(30, D, seed=i) for i in range(4)])
    found = library(differences, 4, seed=0)
    cosines = found / found.norm(dim=-1, keepdim=True) @ planted.mT
    assert (cosines.max(0).values > 0.99).all()
    lengths = differences.mean(0).norm().expand(4)
    torch.testing.assert_close(found.norm(dim=-1), lengths, rtol=1e-9, atol=0)


def test_the_grid_search_finds_the_shortest_of_the_best():
    states, vectors = draw(12, 5), draw(3, 5, seed=1)
    target = draw(5, seed=2)
    reward = lambda a: (a @ target).clamp_max(1.0)  # noqa: E731
    found = grid_search(states, vectors, reward).numpy()
    grid = [w for w in product((0.0, *GRID), repeat=3) if sum(x > 0 for x in w) <= 2]
    assert len(grid) == 1 + 3 * len(GRID) + len(list(combinations(range(3), 2))) * len(GRID) ** 2
    V, t = vectors.numpy(), target.numpy()
    reached = 0
    for state, weights in zip(states.numpy(), found, strict=True):
        best = max(min((state + np.array(w) @ V) @ t, 1.0) for w in grid)
        tied = [np.array(w) @ V for w in grid if min((state + np.array(w) @ V) @ t, 1.0) >= best - 1e-12]
        assert min((state + weights @ V) @ t, 1.0) == pytest.approx(best, abs=1e-12)
        assert np.linalg.norm(weights @ V) == pytest.approx(min(map(np.linalg.norm, tied)), abs=1e-12)
        reached += best == 1.0
    assert reached > 3
    assert (found[(states @ target >= 1).numpy()] == 0).all()


@pytest.mark.parametrize(("clusters", "least"), [(2, 0.9), (6, 0.5)])
def test_the_router_raises_held_out_states_to_the_level_and_leaves_those_above_it(clusters, least):
    """With six vectors of which many would do, the grid's choice is hard to learn and some states are left alone."""
    positive, negative = (x.double() for x in gaussian_classes(700, D, shift=0.25))
    f = methods.riser(positive[:500], negative[:500], clusters=clusters)
    h = ode.LinearBarrier().fit(positive[:500], negative[:500])
    level = float(h.value(positive[:500]).median())
    held, high = negative[500:], positive[500:][h.value(positive[500:]) > level + 0.5]
    end = ode.Flow(T=1.0, steps=1, solver="euler").solve(f, held).end
    before, after = h.value(held), h.value(end)
    # 1 is the level itself; the grid's coarseness overshoots it
    assert least < float((after - before).mean() / (level - before).mean()) < 1.4
    moved = f(held).norm(dim=-1)
    assert np.corrcoef(moved.numpy(), (level - before).numpy())[0, 1] > 0.3  # who is further away is moved further
    assert float((f(high) == 0).all(-1).double().mean()) > 0.8


def test_a_seed_reproduces_the_field_and_training_leaves_the_callers_random_state():
    positive, negative = gaussian_classes(40, D)
    state = torch.get_rng_state()
    one, two, other = (methods.riser(positive, negative, seed, steps=50).tensors for seed in (0, 0, 1))
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert not torch.equal(one["weight0"], other["weight0"])
    f, a = methods.riser(positive, negative, steps=50), positive
    reward = lambda x: x[:, 0]  # noqa: E731
    one, two, other = (methods.optimise_router(f, a, reward, steps=5, seed=seed).tensors for seed in (0, 0, 1))
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert not torch.equal(one["weight0"], other["weight0"])
    assert torch.equal(torch.get_rng_state(), state)


# --- policy optimisation


def test_the_divergence_is_what_draws_say():
    """Monte Carlo of log(policy/warm-up) on draws of the policy."""
    policy, warm_up = ((draw(1, 3, seed=s), draw(1, 3, seed=s + 1)) for s in (0, 5))
    torch.manual_seed(0)
    acts = Bernoulli(logits=policy[0]).sample((200_000,))
    drawn = Normal(policy[1], SPREAD).sample((200_000,))

    def chance(gates, weights):
        return (Bernoulli(logits=gates).log_prob(acts) + acts * Normal(weights, SPREAD).log_prob(drawn)).sum(-1)

    ratio = chance(*policy) - chance(*warm_up)
    error = float(ratio.std()) / 200_000**0.5
    assert float(divergence(policy, warm_up)) == pytest.approx(float(ratio.mean()), abs=4 * error)
    assert float(divergence(policy, policy)) == 0


def test_the_policy_learns_which_vector_a_state_needs():
    """Rewarded along +e in one group of states and along −e in the other: no constant direction would do."""
    e = torch.eye(D, dtype=torch.float64)[0]
    group = torch.where(draw(400, 1) > 0, 1.0, -1.0).double()
    states = 6 * torch.cat([torch.zeros(400, 1), group, 0.3 * draw(400, D - 2, seed=1)], dim=1).double()
    f = router(torch.stack([e, -e]), hidden=16)
    rewards = lambda rows: lambda a: group[rows, 0] * a[:, 0]  # noqa: E731
    fit, held = slice(0, 300), slice(300, 400)
    learned = methods.optimise_router(f, states[fit], rewards(fit), steps=150, penalty=0.0, learning_rate=1e-2)
    reached = [float(rewards(held)(x(states[held])).mean()) for x in (f, learned)]
    assert reached[0] < 1.0
    assert reached[1] > 1.8  # 2 is the most that the weights allow
    kept = methods.optimise_router(f, states[fit], rewards(fit), steps=150, penalty=1e3, learning_rate=1e-2)
    change = [float((x.routing(states).gate - f.routing(states).gate).abs().mean()) for x in (kept, learned)]
    assert change[0] < 0.05 < 0.2 < change[1]
    assert torch.equal(learned.tensors["library"], f.tensors["library"])


def log_odds_of_valence(model, prefix, layer):
    """Reward: log-odds, as the next word, of the words that are likelier in positive texts."""
    pairs = [choice for c in CLASSES.values() if c.latent == "valence" for choice in c.choices]
    first = lambda word: int(model.to_tokens(f" {word}", prepend_bos=False)[0, 0])  # noqa: E731
    high, low = ([first(getattr(choice, side)) for choice in pairs] for side in ("high", "low"))

    def reward(a):
        logits = prefix.logits(layer, a[:, None])[:, 0]
        return logits[:, high].logsumexp(-1) - logits[:, low].logsumexp(-1)

    return reward


def test_on_the_organism_the_reward_rises_on_held_out_prompts(organism):
    layer, prompts = 2, ode.organism.prompts(80)
    acts = ode.collect_activations(organism, ode.organism.contrast("valence", n=100), [layer])[layer]
    warm_up = methods.riser(acts.positive, acts.negative)
    states, rewards = [], []
    for part in (prompts[:40], prompts[40:]):
        tokens = organism.tokenizer(part, padding=True, padding_side="left", return_tensors="pt")
        prefix = ode.collect_prefix(organism, tokens["input_ids"], tokens["attention_mask"], start=-1)
        states.append(prefix.residuals[layer][:, 0])
        rewards.append(log_odds_of_valence(organism, prefix, layer))
    learned = methods.optimise_router(warm_up, states[0], rewards[0], steps=30)
    plain, before, after = (rewards[1](states[1] + v) for v in (0, warm_up(states[1]), learned(states[1])))
    assert float(plain.mean().abs()) < 0.5  # an opening sentence says nothing of its valence
    assert float((after - before).mean()) > 1.0
    assert float((after > plain).float().mean()) > 0.9


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda p, n: methods.riser(p[1:], n), "RISER clusters the differences"),
        (lambda p, n: methods.riser(p, n, clusters=0), "clusters=0"),
        (lambda p, n: methods.riser(p, n, clusters=11), "clusters=11"),
        (lambda p, n: library(torch.zeros(9, D), 2, 0), "mean of zero"),
        (lambda p, n: RouterField([(torch.ones(3, D), torch.ones(3))], draw(2, D), 1.0), "layers end in 3"),
        (lambda p, n: methods.optimise_router(router(draw(2, D)), p, lambda a: a[:, 0], draws=1), "draws=1"),
        (lambda p, n: methods.optimise_router(router(draw(2, D)), p, lambda a: a), "reward has shape"),
        (lambda p, n: methods.optimise_router(router(draw(2, D)), p, lambda a: a[:, 0] / 0), "reward holds"),
        (lambda p, n: methods.optimise_router(router(draw(2, D)), p[:, 1:], lambda a: a[:, 0]), "d_model=16"),
    ],
)
def test_bad_input_names_the_argument_and_the_value(make, word, unchecked):
    with pytest.raises(ValueError, match=word):
        make(*gaussian_classes(20, D))
