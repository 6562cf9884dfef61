"""Densities: against torch, scikit-learn, autograd and quadrature; chosen ones against the known truth."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from sklearn.covariance import OAS, LedoitWolf
from sklearn.decomposition import PCA
from sklearn.decomposition import FactorAnalysis as SklearnFactorAnalysis
from torch.distributions import MultivariateNormal

from odesteer_tl import densities
from odesteer_tl.densities import (
    PPCA,
    AngularCentralGaussian,
    Chart,
    FactorAnalysis,
    MixturePPCA,
    ShrunkGaussian,
    TangentGaussian,
    select_density,
)
from tests.gaussian_pair import GaussianPair, as_density

AMBIENT = [ShrunkGaussian(), ShrunkGaussian("oas"), PPCA(3), FactorAnalysis(3), FactorAnalysis(0), MixturePPCA(2, 3)]
DIRECTIONAL = [TangentGaussian(PPCA(3)), TangentGaussian(FactorAnalysis(2)), AngularCentralGaussian(3)]


def data(n=300, d=12, seed=0):
    return GaussianPair.draw(d, rank=3, seed=seed).sample(n, seed)[0]


@pytest.mark.parametrize("n", [20, 60])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (ShrunkGaussian("ledoit_wolf"), LedoitWolf()),
        (ShrunkGaussian("oas"), OAS()),
        (PPCA(3), PCA(3, svd_solver="full")),
        (FactorAnalysis(3), SklearnFactorAnalysis(3, tol=1e-9, max_iter=20000, svd_method="lapack")),
    ],
)
def test_gaussian_families_are_scikit_learns(ours, theirs, n):
    """Also where n < d, where only our form avoids the d × d matrix."""
    x = data(n, 32)
    fitted, reference = ours.fit(x), theirs.fit(x.numpy())
    shrunk = isinstance(reference, LedoitWolf | OAS)
    covariance = torch.from_numpy(reference.covariance_ if shrunk else reference.get_covariance())
    if isinstance(reference, PCA):
        # scikit-learn divides by n − 1; maximum likelihood, and the paper, by n
        covariance = covariance * (n - 1) / n
        if n > 32:  # below, scikit-learn averages the noise over fewer dimensions than there are
            torch.testing.assert_close(fitted.covariance, covariance, rtol=1e-8, atol=1e-10)
    elif isinstance(reference, SklearnFactorAnalysis):
        # the likelihood is flat where n is small: compare what is maximised
        found = fitted.log_prob(x).mean() / 32
        best = MultivariateNormal(torch.from_numpy(reference.mean_), covariance).log_prob(x).mean() / 32
        assert abs(float(found - best)) < (0.05 if n == 20 else 0.01)
    else:
        torch.testing.assert_close(fitted.covariance, covariance, rtol=1e-9, atol=1e-10)
    other = data(50, 32, seed=0)
    expected = MultivariateNormal(fitted.fitted("mean"), fitted.covariance).log_prob(other)
    torch.testing.assert_close(fitted.log_prob(other), expected, rtol=1e-9, atol=1e-7)


def test_ppca_noise_is_the_mean_discarded_eigenvalue_also_below_n():
    x = data(20, 32)
    values = torch.linalg.eigvalsh(torch.cov(x.mT, correction=0)).flip(0)
    fitted = PPCA(4).fit(x)
    assert float(fitted.fitted("noise")[0]) == pytest.approx(float(values[4:].sum() / 28), rel=1e-9)
    found = torch.linalg.eigvalsh(fitted.covariance).flip(0)
    torch.testing.assert_close(found[:4], values[:4], rtol=1e-9, atol=0)


@settings(max_examples=25, deadline=None)
@given(d=st.integers(3, 20), rank=st.integers(0, 4), seed=st.integers(0, 10**6), size=st.floats(1e-3, 1e3))
def test_log_prob_is_torchs(d, rank, seed, size):
    truth = GaussianPair.draw(d, rank=max(rank, 1), seed=seed).positive
    density = as_density(truth)
    a = truth.mean + size * (truth.rsample((7,)) - truth.mean)
    torch.testing.assert_close(density.log_prob(a), truth.log_prob(a), rtol=1e-9, atol=1e-9)
    assert density.log_prob(a.view(7, 1, d)).shape == (7, 1)


@pytest.mark.parametrize("density", [*AMBIENT, *DIRECTIONAL], ids=lambda x: x.name)
def test_gradient_is_autograds(density):
    fitted = density.fit(data())
    a = (3 * data(9, seed=5)).requires_grad_()
    (expected,) = torch.autograd.grad(fitted.log_prob(a).sum(), a)
    torch.testing.assert_close(fitted.gradient(a.detach()), expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("density", AMBIENT, ids=lambda x: x.name)
def test_draws_have_the_density_they_are_drawn_from(density):
    """Stein: E[(x − c)·∇ log p] = −d under p, for any p on Rᵈ that decays."""
    fitted = density.fit(data())
    x = fitted.sample(40000, seed=3)
    assert float((fitted.gradient(x) * (x - x.mean(0))).sum(-1).mean()) == pytest.approx(-12, abs=0.4)


@pytest.mark.parametrize("density", [TangentGaussian(FactorAnalysis(1)), AngularCentralGaussian(1)])
def test_draws_on_the_sphere_have_the_density_they_are_drawn_from(density):
    """Total mass, mean and second moment in three dimensions: draws against p integrated over the sphere."""
    fitted = density.fit(data(400, 3))
    draws = fitted.sample(100000, seed=3)
    torch.testing.assert_close(draws.norm(dim=-1), torch.ones(len(draws)).double())
    u = torch.randn(400000, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    u = u / u.norm(dim=-1, keepdim=True)
    weights = fitted.log_prob(u).exp() * 4 * math.pi / len(u)
    assert float(weights.sum()) == pytest.approx(1.0, abs=0.03)
    torch.testing.assert_close(weights @ u, draws.mean(0), rtol=0, atol=0.03)
    torch.testing.assert_close((u.mT * weights) @ u, draws.mT @ draws / len(draws), rtol=0, atol=0.03)


def mass_on_the_circle(fitted, limit):
    def density(t):
        return float(fitted.log_prob(torch.tensor([math.cos(t), math.sin(t)]).double()).exp())

    return quad(density, -math.pi, math.pi, limit=limit)[0]


def test_a_tangent_gaussian_is_normalised_on_the_circle():
    x = torch.tensor([[2.0, 1.0], [2.0, -1.0], [1.0, 0.5], [3.0, 0.1]]).double()
    fitted = TangentGaussian(PPCA(0)).fit(torch.cat([x, x * 1.1 + 0.1]))
    assert mass_on_the_circle(fitted, 400) == pytest.approx(1.0, abs=1e-6)


def test_the_central_gaussian_is_normalised_even_and_scale_free():
    fitted = AngularCentralGaussian(1).fit(data(200, 2))
    assert mass_on_the_circle(fitted, 200) == pytest.approx(1.0, abs=1e-8)
    a = data(20, 2, seed=4)
    torch.testing.assert_close(fitted.log_prob(-3 * a), fitted.log_prob(a))


def test_the_central_gaussian_finds_the_scatter_it_was_drawn_from():
    truth = GaussianPair.draw(16, rank=2, seed=1).positive
    scatter = torch.diag(torch.full((16,), 0.5).double()) + truth.cov_factor @ truth.cov_factor.mT
    x = MultivariateNormal(torch.zeros(16).double(), scatter).sample((4000,))
    fitted = AngularCentralGaussian(2).fit(x * torch.rand(4000, 1))
    found = fitted.radial.covariance
    torch.testing.assert_close(found / found.trace(), scatter / scatter.trace(), rtol=0, atol=0.01)


@settings(max_examples=25, deadline=None)
@given(d=st.integers(2, 30), seed=st.integers(0, 10**6))
def test_the_chart_goes_there_and_back(d, seed):
    g = torch.Generator().manual_seed(seed)
    base, a = torch.randn(d, generator=g).double(), torch.randn(6, d, generator=g).double()
    chart = Chart(base)
    x = chart.enter(a)
    torch.testing.assert_close(chart.leave(x), a / a.norm(dim=-1, keepdim=True), rtol=1e-7, atol=1e-9)
    angle = torch.arccos(((a @ base) / a.norm(dim=-1) / base.norm()).clamp(-1, 1))
    torch.testing.assert_close(x.norm(dim=-1), 2 * torch.tan(angle / 2), rtol=1e-6, atol=1e-7)
    # the Jacobian against autograd: volume of the columns of ∂u/∂x
    J = torch.autograd.functional.jacobian(chart.leave, x[0])
    volume = torch.linalg.svdvals(J).log().sum()
    torch.testing.assert_close(chart.log_jacobian(x[0]), -volume, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("density", DIRECTIONAL, ids=lambda x: x.name)
def test_directional_densities_do_not_see_the_norm(density):
    x = data()
    fitted = density.fit(x)
    torch.testing.assert_close(fitted.log_prob(x), fitted.log_prob(7 * x), rtol=1e-9, atol=1e-9)
    assert float((fitted.gradient(x) * x).sum(-1).abs().max()) < 1e-9
    torch.testing.assert_close(density.fit(7 * x).log_prob(x), fitted.log_prob(x), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("d", "n"), [(32, 250), (128, 2000), (512, 500)])
def test_the_chosen_density_is_near_the_truth_and_never_below_ledoit_wolf(d, n):
    """0.05 nats a dimension at d = 128, n = 2000: held-out mean, and the typical point's own error."""
    pair = GaussianPair.draw(d, rank=6, seed=d)
    candidates = [ShrunkGaussian(), *(family(r) for family in (PPCA, FactorAnalysis) for r in (4, 8))]
    chosen = select_density(pair.sample(n, 1)[0], range(n), candidates)
    fresh = pair.sample(2000, 2)[0]
    found, truth = chosen.density.log_prob(fresh) / d, pair.positive.log_prob(fresh) / d
    if (d, n) == (128, 2000):
        assert float((truth - found).mean()) <= 0.05
        assert float((truth - found).abs().median()) <= 0.05
        assert float((truth - found).abs().quantile(0.99)) <= 0.1
    shrunk = ShrunkGaussian().fit(pair.sample(n, 1)[0]).log_prob(fresh) / d
    error = float((found - shrunk).std()) / math.sqrt(len(fresh))
    assert float((found - shrunk).mean()) >= -error
    picked = chosen.table[chosen.table["chosen"]].iloc[0]
    lw = chosen.table[chosen.table["density"].str.contains("ledoit")].iloc[0]
    assert picked["nats_per_dimension"] >= lw["nats_per_dimension"] - picked["deficit_error"] - 1e-12


def test_the_simplest_within_a_standard_error_is_chosen():
    x = torch.randn(400, 10, generator=torch.Generator().manual_seed(0)).double()
    chosen = select_density(x, range(400))
    assert chosen.density.n_parameters(10) == chosen.table["parameters"].min()
    row = chosen.table[chosen.table["chosen"]].iloc[0]
    assert row["deficit"] <= row["deficit_error"] or row["deficit"] == 0


def test_mixtures_win_where_there_are_clusters_and_only_there():
    g = torch.Generator().manual_seed(0)
    one = torch.randn(600, 16, generator=g).double()
    two = one + 6 * torch.where(torch.rand(600, 1, generator=g) < 0.5, 1.0, -1.0) * (torch.arange(16) < 1)
    assert isinstance(select_density(two, range(600)).density, MixturePPCA)
    assert not isinstance(select_density(one, range(600)).density, MixturePPCA)


def test_folds_are_grouped_by_prompt():
    """Ten copies of each prompt: ungrouped folds would reward a density that has memorised them."""
    base = data(30, 12)
    noise = torch.randn(300, 12, generator=torch.Generator().manual_seed(0)).double()
    x = base.repeat_interleave(10, 0) + 1e-3 * noise
    candidates = [ShrunkGaussian(), PPCA(1), PPCA(10)]
    groups = torch.arange(30).repeat_interleave(10).tolist()
    grouped = select_density(x, groups, candidates).table.set_index("density").sort_index()
    leaky = select_density(x, range(300), candidates).table.set_index("density").sort_index()
    assert (leaky["nats_per_dimension"] > grouped["nats_per_dimension"]).all()
    # the standard error counts prompts, not rows
    assert (grouped["standard_error"] > 2 * leaky["standard_error"]).all()


def test_tied_densities_share_all_but_the_location():
    pair = GaussianPair.draw(12, rank=3, tied=True)
    x = pair.sample(200, 0)
    for density in (ShrunkGaussian(), PPCA(3), FactorAnalysis(3)):
        one, other = density.fit_tied(x)
        assert not density.state
        torch.testing.assert_close(one.covariance, other.covariance)
        torch.testing.assert_close(one.fitted("mean"), x[0].mean(0))
    one, other = TangentGaussian(PPCA(3)).fit_tied(x)
    coordinates = one.chart.enter(torch.cat(x))
    ratio = (one.log_prob(torch.cat(x)) - other.log_prob(torch.cat(x))).unsqueeze(1)
    design = torch.cat([coordinates, torch.ones(400, 1).double()], 1)
    residual = design @ torch.linalg.lstsq(design, ratio).solution - ratio
    assert float(residual.abs().max()) < 1e-8 * float(ratio.abs().max())


def test_collinear_data_and_fewer_samples_than_dimensions_have_a_density():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(60, 4, generator=g).double() @ torch.randn(4, 40, generator=g).double() + 3
    chosen = select_density(x, range(60), [ShrunkGaussian(), PPCA(2), PPCA(4), PPCA(8), FactorAnalysis(4)])
    assert torch.isfinite(chosen.density.log_prob(x)).all()
    off = x + 0.1 * torch.randn(60, 40, generator=g).double()
    assert (chosen.density.log_prob(off) < chosen.density.log_prob(x)).all()
    few = data(10, 50)
    assert torch.isfinite(select_density(few, range(10)).density.gradient(few)).all()


def test_no_matrix_of_the_full_width_is_decomposed(monkeypatch):
    """d = 900, n = 60: nothing larger than n × n goes into an eigendecomposition or an inverse."""
    sizes = []
    true = torch.linalg.eigh
    monkeypatch.setattr(torch.linalg, "eigh", lambda m: (sizes.append(max(m.shape)), true(m))[1])
    x = GaussianPair.draw(900, seed=0).sample(60, 0)[0]
    select_density(x, range(60), [ShrunkGaussian(), ShrunkGaussian("oas"), PPCA(8), FactorAnalysis(8)])
    assert len(sizes) == 6
    assert max(sizes) <= 60


def test_bad_input(unchecked):
    x = data(40, 8)
    for says, call in (
        ("not fitted", lambda: PPCA(2).log_prob(x)),
        ("NaN", lambda: PPCA(2).fit(x.where(x != x[3, 3], torch.nan))),
        (
            r"1 of 8 dimensions never vary \(the first: \[2\]\)",
            lambda: ShrunkGaussian().fit(x * (torch.arange(8) != 2) + 5.0 * (torch.arange(8) == 2)),
        ),
        ("rank=9 does not fit n=40 samples of width 8", lambda: PPCA(9).fit(x)),
        ("rank=7 does not fit n=6", lambda: FactorAnalysis(7).fit(x[:6])),
        ("does not fit n=12", lambda: MixturePPCA(4, 3).fit(x[:12])),
        ("no tied form", lambda: MixturePPCA(2, 2).fit_tied([x, x + 1])),
        ("no location", lambda: AngularCentralGaussian(2).fit_tied([x, x + 1])),
        ("width 7", lambda: PPCA(2).fit(x).log_prob(x[:, :7])),
        ("shrinkage='ridge' is unknown", lambda: ShrunkGaussian("ridge")),
        ("groups has 3 labels for 40", lambda: select_density(x, range(3))),
        (r"groups hold 1 prompt\(s\)", lambda: select_density(x, [0] * 40)),
        ("all ambient or all directional", lambda: select_density(x, range(40), [PPCA(1), AngularCentralGaussian(1)])),
    ):
        with pytest.raises(ValueError, match=says):
            call()


def test_defaults_fit_what_the_samples_carry():
    for n, d in ((8, 4), (12, 20)):
        x = data(n, d)
        for maker in (densities.ambient_candidates, densities.directional_candidates):
            table = select_density(x, range(n), maker(int(0.8 * n) - 1, d)).table
            assert np.isfinite(table["nats_per_dimension"]).all()
