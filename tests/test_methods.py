"""Every steering method against an oracle of its own."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from scipy.linalg import sqrtm
from scipy.optimize import minimize
from scipy.stats import special_ortho_group
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, roc_auc_score

import odesteer_tl as ode
from odesteer_tl import methods
from odesteer_tl.fields import AffineField
from tests.problems import activations, gaussian_classes

D = 24


def draw(n, d=D, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def apply(field, a, T=1.0, method="euler", steps=1):
    return ode.Flow(T=T, steps=steps, solver=method).solve(field, a).end


def cosine(x, y):
    return float(torch.cosine_similarity(x.double(), y.double(), dim=-1).min())


def random_covariance(d, seed):
    basis = torch.from_numpy(special_ortho_group.rvs(d, random_state=seed))
    return (basis * torch.linspace(0.2, 3.0, d).double()) @ basis.mT


# --- additive methods


def test_caa_is_the_mean_difference():
    positive, negative = gaussian_classes(60, D)
    field = methods.caa(positive, negative)
    a, difference = activations(5, D), positive.double().mean(0) - negative.double().mean(0)
    torch.testing.assert_close(apply(field, a, T=field.length), a + difference, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("sign", [1, -1])
def test_repe_finds_a_planted_direction_with_its_sign(sign):
    planted = sign * draw(1, seed=9)[0]
    negative = draw(200)
    # strengths differ and noise is as large as they are: the first principal direction, not the mean, is asked for
    positive = negative + (1 + draw(200, 1, seed=3).abs()) * planted + 0.3 * draw(200, seed=4)
    assert cosine(methods.repe(positive, negative).direction, planted) > 0.99


def probe_by_scipy(positive, negative, C=1.0):
    """The weight that minimises `C Σ log(1 + exp(−yf)) + ½‖w‖²`, `f = w·x + c`, by scipy from its formula."""
    X, y = torch.cat([positive, negative]).double().numpy(), np.repeat([1.0, -1.0], [len(positive), len(negative)])

    def loss(theta):
        margin = y * (X @ theta[:-1] + theta[-1])
        pull = -C * y / (1 + np.exp(margin))
        value = C * np.logaddexp(0, -margin).sum() + theta[:-1] @ theta[:-1] / 2
        return value, np.append(X.T @ pull + theta[:-1], pull.sum())

    found = minimize(loss, np.zeros(X.shape[1] + 1), jac=True, method="BFGS", options={"gtol": 1e-8})
    return torch.from_numpy(found.x[:-1])


@pytest.mark.parametrize("C", [1.0, 0.01])
def test_iti_is_the_probe_on_the_activations_as_they_are(C):
    """As its authors fit it; over the median norm it is another probe, which has a name of its own."""
    positive, negative = (6 * x for x in gaussian_classes(60, D))
    norm = float(torch.cat([positive, negative]).norm(dim=-1).median())
    raw, scaled = probe_by_scipy(positive, negative, C), probe_by_scipy(positive / norm, negative / norm, C)
    assert cosine(raw, scaled) < 0.995
    assert cosine(methods.iti(positive, negative, C=C).direction, raw) > 1 - 1e-6
    assert cosine(methods.iti_rescaled(positive, negative, C=C).direction, scaled) > 1 - 1e-6


@pytest.mark.parametrize("sign", [1, -1])
def test_rfm_recovers_a_planted_index_direction(sign):
    X, index = draw(500, 16), sign * draw(1, 16, seed=5)[0]
    high = X @ index > 0
    assert cosine(methods.rfm(X[high], X[~high]).direction, index) > 0.99


def test_rfm_recovers_an_index_that_the_mean_difference_does_not():
    """Classes that differ by |w·x| have one mean: only the gradients' outer product sees w."""
    X, index = draw(800, 12), draw(1, 12, seed=5)[0]
    far = (X @ index).abs() > 0.67 * index.norm()
    found = abs(cosine(methods.rfm(X[far], X[~far]).direction, index))
    by_mean = abs(cosine(methods.caa(X[far], X[~far]).direction, index))
    assert found > 0.99 > 0.6 > by_mean


def test_confst_is_the_mean_of_the_confident():
    positive, negative = (x.double() for x in gaussian_classes(200, D, shift=0.15))
    both = torch.cat([positive, negative])
    X = ((both - both.mean(0)) / both.std(0)).numpy()
    probe = LogisticRegression(C=1.0, max_iter=10_000).fit(X, [1] * 200 + [0] * 200)
    kept = torch.from_numpy(probe.predict_proba(X[:200])[:, 1] >= 0.7)
    assert 20 < kept.sum() < 180
    field = methods.confst(positive, negative, confidence=0.7)
    torch.testing.assert_close(field.direction * field.length, positive[kept].mean(0), rtol=1e-9, atol=1e-9)
    everyone = methods.confst(positive, negative, confidence=0.0)
    torch.testing.assert_close(everyone.direction * everyone.length, positive.mean(0), rtol=1e-9, atol=1e-9)


# --- maps


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 12))
def test_gaussian_transport_from_exact_moments(seed, d):
    source, target = random_covariance(d, seed), random_covariance(d, seed + 1)
    mean, target_mean = draw(1, d, seed)[0], draw(1, d, seed + 1)[0]
    weight, bias = methods.gaussian_transport(mean, source, target_mean, target)
    torch.testing.assert_close(weight @ mean + bias, target_mean, rtol=0, atol=1e-9)
    torch.testing.assert_close(weight @ source @ weight.mT, target, rtol=0, atol=1e-9)
    # Brenier: the transport that is the gradient of a convex function is the optimal one
    torch.testing.assert_close(weight, weight.mT, rtol=0, atol=1e-9)
    assert torch.linalg.eigvalsh(weight).min() > 0
    # its cost is the Bures–Wasserstein distance, by scipy's matrix root
    root = sqrtm(source.numpy())
    bures = np.trace(source.numpy() + target.numpy() - 2 * np.real(sqrtm(root @ target.numpy() @ root)))
    moved = weight - torch.eye(d)
    assert float((moved @ source @ moved.mT).trace()) == pytest.approx(bures, abs=1e-7)


@pytest.mark.parametrize("rank", [1, 5])
def test_gaussian_transport_reaches_a_target_of_lower_rank_than_its_width(rank):
    rows = draw(rank, 12, 3)
    target = rows.mT @ rows
    mean = torch.zeros(12).double()
    weight, _ = methods.gaussian_transport(mean, random_covariance(12, 0), mean, target)
    torch.testing.assert_close(weight @ random_covariance(12, 0) @ weight.mT, target, rtol=0, atol=1e-6)


def test_mimic_maps_the_source_sample_onto_the_targets_moments():
    positive, negative = (draw(600, seed=s) @ random_covariance(D, s) + 3 * draw(1, seed=s + 7) for s in (0, 1))
    transport = methods.mimic(positive, negative, shrinkage=0.0).field
    end = apply(transport, negative)
    torch.testing.assert_close(end.mean(0), positive.mean(0), rtol=0, atol=1e-3)
    torch.testing.assert_close(end.mT.cov(), positive.mT.cov(), rtol=0, atol=1e-3)
    halfway = apply(transport, negative, T=0.5)
    torch.testing.assert_close(halfway, (negative + end) / 2, rtol=1e-9, atol=1e-9)


def test_mimic_moves_what_its_classifier_calls_source_and_nothing_else():
    positive, negative = (x.double() for x in gaussian_classes(300, D, shift=0.2))
    both = torch.cat([positive, negative])
    source = ode.LinearBarrier().fit(positive, negative).value(both) < 0
    assert 0 < source[:300].sum() < source[300:].sum() < 300
    end = apply(methods.mimic(positive, negative), both)
    assert torch.equal((end != both).any(-1), source)


def test_mimic_shrinks_where_there_are_few_texts(unchecked):
    positive, negative = gaussian_classes(10, 40)
    assert torch.isfinite(apply(methods.mimic(positive, negative), negative)).all()
    with pytest.raises(ValueError, match="covariance is singular"):
        methods.mimic(positive, negative, shrinkage=0.0)


def test_linear_act_recovers_a_planted_affine_map():
    x = draw(300)
    weight, bias = 0.3 + draw(1, seed=5)[0].abs(), draw(1, seed=6)[0]
    shuffled = (weight * x + bias)[torch.randperm(300, generator=torch.Generator().manual_seed(0))]
    field = methods.linear_act(shuffled, x)
    torch.testing.assert_close(field.tensors["weight"], weight, rtol=0, atol=1e-6)
    torch.testing.assert_close(field.tensors["bias"], bias, rtol=0, atol=1e-6)
    torch.testing.assert_close(apply(field, x), weight * x + bias, rtol=0, atol=1e-6)
    torch.testing.assert_close(apply(field, x, T=0.4), 0.4 * (weight * x + bias) + 0.6 * x, rtol=0, atol=1e-6)


def test_linear_act_is_least_squares_on_sorted_pairs():
    x, y = draw(90, 3), draw(90, 3, seed=1).exp()
    field = methods.linear_act(y, x)
    for j in range(3):
        slope, intercept = np.polyfit(np.sort(x[:, j].numpy()), np.sort(y[:, j].numpy()), 1)
        assert float(field.tensors["weight"][j]) == pytest.approx(slope, abs=1e-10)
        assert float(field.tensors["bias"][j]) == pytest.approx(intercept, abs=1e-10)


def test_linear_act_leaves_a_neuron_outside_the_sources_range_alone():
    """Neuron by neuron in plain Python, from the paper: sort, least squares, map what lies in [min x, max x]."""
    negative, positive, a = draw(40, 5).exp(), draw(40, 5, seed=1) * 2 + 1, 3 * draw(30, 5, seed=2)
    ends = {name: apply(ode.METHODS[name].fit(positive, negative, 0), a, T=0.7)
            for name in ("linear_act", "linear_act_extrapolated")}  # fmt: skip
    outside = 0
    for j in range(5):
        x, y = sorted(negative[:, j].tolist()), sorted(positive[:, j].tolist())
        mx, my = sum(x) / 40, sum(y) / 40
        w = sum((p - mx) * (q - my) for p, q in zip(x, y, strict=True)) / sum((p - mx) ** 2 for p in x)
        for i, z in enumerate(a[:, j].tolist()):
            mapped = 0.7 * (w * z + my - w * mx) + 0.3 * z
            inside = x[0] <= z <= x[-1]
            outside += not inside
            assert float(ends["linear_act"][i, j]) == pytest.approx(mapped if inside else z, abs=1e-10)
            assert float(ends["linear_act_extrapolated"][i, j]) == pytest.approx(mapped, abs=1e-10)
    assert 30 < outside < 120


def test_a_support_is_refused_where_it_means_nothing(unchecked):
    one, square = torch.ones(3), torch.eye(3)
    for weight, support in ((square, torch.stack([-one, one])), (one, torch.stack([one, -one])), (one, square)):
        with pytest.raises(ValueError, match="support has shape"):
            AffineField(weight, one, None, support)
    with pytest.raises(ValueError, match="not additive"):
        methods.additive.added(AffineField(one, one, None, torch.stack([-one, one])))


def test_linear_act_with_unequal_classes_and_a_dead_neuron():
    x, y = draw(2000), 2 * draw(3000, seed=1) + 1
    x[:, 0] = 0.5
    field = methods.linear_act(y, x)
    torch.testing.assert_close(field.tensors["weight"][1:], torch.full((D - 1,), 2.0).double(), rtol=0.05, atol=0)
    assert field.tensors["weight"][0] == 1
    torch.testing.assert_close(apply(field, x)[:, 0], y[:, 0].mean().expand(2000), rtol=0, atol=0.05)


def test_mean_act_adds_the_mean_difference():
    positive, negative = (x.double() for x in gaussian_classes(60, D))
    end = apply(methods.mean_act(positive, negative), negative)
    torch.testing.assert_close(end, negative + positive.mean(0) - negative.mean(0), rtol=1e-12, atol=1e-12)


# --- rotations


@pytest.mark.parametrize("name", ["hpr", "rotation"])
def test_rotations_keep_norms(name):
    positive, negative = gaussian_classes(80, D)
    field = ode.METHODS[name].fit(positive, negative, 0)
    for dtype, tolerance in ((torch.float32, 1e-6), (torch.float64, 1e-13)):
        a = activations(50, D).to(dtype)
        end = apply(field, a, T=0.8, method="geodesic")
        torch.testing.assert_close(end.norm(dim=-1), a.norm(dim=-1), rtol=tolerance, atol=0)
        assert (end != a).any()


def test_a_rotation_turns_by_its_share_of_the_angle():
    positive, negative = gaussian_classes(80, D)
    field, a = methods.rotation(positive, negative), activations(50, D)
    units = [(x.double() / x.double().norm(dim=-1, keepdim=True)).mean(0) for x in (positive, negative)]
    target = (units[0] - units[1]).expand(50, -1)
    before = torch.acos(torch.cosine_similarity(a, target, dim=-1))
    after = torch.acos(torch.cosine_similarity(apply(field, a, T=0.3, method="geodesic"), target, dim=-1))
    torch.testing.assert_close(after, 0.7 * before, rtol=1e-9, atol=0)


def test_hpr_is_the_papers_combination_of_reflection_and_activation():
    """a″ = [sin γ₁ a′ + sin(γ₂ − γ₁) a]/sin γ₂, γ₂ the angle between a and its reflection a′."""
    positive, negative = gaussian_classes(80, D)
    field, a = methods.hpr(positive, negative), activations(50, D)
    reflected, learned = field.reflected(a), field.angle(a)
    between = torch.acos(torch.cosine_similarity(a, reflected, dim=-1))
    weights = [(s / between.sin())[:, None] for s in (learned.sin(), (between - learned).sin())]
    expected = weights[0] * reflected + weights[1] * a
    says_negative = a @ field.tensors["normal"] < 0
    assert 10 < says_negative.sum() < 40
    end = apply(field, a, method="geodesic")
    torch.testing.assert_close(end[says_negative], expected[says_negative], rtol=0, atol=1e-6)
    assert torch.equal(end[~says_negative], a[~says_negative])


def test_hpr_learns_the_angle_to_the_partner():
    """Partners one rotation apart, by an angle that the activation tells."""
    side = draw(600)
    side[:, :2] = 0
    side = 5 * side / side.norm(dim=-1, keepdim=True)
    turn = 0.4 + 0.3 * torch.tanh(side[:, 5])
    negative, positive = side.clone(), side.clone()
    negative[:, 0], positive[:, 0] = -5 * torch.tan(turn / 2), 5 * torch.tan(turn / 2)
    field = methods.hpr(positive[:500], negative[:500], steps=3000)
    assert abs(float(field.tensors["normal"][0])) > 0.99
    error = (field.angle(negative[500:]) - turn[500:]).abs()
    assert float(error.mean()) < 0.05 < float(turn.std())
    probe = lambda x: x @ field.tensors["normal"]  # noqa: E731
    assert (probe(apply(field, negative[500:], method="geodesic")) > 0).double().mean() > 0.95


# --- learned values, flows and latents


def test_re_controls_value_rises_along_its_steps_and_ranks_held_out_classes():
    positive, negative = gaussian_classes(300, D, shift=0.2)
    field = methods.re_control(positive[:200], negative[:200])
    held = torch.cat([positive[200:], negative[200:]])
    assert roc_auc_score([1] * 100 + [0] * 100, field.value(held)) > 0.8
    method = ode.METHODS["re_control"]
    path = ode.Flow(angle=0.3, steps=method.steps, solver=method.solver).solve(field, negative[200:], record=True)
    values = field.value(path.points)
    assert method.steps == 30
    assert (values[1:] > values[:-1]).all()


def test_re_controls_value_approaches_the_reward():
    positive, negative = draw(300) + 1.0, draw(300, seed=1) - 1.0
    field = methods.re_control(positive, negative)
    assert float(field.value(positive).mean()) == pytest.approx(1, abs=0.1)
    assert float(field.value(negative).mean()) == pytest.approx(-1, abs=0.1)


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_truthflow_transports_a_planted_shift(noise):
    negative, shift = draw(500) + 0.5, draw(1, seed=3)[0]
    positive = negative + shift + noise * draw(500, seed=4)
    field, held = methods.truthflow(positive, negative), draw(200, seed=5) + 0.5
    moved = apply(field, held, T=1.0) - held
    cosines = torch.cosine_similarity(moved, shift.expand_as(moved), dim=-1)
    assert float(cosines.min()) > 0.9
    assert float(cosines.median()) > 0.97
    assert float((moved - shift).norm(dim=-1).mean()) < 0.25 * float(shift.norm())


def test_truthflows_correction_depends_on_the_activation():
    """Two groups of activations with opposite corrections: no constant direction would do."""
    group, shift = torch.where(draw(600, 1, seed=1) > 0, 1.0, -1.0).double(), draw(1, seed=3)[0]
    negative = draw(600) + 2 * group * draw(1, seed=8)
    positive = negative + group * shift
    field = methods.truthflow(positive[:500], negative[:500])
    moved = field(negative[500:])
    assert float(torch.cosine_similarity(moved, (group * shift)[500:], dim=-1).median()) > 0.9
    basis = field.tensors["basis"]
    torch.testing.assert_close(moved, moved @ basis @ basis.mT, rtol=0, atol=1e-9)


def sparse_data(n, d=D, seed=0):
    """Activations that are sparse sums of 40 unit directions, and their codes and the directions."""
    g = torch.Generator().manual_seed(7)
    directions = torch.randn(40, d, generator=g)
    directions /= directions.norm(dim=-1, keepdim=True)
    g.manual_seed(seed)
    codes = 2 * torch.rand(n, 40, generator=g) * (torch.rand(n, 40, generator=g) < 0.1)
    return codes @ directions + 0.5, codes, directions


@pytest.fixture(scope="module")
def trained():
    """A small autoencoder of the first 2000 of 3000 samples."""
    return methods.train_autoencoder(sparse_data(3000)[0][:2000], k=6, steps=1500)


def test_a_trained_autoencoder_is_sparse_and_explains_held_out_data(trained):
    x, _, _ = sparse_data(3000)
    sae = trained
    z = sae.encode(x[2000:])
    unexplained = (sae.decode(z) - x[2000:]).square().sum() / (x[2000:] - x[2000:].mean(0)).square().sum()
    _, _, right = torch.linalg.svd(x[:2000] - x[:2000].mean(0), full_matrices=False)
    centred = x[2000:] - x[:2000].mean(0)
    six_components = (centred - centred @ right[:6].mT @ right[:6]).square().sum() / centred.square().sum()
    assert ((z > 0).sum(-1) <= 6).all()
    assert float(unexplained) < 0.5 * float(six_components)
    torch.testing.assert_close(sae.W_dec.norm(dim=-1), torch.ones(4 * D), rtol=1e-5, atol=0)


def test_lf_steering_moves_along_a_planted_latent(trained):
    x, codes, directions = sparse_data(3000)
    has = codes[:, 3] > 0
    positive, negative = x[has], x[~has]
    field = methods.lf_steering(positive, negative, autoencoder=trained, latents=3)
    moved = apply(field, negative) - negative
    assert float(torch.cosine_similarity(moved.mean(0), directions[3], dim=0)) > 0.9
    assert float((field.tensors["shift"] != 0).sum()) == 3


def test_lf_steering_takes_an_autoencoder_from_elsewhere():
    x, _, _ = sparse_data(500)
    sae = methods.train_autoencoder(x, steps=20)
    field = methods.lf_steering(x[:250], x[250:], autoencoder=sae, latents=5)
    assert torch.equal(field.tensors["W_dec"], sae.W_dec)


def write_saelens(path, config, d=6, latents=10, **extra):
    g = torch.Generator().manual_seed(0)
    shapes = {"W_enc": (d, latents), "b_enc": (latents,), "W_dec": (latents, d), "b_dec": (d,)}
    weights = {name: torch.randn(*shape, generator=g) for name, shape in shapes.items()} | extra
    path.mkdir()
    (path / "cfg.json").write_text(json.dumps({"d_in": d, "d_sae": latents, "dtype": "float32", **config}))
    save_file(weights, path / "sae_weights.safetensors")
    return weights


@pytest.mark.parametrize("takes_bias_off", [True, False])
@pytest.mark.parametrize(
    "config",
    [
        {"architecture": "standard"},
        {"architecture": "topk", "k": 3},
        {"architecture": "topk", "k": 3, "rescale_acts_by_decoder_norm": True},
        {"architecture": "standard", "activation_fn_str": "topk", "activation_fn_kwargs": {"k": 3}},
        {"architecture": "jumprelu"},
    ],
)
def test_saelens_directories_are_read(config, takes_bias_off, tmp_path):
    threshold = {"threshold": torch.linspace(0.0, 2.0, 10)} if config["architecture"] == "jumprelu" else {}
    w = write_saelens(tmp_path / "sae", {**config, "apply_b_dec_to_input": takes_bias_off}, **threshold)
    sae, x = methods.read_saelens(tmp_path / "sae"), torch.randn(7, 6)
    # SAELens's own definitions, written out
    p = (x - takes_bias_off * w["b_dec"]) @ w["W_enc"] + w["b_enc"]
    norm = w["W_dec"].norm(dim=-1) if config.get("rescale_acts_by_decoder_norm") else torch.ones(10)
    p = p * norm
    z = p.relu() * (p > threshold["threshold"] if threshold else 1)
    if "k" in config or "activation_fn_kwargs" in config:
        z = torch.where(p >= p.topk(3).values[:, -1:], z, 0)
    torch.testing.assert_close(sae.encode(x), z, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(sae.decode(sae.encode(x)), (z / norm) @ w["W_dec"] + w["b_dec"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("config", "word"),
    [
        ({"architecture": "gated"}, "architecture='gated'"),
        ({"architecture": "standard", "activation_fn": "tanh-relu"}, "tanh-relu"),
        ({"architecture": "topk", "k": 2, "normalize_activations": "layer_norm"}, "layer_norm"),
        ({"architecture": "jumprelu"}, "threshold"),
        ({}, "architecture"),
    ],
)
def test_what_cannot_be_read_is_refused(config, word, tmp_path):
    write_saelens(tmp_path / "sae", config)
    with pytest.raises(ValueError, match=word):
        methods.read_saelens(tmp_path / "sae")
    with pytest.raises(ValueError, match="not a readable SAELens directory"):
        methods.read_saelens(tmp_path / "nowhere")


# --- gates and controllers


def test_casts_gate_has_the_best_f1_of_all_thresholds():
    positive, negative = (x.double() for x in gaussian_classes(100, D, shift=0.15))
    field, both = methods.cast(positive, negative), torch.cat([positive, negative])
    cosines = both @ field.condition / both.norm(dim=-1)
    labels = [0] * 100 + [1] * 100
    best = max(f1_score(labels, cosines >= t) for t in cosines.tolist())
    assert f1_score(labels, field.open(both)) == pytest.approx(best, abs=1e-12)
    assert best > 0.7
    end, plain = (apply(f, both, T=2.0) for f in (field, methods.caa(positive, negative)))
    opened = field.open(both)
    assert torch.equal(end[opened], plain[opened])
    assert torch.equal(end[~opened], both[~opened])


def test_a_gate_goes_around_any_method():
    positive, negative = gaussian_classes(60, D)
    for name in ("odesteer_rff", "linear_act", "hpr"):
        inner = ode.METHODS[name].fit(positive, negative, 0)
        gated = methods.gate(inner, opens=negative, closes=positive)
        opened = gated.open(negative)
        a, b = (apply(f, negative, T=0.5, method="geodesic") for f in (gated, inner))
        assert opened.double().mean() > 0.8
        torch.testing.assert_close(a[opened], b[opened], rtol=1e-5, atol=1e-5)
        assert torch.equal(a[~opened], negative[~opened])


def test_minimal_intervention_acts_only_below_its_level_and_reaches_it():
    positive, negative = (x.double() for x in gaussian_classes(100, D))
    field, method = methods.minimal_intervention(positive, negative, quantile=0.25), ode.METHODS["minimal_intervention"]
    flow = ode.Flow(T=method.T, steps=method.steps, solver=method.solver)
    above = field.barrier.value(positive) >= field.level
    assert above.double().mean() == pytest.approx(0.75, abs=0.011)
    end = flow.solve(field, positive).end
    assert torch.equal(end[above], positive[above])
    gap = field.level - field.barrier.value(flow.solve(field, negative).end)
    before = field.level - field.barrier.value(negative)
    # ten steps that close half of the gap each, were h linear along them
    assert (gap.abs() < 0.05 * before).all()
    assert cosine(flow.solve(field, negative).end, negative) < 1


def test_gradient_ascent_is_the_published_barriers_gradient():
    positive, negative = (x.double() for x in gaussian_classes(60, D))
    field, barrier = methods.gradient_ascent(positive, negative, 3), ode.SketchBarrier(seed=3).fit(positive, negative)
    a = b = activations(5, D)
    for _ in range(10):
        b = b + 0.5 * barrier.gradient(b)
    torch.testing.assert_close(apply(field, a, T=5.0, steps=10), b, rtol=1e-12, atol=1e-12)


# --- strengths and bad input


def test_a_methods_own_strength_is_used_unless_another_is_given(organism):
    contrast = ode.organism.contrast("valence", n=20)
    assert ode.fit("linear_act", organism, contrast, layer=1).flow == ode.Flow(T=1.0, steps=1, solver="euler")
    assert ode.fit("linear_act", organism, contrast, layer=1, angle=0.2).flow.T is None
    with pytest.raises(ValueError, match="exactly one"):
        ode.fit("caa", organism, contrast, layer=1)


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda p, n: methods.mimic(p, n, shrinkage=1.5), "shrinkage=1.5"),
        (lambda p, n: methods.hpr(p[1:], n), "HPR learns the angle"),
        (lambda p, n: methods.repe(p[1:], n), "RepE takes the differences"),
        (lambda p, n: methods.truthflow(p[1:], n), "TruthFlow learns"),
        (lambda p, n: methods.truthflow(p, n, directions=0), "directions=0"),
        (lambda p, n: methods.confst(p, n, confidence=1.0), "confidence=1.0"),
        (lambda p, n: methods.confst(p, p, confidence=0.9), "confidence=0.9: no positive"),
        (lambda p, n: methods.lf_steering(p, n, latents=0), "latents=0"),
        (lambda p, n: methods.train_autoencoder(p, k=0), "k=0"),
        (lambda p, n: methods.minimal_intervention(p, n, quantile=2.0), "quantile=2.0"),
        (lambda p, n: methods.minimal_intervention(p, n, rate=-1.0), "rate=-1.0"),
        (lambda p, n: methods.rotation(p, p), "direction is zero"),
        (lambda p, n: methods.register("caa", solver="euler", source="")(methods.caa), "already a method"),
    ],
)
def test_bad_input_names_the_argument_and_the_value(make, word, unchecked):
    with pytest.raises(ValueError, match=word):
        make(*gaussian_classes(20, D))


def test_training_leaves_the_callers_random_state():
    positive, negative = gaussian_classes(20, D)
    state = torch.get_rng_state()
    with torch.no_grad():
        for name in ("re_control", "lf_steering"):
            first, second, other = (ode.METHODS[name].fit(positive, negative, seed).dump()[1] for seed in (0, 0, 1))
            assert all(torch.equal(first[k], second[k]) for k in first)
            assert any(not torch.equal(first[k], other[k]) for k in first)
    assert torch.equal(torch.get_rng_state(), state)
