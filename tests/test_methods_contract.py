"""What every name in `METHODS` promises: strengths, dtypes, batches, padding, KV cache, seeds, saving."""

from dataclasses import replace
from functools import cache

import pytest
import torch

import odesteer_tl as ode
from odesteer_tl.fields import GatedField
from odesteer_tl.integrators import INTEGRATORS
from tests.problems import padded_prompts, written_logits

LAYER = 2
NAMES = sorted(ode.METHODS)
#: long enough to learn the sign
SHORT = ode.Training(steps=4, batch_size=4, every=4, looked_at=2, kl=None, learning_rate=0.1)


def at_site_of(method, model, contrast):
    """Activations at the site where a method acts, in that site's shape."""
    return ode.collect_activations(model, contrast, [LAYER], site=ode.METHODS[method].site)[LAYER]


@pytest.fixture(scope="module")
def acts(organism, contrast):
    """`name → activations` that the method is fitted on."""
    return cache(lambda name: at_site_of(name, organism, contrast))


@pytest.fixture(scope="module")
def fit_field(organism, contrast, acts):
    """`name → field`, fitted anew; what is trained through the model is trained for a few steps."""

    def fit(name):
        if ode.METHODS[name].train is None:
            return ode.METHODS[name].fit(acts(name).positive, acts(name).negative, 1)
        return ode.fit(name, organism, contrast, LAYER, seed=1, training=SHORT).field

    return fit


@pytest.fixture(scope="module")
def fitted(fit_field):
    """`name → field`, each fitted once for this file."""
    return cache(fit_field)


@pytest.fixture(scope="module")
def texts(organism):
    """`name → activations` of other texts than those fitted on, both classes, as the method's field sees them."""
    other = ode.organism.contrast("valence", n=60)

    def rows(name):
        layer = at_site_of(name, organism, other)
        return torch.cat([layer.positive[30:], layer.negative[30:]]).flatten(1)

    return cache(rows)


def steerer_of(name, field, flow):
    return ode.Steerer(field, flow, LAYER, site=ode.METHODS[name].site)


def flows(name):
    """The method's own strength where it has one, and a length."""
    method = ode.METHODS[name]
    strengths = [{"angle": 0.4}] + ([method.own_strength] if method.own_strength else [])
    return [ode.Flow(**s, steps=method.steps, solver=method.solver) for s in strengths]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_zero_strength_is_bitwise_identity(name, dtype, fitted, texts):
    method, a = ode.METHODS[name], texts(name).to(dtype)
    for strength in ({"angle": 0.0}, {"T": 0.0}, {"relative": 0.0}):
        end = ode.Flow(**strength, steps=method.steps, solver=method.solver).solve(fitted(name), a).end
        assert torch.equal(end, a)
        assert end.dtype == dtype


@pytest.mark.parametrize("name", NAMES)
def test_the_table_of_methods_says_whose_field_is_a_barrier_s(name, fitted):
    assert ode.METHODS[name].climbs == hasattr(fitted(name), "barrier")
    assert ode.METHODS[name].idea


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_is_integrated_in_float32(name, fitted, texts):
    a = texts(name).to(torch.bfloat16)
    for flow in flows(name):
        end = flow.solve(fitted(name), a).end
        assert end.dtype == torch.bfloat16
        assert torch.equal(end, flow.solve(fitted(name), a.float()).end.to(torch.bfloat16))


@pytest.mark.parametrize("name", NAMES)
def test_every_row_rests_or_moves_by_the_angle_asked_for(name, fitted, texts):
    a = texts(name).double()
    path = ode.Flow(angle=0.3, steps=1, solver="geodesic").solve(fitted(name), a)
    u, w = (x / x.norm(dim=-1, keepdim=True) for x in (a, path.end))
    turned = 2 * torch.atan2((u - w).norm(dim=-1), (u + w).norm(dim=-1))
    rests = (path.end == a).all(-1)
    torch.testing.assert_close(turned[~rests], torch.full_like(turned[~rests], 0.3), rtol=1e-9, atol=0)
    torch.testing.assert_close(path.end.norm(dim=-1), a.norm(dim=-1), rtol=1e-12, atol=0)
    assert (~rests).any()
    added = ode.Flow(angle=0.3, steps=1, solver="euler").solve(fitted(name), a).end - a
    moved = added.norm(dim=-1) / a.norm(dim=-1)
    torch.testing.assert_close(moved[~rests], torch.full_like(moved[~rests], 0.3), rtol=1e-9, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_a_row_does_not_depend_on_its_batch_mates(name, fitted, texts):
    a = texts(name)[:9].double()
    for flow in flows(name):
        together = flow.solve(fitted(name), a).end
        alone = torch.stack([flow.solve(fitted(name), row).end for row in a])
        torch.testing.assert_close(together, alone, rtol=1e-9, atol=1e-9)
        assert flow.solve(fitted(name), a.reshape(3, 1, 3, -1)).end.shape == (3, 1, 3, a.shape[1])


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"random"}))
def test_negatives_move_toward_the_positives(name, fitted, acts):
    """No method but the placebo has its sign wrong: the share of the mean difference covered is positive."""
    positive, negative = acts(name).positive.flatten(1).double(), acts(name).negative.flatten(1).double()
    difference = (positive - negative).mean(0)
    for flow in flows(name):
        moved = flow.solve(fitted(name), negative).end - negative
        assert float(moved.mean(0) @ difference) > 0


@pytest.mark.parametrize("name", NAMES)
def test_cached_logits_equal_uncached_in_a_left_padded_batch(name, fitted, organism):
    P = 6
    tokens, mask = padded_prompts(P)
    for flow in flows(name):
        steerer = steerer_of(name, fitted(name), flow)
        with_cache, without = (
            written_logits(organism, tokens, mask, steerer.hooks(P), new=3, cached=use) for use in (True, False)
        )
        torch.testing.assert_close(with_cache, without, rtol=1e-4, atol=1e-4)
        alone = written_logits(organism, tokens[1:2, 3:], mask[1:2, 3:], steerer.hooks(3), new=3)
        torch.testing.assert_close(alone[:, 0], with_cache[:, 1], rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("name", NAMES)
def test_a_bfloat16_model_is_steered(name, fitted, bfloat16_organism):
    tokens = torch.arange(7, 14)[None]
    for flow in flows(name):
        with replace(steerer_of(name, fitted(name), flow), positions="all").on(bfloat16_organism):
            logits = bfloat16_organism(tokens)
        assert torch.isfinite(logits).all()


@pytest.fixture(scope="module")
def bfloat16_organism():
    return ode.load_model("organism", dtype="bfloat16")


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_reproduces_and_a_file_restores_bitwise(name, fitted, fit_field, texts, tmp_path):
    field, again = fitted(name), fit_field(name)
    for flow in flows(name):
        path = tmp_path / flow.unit
        steerer_of(name, field, flow).save(path)
        loaded = ode.Steerer.load(path)
        assert loaded.hook_name == f"blocks.{LAYER}.{ode.METHODS[name].site}"
        for a in (texts(name), texts(name).double()):
            end = flow.solve(field, a).end
            assert torch.equal(flow.solve(again, a).end, end)
            assert torch.equal(loaded.flow.solve(loaded.field, a).end, end)


@pytest.mark.parametrize("name", NAMES)
def test_no_strength_and_a_gate_that_never_opens_leave_the_models_logits_bitwise(name, fitted, organism):
    field, tokens = fitted(name), torch.arange(7, 19).reshape(2, 6)
    plain, strongest = organism(tokens), flows(name)[-1]
    shut = GatedField(field, torch.ones(field.d_model), threshold=1.5)
    solver = "geodesic" if INTEGRATORS[strongest.solver].needs_quadratic else strongest.solver
    for steerer in (
        steerer_of(name, field, ode.Flow(angle=0.0, steps=strongest.steps, solver=strongest.solver)),
        steerer_of(name, field, ode.Flow(T=0.0, steps=strongest.steps, solver=strongest.solver)),
        steerer_of(name, shut, replace(strongest, solver=solver)),
    ):
        with replace(steerer, positions="all").on(organism):
            assert torch.equal(organism(tokens), plain)


def moves_smoothly(flow, field, a, along, eps):
    """Whether the path bends as a smooth one: no gate or threshold is crossed within `eps`."""
    ends = [flow.solve(field, a + k * eps * along).end for k in (-2, -1, 0, 1, 2)]
    first, second = (ends[3] - ends[1]) / 2, (ends[4] - ends[0]) / 4
    return (first - second).abs().max(-1).values <= 1e-3 * first.abs().max(-1).values


@pytest.mark.parametrize("name", NAMES)
def test_gradients_pass_as_finite_differences_say(name, fitted, texts):
    method = ode.METHODS[name]
    solver = "geodesic" if INTEGRATORS[method.solver].needs_quadratic else method.solver
    field, a = fitted(name), texts(name)[::7].double()
    eps = 1e-5 * float(a.norm(dim=-1).median())
    along = torch.nn.functional.normalize(
        torch.randn(a.shape, generator=torch.Generator().manual_seed(0)).double(), dim=-1
    )
    for flow in (replace(f, solver=solver, steps=min(f.steps, 3)) for f in flows(name)):
        smooth = moves_smoothly(flow, field, a, along, eps)
        assert smooth.float().mean() > 0.5
        weights = torch.randn(a.shape[-1], generator=torch.Generator().manual_seed(1)).double()
        x = a.clone().requires_grad_(True)
        (flow.solve(field, x).end @ weights).sum().backward()
        found = (x.grad * along).sum(-1)
        there, back = (flow.solve(field, a + s * eps * along).end @ weights for s in (1, -1))
        expected = (there - back) / (2 * eps)
        scale = expected.abs().clamp_min(1.0)
        assert ((found - expected).abs() / scale)[smooth].max() < 1e-4


@pytest.mark.parametrize("solver", [name for name in INTEGRATORS if INTEGRATORS[name].needs_quadratic])
def test_a_gradient_that_does_not_exist_is_refused(solver, fitted, texts):
    a = texts("odesteer_kernel").requires_grad_(True)
    path = ode.Flow(angle=0.1, solver=solver).solve(fitted("odesteer_kernel"), a)
    assert torch.equal(path.end, ode.Flow(angle=0.1, solver=solver).solve(fitted("odesteer_kernel"), a.detach()).end)
    with pytest.raises(ValueError, match="has no gradient"):
        path.end.sum().backward()
