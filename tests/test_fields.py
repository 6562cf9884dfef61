"""Fields of their own speed: time against length, closed-form flows, gates, latents, controllers."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm
from scipy.spatial import geometric_slerp

import odesteer_tl as ode
from odesteer_tl.fields import (
    AffineField,
    ControlField,
    GatedField,
    GradientField,
    LatentField,
    RotationField,
    SparseAutoencoder,
    ValueField,
)
from odesteer_tl.fields.mlp import forward
from odesteer_tl.flow import INTEGRATORS
from tests.problems import activations, random_quadratic

D = 12
STEPPED = sorted(name for name, method in INTEGRATORS.items() if not method.needs_quadratic)


def solve(field, a, **flow):
    return ode.Flow(**flow).solve(field, a, record=True)


def random_layers(*sizes, seed=0):
    g = torch.Generator().manual_seed(seed)
    return [(torch.randn(o, i, generator=g) / i**0.5, torch.randn(o, generator=g)) for i, o in pairwise(sizes)]


def random_autoencoder(k=None, seed=0):
    g = torch.Generator().manual_seed(seed)
    W = torch.randn(3 * D, D, generator=g)
    return SparseAutoencoder(
        W.mT.clone(), torch.randn(3 * D, generator=g), W, torch.randn(D, generator=g), torch.zeros(3 * D), k
    )


def affine(seed=0):
    g = torch.Generator().manual_seed(seed)
    W = torch.randn(D, D, generator=g, dtype=torch.float64) / D**0.5
    return AffineField(W, torch.randn(D, generator=g, dtype=torch.float64), 3.0)


def every_own_speed_field():
    direction = torch.randn(D, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return {
        "affine": affine(),
        "rotation": RotationField(direction, 3.0),
        "gradient": GradientField(random_quadratic(D, 2)),
        "control": ControlField(random_quadratic(D, 2), level=0.5, rate=2.0),
        "value": ValueField(random_layers(D, 7, 1), D, 3.0),
        "latent": LatentField(random_autoencoder(4), torch.randn(3 * D), 3.0),
        "gated": GatedField(affine(), direction, 0.0),
    }


@pytest.mark.parametrize("share", [-0.5, 0.3, 1.0, 2.0])
def test_one_euler_step_of_time_s_goes_the_share_s_to_the_map(share):
    field, a = affine(), activations(5, D)
    expected = a + share * (a @ field.tensors["weight"].mT + field.tensors["bias"] - a)
    torch.testing.assert_close(solve(field, a, T=share, steps=1, solver="euler").end, expected, rtol=1e-12, atol=1e-12)


def test_following_an_affine_map_in_time_is_the_matrix_exponential():
    field, a = affine(), activations(5, D)
    M = torch.zeros(D + 1, D + 1, dtype=torch.float64)
    M[:D, :D] = field.tensors["weight"] - torch.eye(D)
    M[:D, D] = field.tensors["bias"]
    exact = torch.cat([a, torch.ones(5, 1)], dim=1) @ torch.from_numpy(expm(0.7 * M.numpy())).mT
    end = solve(field, a, T=0.7, steps=200, solver="rk4").end
    torch.testing.assert_close(end, exact[:, :D], rtol=0, atol=1e-8)


@pytest.mark.parametrize("time", [0.4, 1.0])
def test_one_geodesic_step_of_a_rotation_is_slerp(time):
    target, a = torch.randn(D, generator=torch.Generator().manual_seed(0), dtype=torch.float64), activations(6, D)
    end = solve(RotationField(target, None), a, T=time, steps=1, solver="geodesic").end
    v = (target / target.norm()).numpy()
    for start, stop in zip(a, end, strict=True):
        expected = geometric_slerp((start / start.norm()).numpy(), v, [time])[0]
        torch.testing.assert_close(stop / start.norm(), torch.from_numpy(expected), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("method", "order"), [("geodesic", 1), ("geodesic_midpoint", 2), ("midpoint", 2), ("rk4", 4)])
def test_observed_order_in_time(method, order):
    """The rotation field's angle to its target falls as e^{−t}: an exact flow at its own speed."""
    target, a = torch.eye(D, dtype=torch.float64)[0], activations(4, D)
    angle = lambda x: torch.acos(x[:, 0] / x.norm(dim=-1))  # noqa: E731
    exact = angle(a) * math.exp(-0.8)
    errors = [
        float((angle(solve(RotationField(target, None), a, T=0.8, steps=n, solver=method).end) - exact).abs().max())
        for n in (8, 16)
    ]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.35)


def test_the_timed_midpoint_has_order_two_on_a_curved_field():
    field, a = GradientField(random_quadratic(D, 0, curvature=3.0)), activations(5, D, norm=1.0)
    fine = solve(field, a, T=0.5, steps=400, solver="rk4").end
    errors = [
        float((solve(field, a, T=0.5, steps=n, solver="geodesic_midpoint").end - fine).norm(dim=-1).max())
        for n in (8, 16)
    ]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.35)


@pytest.mark.parametrize("name", sorted(every_own_speed_field()))
def test_an_angle_is_a_length_at_unit_speed(name):
    field, a = every_own_speed_field()[name], activations(20, D)
    moved = (solve(field, a, angle=0.2, steps=1, solver="euler").end - a).norm(dim=-1) / a.norm(dim=-1)
    rests = moved == 0
    torch.testing.assert_close(moved[~rests], torch.full_like(moved[~rests], 0.2), rtol=1e-12, atol=0)
    assert (~rests).any()
    by_relative = solve(field, a, relative=0.2, steps=1, solver="euler").end if field.median_norm else None
    if by_relative is not None:
        step = (by_relative - a).norm(dim=-1)[~rests]
        torch.testing.assert_close(step, torch.full_like(step, 0.2 * field.median_norm), rtol=1e-12, atol=0)
    turned = solve(field, a, angle=0.2, steps=1, solver="geodesic").end
    cosine = torch.cosine_similarity(turned, a, dim=-1)
    torch.testing.assert_close(cosine[~rests], torch.full_like(cosine[~rests], math.cos(0.2)), rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", sorted(every_own_speed_field()))
@pytest.mark.parametrize("method", STEPPED)
def test_time_and_length_agree_where_one_step_has_the_same_size(name, method):
    """In the limit of a short step, time · speed is length; and a time never turns a field's resting rows."""
    field, a = every_own_speed_field()[name], activations(6, D)
    v = field(a)
    if INTEGRATORS[method].tangent:
        v = v - (v * a).sum(-1, keepdim=True) * a / a.square().sum(-1, keepdim=True)
    speed = v.norm(dim=-1)
    dt = 1e-5
    end = solve(field, a, T=dt, steps=1, solver=method).end
    torch.testing.assert_close((end - a).norm(dim=-1), dt * speed, rtol=1e-3, atol=1e-9)
    assert torch.equal(end[speed == 0], a[speed == 0])


def test_gradient_fields_and_barrier_fields_are_one_at_an_angle():
    q, a = random_quadratic(D, 4), activations(5, D)
    for method in STEPPED:
        plain, unit = (solve(f(q), a, angle=0.5, solver=method).end for f in (GradientField, ode.BarrierField))
        torch.testing.assert_close(plain, unit, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("method", STEPPED)
@pytest.mark.parametrize("strength", [{"angle": 0.5}, {"T": 1.0}])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_a_gate_that_never_opens_is_bitwise_identity(method, strength, dtype):
    a = activations(9, D).to(dtype)
    for inner in (affine(), ode.BarrierField(random_quadratic(D, 0)), ode.ConstantField(torch.ones(D))):
        closed = GatedField(inner, torch.ones(D), threshold=1.5)
        path = solve(closed, a, **strength, solver=method)
        assert torch.equal(path.end, a)
        assert path.stationary.all()


def test_a_gate_that_is_always_open_is_the_field():
    inner, a = affine(), activations(9, D)
    gated = GatedField(inner, torch.ones(D), threshold=-1.5)
    assert torch.equal(solve(gated, a, T=0.5).end, solve(inner, a, T=0.5).end)


def test_gates_nest_and_survive_saving(tmp_path):
    a = activations(50, D)
    inner = GatedField(ode.BarrierField(random_quadratic(D, 0)), torch.randn(D), 0.0)
    steerer = ode.Steerer(GatedField(inner, torch.randn(D), 0.0), ode.Flow(angle=0.3), layer=0)
    steerer.save(tmp_path / "s")
    loaded = ode.Steerer.load(tmp_path / "s")
    end = steerer.flow.solve(steerer.field, a).end
    assert torch.equal(loaded.flow.solve(loaded.field, a).end, end)
    moved = (end != a).any(-1)
    assert 0 < moved.sum() < 50
    assert torch.equal(moved, steerer.field.open(a) & inner.open(a))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.floats(0.1, 5.0), st.floats(-1.0, 1.0))
def test_no_shorter_velocity_satisfies_the_controllers_constraint(seed, rate, lift):
    q, a = random_quadratic(D, seed), activations(3, D, seed=seed)
    level = float(q.value(a).mean()) + lift
    v = ControlField(q, level, rate)(a)
    gradient, wanted = q.gradient(a), rate * (level - q.value(a))
    got = (gradient * v).sum(-1)
    torch.testing.assert_close(got, wanted.clamp_min(0), rtol=1e-9, atol=1e-12)
    # the halfspace's nearest point to 0 is its foot: every feasible velocity is at least as long
    other = v + torch.randn(200, *v.shape, dtype=torch.float64) * v.norm().clamp_min(1.0)
    feasible = (gradient * other).sum(-1) >= wanted
    assert (other.norm(dim=-1)[feasible] >= v.norm(dim=-1).expand(200, 3)[feasible] - 1e-12).all()


def test_the_controlled_barrier_closes_its_gap_exponentially_and_stops():
    q, a = random_quadratic(D, 0), activations(8, D)
    level = float(q.value(a).max())
    start = q.value(a)
    end = q.value(solve(ControlField(q, level, 2.0), a, T=0.6, steps=100, solver="rk4").end)
    torch.testing.assert_close(level - end, (level - start) * math.exp(-1.2), rtol=1e-6, atol=1e-9)
    above = start >= level - 0.05
    moved = solve(ControlField(q, level - 0.05, 2.0), a, T=5.0, steps=50, solver="geodesic").end
    assert torch.equal(moved[above], a[above])
    assert above.any()
    torch.testing.assert_close(q.value(moved[~above]), torch.full_like(start[~above], level - 0.05), rtol=0, atol=1e-3)


@pytest.mark.parametrize("depth", [(D, 1), (D, 9, 1), (D, 9, 5, 1)])
def test_the_value_fields_gradient_is_autograds(depth):
    field, a = ValueField(random_layers(*depth), D, 3.0), activations(5, D).requires_grad_()
    (expected,) = torch.autograd.grad(field.value(a).sum(), a)
    torch.testing.assert_close(field(a.detach()), expected, rtol=1e-12, atol=1e-14)
    with torch.inference_mode():
        torch.testing.assert_close(field(a.detach()), expected, rtol=1e-12, atol=1e-14)


def test_the_network_is_torchs():
    layers = random_layers(D, 9, 5, 2)
    modules = []
    for weight, bias in layers:
        linear = torch.nn.Linear(weight.shape[1], weight.shape[0])
        linear.load_state_dict({"weight": weight, "bias": bias})
        modules += [linear, torch.nn.Tanh()]
    x = torch.randn(4, D)
    torch.testing.assert_close(forward(layers, x), torch.nn.Sequential(*modules[:-1])(x).detach())


@pytest.mark.parametrize("k", [None, 1, 5])
def test_shifting_latents_moves_only_along_their_decoder_rows(k):
    sae, a = random_autoencoder(k), activations(40, D).float()
    shift = torch.zeros(3 * D)
    shift[[2, 7]] = torch.tensor([1.5, -100.0])  # the second is shut: a latent stays ≥ 0
    v = LatentField(sae, shift, None)(a)
    z = sae.encode(a)
    torch.testing.assert_close(v, 1.5 * sae.W_dec[2] - z[:, 7:8] * sae.W_dec[7], rtol=1e-4, atol=1e-4)
    assert k is None or ((z > 0).sum(-1) <= k).all()
    assert (z >= 0).all()


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: AffineField(torch.ones(3, 4), torch.ones(3), None), "weight has shape"),
        (lambda: AffineField(torch.full((3,), torch.nan), torch.ones(3), None), "weight holds 3 NaN"),
        (lambda: RotationField(torch.zeros(3), None), "direction is zero"),
        (lambda: GatedField(affine(), torch.zeros(D), 0.0), "condition has shape"),
        (lambda: GatedField(affine(), torch.ones(D + 1), 0.0), "condition has shape"),
        (lambda: ControlField(random_quadratic(3, 0), 0.0, rate=0.0), "rate=0"),
        (lambda: ode.Flow(T=1.0).solve(affine(), torch.ones(2, D + 1)), "d_model=12"),
        (lambda: ode.Flow(angle=1.0, solver="optimal").solve(GradientField(random_quadratic(D, 0)), torch.ones(D)),
         "quadratic"),
        (lambda: ode.Flow(relative=1.0).solve(RotationField(torch.ones(3), None), torch.ones(2, 3)), "relative"),
    ],
)  # fmt: skip
def test_bad_input_names_the_argument_and_the_value(make, word, unchecked):
    with pytest.raises(ValueError, match=word):
        make()
