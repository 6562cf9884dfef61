"""The on-manifold controller: least of all velocities that raise h and do not lower log p₊."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

import odesteer_tl as ode
from odesteer_tl import methods
from odesteer_tl.densities import PPCA, FactorAnalysis, MixturePPCA, ShrunkGaussian, TangentGaussian
from odesteer_tl.fields import ControlField, OnManifoldField
from odesteer_tl.fields.on_manifold import least_velocity
from tests.problems import activations, draw, gaussian_classes, random_quadratic

D = 12


def gaussian(seed=0, n=200):
    return ShrunkGaussian().fit(draw(n, D, seed=seed) * torch.linspace(0.3, 2.0, D) + draw(1, D, seed=seed + 1))


def field(seed=0, rate=2.0, lift=0.2):
    q = random_quadratic(D, seed)
    level = float(q.value(activations(50, D)).max()) + lift
    return OnManifoldField(ControlField(q, level, rate), gaussian(seed))


def dot(x, y):
    return (x * y).sum(-1)


# --- the closed form


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 100_000), st.integers(2, 9), st.floats(-0.98, 0.98))
def test_the_closed_form_is_what_a_solver_finds(seed, d, cosine):
    """Push and score at every angle; SLSQP on the programme itself."""
    push, other = 2 * draw(d, seed=seed), draw(d, seed=seed + 1)
    across = other - dot(other, push) / dot(push, push) * push
    score = 3 * (cosine * push / push.norm() + (1 - cosine**2) ** 0.5 * across / across.norm())
    p, s = push.numpy(), score.numpy()
    found = minimize(
        lambda v: v @ v / 2, p, jac=lambda v: v, method="SLSQP", options={"ftol": 1e-14, "maxiter": 500},
        constraints=[{"type": "ineq", "fun": lambda v: v @ p - p @ p, "jac": lambda v: p},
                     {"type": "ineq", "fun": lambda v: v @ s, "jac": lambda v: s}],
    )  # fmt: skip
    torch.testing.assert_close(least_velocity(push, score), torch.from_numpy(found.x), rtol=1e-5, atol=1e-6)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 100_000), st.integers(2, 30), st.floats(-3, 3), st.floats(-3, 3))
def test_both_constraints_hold_and_no_feasible_velocity_is_shorter(seed, d, log_push, log_score):
    push, score = 10**log_push * draw(7, d, seed=seed), 10**log_score * draw(7, d, seed=seed + 1)
    v = least_velocity(push, score)
    size = v.norm(dim=-1)
    torch.testing.assert_close(dot(v, push), dot(push, push), rtol=1e-9, atol=0)
    assert (dot(v, score) >= -1e-12 * size * score.norm(dim=-1)).all()
    # v is a non-negative combination of the active constraints' normals: the multipliers certify the minimum
    for row in range(7):
        normals = torch.stack([push[row], score[row]], dim=1)
        multipliers = torch.linalg.lstsq(normals, v[row : row + 1].mT).solution.squeeze(1)
        torch.testing.assert_close(normals @ multipliers, v[row], rtol=1e-7, atol=1e-9 * float(size[row]))
        slack = dot(v[row], score[row]) > 1e-9 * size[row] * score[row].norm()
        assert multipliers[0] > 0
        assert abs(multipliers[1]) * score[row].norm() < 1e-9 * size[row] if slack else multipliers[1] >= 0


def test_the_three_cases_and_the_infeasible_one():
    push = draw(1, D, seed=0)[0]
    along = draw(1, D, seed=1)[0]
    along = along * torch.sign(dot(along, push))
    assert torch.equal(least_velocity(torch.zeros(D).double(), along), torch.zeros(D).double())
    assert torch.equal(least_velocity(push, along), push)
    assert torch.equal(least_velocity(push, torch.zeros(D).double()), push)  # a density's mode hinders nothing
    guarded = least_velocity(push, -along)
    assert dot(guarded, along).abs() < 1e-12
    assert guarded.norm() > push.norm()
    for scale in (1e-6, 1.0, 1e6):
        assert torch.equal(least_velocity(push, -scale * push), torch.zeros(D).double())
    assert torch.equal(least_velocity(push.float(), -3 * push.float()), torch.zeros(D))


# --- the field


def test_it_is_minimal_intervention_where_that_lowers_no_density():
    f, a = field(), activations(300, D)
    plain = ControlField(f.barrier, f.control.level, f.control.rate)(a)
    slack = dot(plain, f.density.gradient(a)) >= 0
    assert 30 < slack.sum() < 270
    assert torch.equal(f(a)[slack], plain[slack])
    assert (f(a)[~slack].norm(dim=-1) > plain[~slack].norm(dim=-1)).all()


@pytest.mark.parametrize(
    "density", [ShrunkGaussian(), PPCA(3), FactorAnalysis(2), MixturePPCA(2, 2), TangentGaussian(PPCA(3))]
)
def test_every_family_keeps_both_promises(density):
    q, a = random_quadratic(D, 3), activations(60, D)
    p = density.fit(draw(300, D, seed=5) * torch.linspace(0.3, 2.0, D) + 1)
    f = OnManifoldField(ControlField(q, float(q.value(a).max()), 2.0), p)
    v = f(a)
    wanted = 2.0 * (f.control.level - q.value(a)).clamp_min(0)
    torch.testing.assert_close(dot(q.gradient(a), v), wanted, rtol=1e-9, atol=1e-12)
    # the score by differences of log p itself, not by the gradient the field uses
    step = 1e-4 * v / v.norm(dim=-1, keepdim=True).clamp_min(1e-300)
    slope = (p.log_prob(a + step) - p.log_prob(a - step)) / 2e-4
    assert float(slope.min()) > -1e-6
    assert int((slope < 1e-6).sum()) > 5  # the second constraint does bind
    assert f.tangent is density.spherical


def test_log_p_never_falls_along_a_fine_path_where_minimal_intervention_lets_it():
    f, a = field(lift=0.0), activations(100, D)
    drops = []
    for steps in (20, 40):
        points = ode.Flow(T=1.0, steps=steps, solver="midpoint").solve(f, a, record=True).points
        log_p = f.density.log_prob(points)
        drops.append(float((log_p[:-1] - log_p[1:]).clamp_min(0).sum(0).max()))
    plain = ode.Flow(T=1.0, steps=40, solver="midpoint").solve(f.control, a, record=True).points
    fell = f.density.log_prob(plain)[0] - f.density.log_prob(plain)[-1]
    assert float(fell.max()) > 1
    assert drops[1] < 0.02 * float(fell.max())
    assert drops[1] <= 0.5 * drops[0] + 1e-9  # what is left is the integrator's, and goes with its step
    gap, before = (f.control.level - f.barrier.value(x) for x in (points[-1], a))
    torch.testing.assert_close(gap, before * np.exp(-2.0), rtol=0.05, atol=1e-3)


def test_it_stops_at_its_level():
    f, a = field(lift=-0.5), activations(100, D)
    above = f.barrier.value(a) >= f.control.level
    assert 0 < above.sum() < 100
    end = ode.Flow(T=1.0, steps=10, solver="midpoint").solve(f, a).end
    assert torch.equal(end[above], a[above])
    assert (end[~above] != a[~above]).any(-1).all()


def test_a_file_restores_it_bitwise(tmp_path):
    a = activations(40, D)
    for i, density in enumerate([ShrunkGaussian("oas"), MixturePPCA(2, 2), TangentGaussian(PPCA(3))]):
        q = random_quadratic(D, i)
        f = OnManifoldField(ControlField(q, 1.0, 3.0), density.fit(draw(200, D, seed=i)))
        ode.Steerer(f, ode.Flow(T=1.0, solver="midpoint"), layer=0).save(tmp_path / str(i))
        loaded = ode.Steerer.load(tmp_path / str(i)).field
        for x in (a, a.float()):
            assert torch.equal(loaded(x), f(x))
        assert loaded(a.float()).dtype == torch.float32


# --- the method


def test_the_method_selects_its_density_on_the_positives_alone():
    positive, negative = gaussian_classes(120, D)
    first = methods.on_manifold(positive, negative)
    chosen = ode.select_density(positive, range(120)).density
    a = positive.double()
    torch.testing.assert_close(first.density.log_prob(a), chosen.log_prob(a), rtol=1e-12, atol=0)
    given_one = methods.on_manifold(positive, negative, density=PPCA(2))
    assert given_one.density.name == "PPCA(rank=2)"
    assert given_one.control.level == methods.minimal_intervention(positive, negative).level


def test_on_the_organism_no_prompt_becomes_less_likely_where_minimal_intervention_makes_some_so(organism):
    contrast = ode.organism.contrast("valence", n=200)
    acts = ode.collect_activations(organism, contrast, [2])[2]
    f = methods.on_manifold(acts.positive[:150], acts.negative[:150], density=PPCA(16))
    a, method = acts.negative[150:].double(), ode.METHODS["on_manifold"]
    flow = ode.Flow(T=method.T, steps=method.steps, solver=method.solver)
    gain, plain = (f.density.log_prob(flow.solve(v, a).end) - f.density.log_prob(a) for v in (f, f.control))
    assert float(gain.min()) > -1
    assert float((plain < -10).double().mean()) > 0.1


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda p, n: methods.on_manifold(p, n, quantile=-0.1), "quantile=-0.1"),
        (lambda p, n: methods.on_manifold(p, n, rate=0.0), "rate=0.0"),
        (lambda p, n: OnManifoldField(ControlField(random_quadratic(D + 1, 0), 0.0, 1.0), gaussian()), "density has"),
        (lambda p, n: OnManifoldField(ControlField(random_quadratic(D, 0), 0.0, 1.0), PPCA(1)), "not fitted"),
        (lambda p, n: field()(torch.ones(2, D + 1)), "d_model=12"),
    ],
)
def test_bad_input_names_the_argument_and_the_value(make, word, unchecked):
    with pytest.raises(ValueError, match=word):
        make(*gaussian_classes(30, D))
