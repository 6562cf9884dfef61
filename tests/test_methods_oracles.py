"""Every method and the test of its own that fails if it is not what it says; and some of these tests."""

import ast
from pathlib import Path

import pytest
import torch
from scipy.stats import kstest

import odesteer_tl as ode
from odesteer_tl import methods
from tests.problems import activations, draw, gaussian_classes

D = 16

#: method → tests with an oracle of its own; what all of them promise stands in test_methods_contract.py
ORACLES = {
    "barrier_steer": ["test_barrier_steer_is_the_programme_of_its_paper"],
    "bipo": [
        "test_preferences_are_their_papers_formulas",
        "test_the_gradient_through_a_real_model_is_that_of_finite_differences",
    ],
    "caa": ["test_caa_is_the_mean_difference"],
    "cast": ["test_casts_gate_has_the_best_f1_of_all_thresholds"],
    "confst": ["test_confst_is_the_mean_of_the_confident"],
    "curveball": ["test_curveball_is_scikit_learns_kernel_pca_and_its_pre_image"],
    "directional_ablation": ["test_directional_ablation_leaves_nothing_of_its_direction"],
    "flas": ["test_flows_with_gates_of_zero_are_the_identity", "test_a_block_is_torchs_own_attention"],
    "gradient_ascent": ["test_gradient_ascent_is_the_published_barriers_gradient"],
    "hpr": ["test_hpr_is_the_papers_combination_of_reflection_and_activation", "test_rotations_keep_norms"],
    "iti": ["test_iti_is_the_probe_on_the_activations_as_they_are"],
    "iti_heads": ["test_a_chosen_head_is_moved_by_alpha_standard_deviations"],
    "iti_rescaled": ["test_iti_is_the_probe_on_the_activations_as_they_are"],
    "learned_flow": [
        "test_flows_with_gates_of_zero_are_the_identity",
        "test_a_learned_flows_path_bends_and_its_time_matters",
    ],
    "lf_steering": ["test_lf_steering_moves_along_a_planted_latent"],
    "linear_act": ["test_linear_act_leaves_a_neuron_outside_the_sources_range_alone"],
    "linear_act_extrapolated": ["test_linear_act_is_least_squares_on_sorted_pairs"],
    "logistic": ["test_logistic_takes_scikit_learns_arguments"],
    "mean_act": ["test_mean_act_adds_the_mean_difference"],
    "mimic": ["test_gaussian_transport_is_python_optimal_transports", "test_gaussian_transport_from_exact_moments"],
    "minimal_intervention": ["test_minimal_intervention_acts_only_below_its_level_and_reaches_it"],
    "odesteer": ["test_odesteer_is_as_published", "test_the_published_form_ends_where_the_library_does"],
    "odesteer_one_step": ["test_odesteer_is_as_published"],
    "odesteer_rff": [
        "test_every_odesteer_follows_the_unit_gradient_of_its_barrier",
        "test_the_median_bandwidth_is_the_authors",
    ],
    "odesteer_kernel": ["test_every_odesteer_follows_the_unit_gradient_of_its_barrier"],
    "odesteer_certified": ["test_the_certified_flow_never_falls"],
    "optimal_cap": ["test_the_optimal_steer_beats_every_integrator"],
    "on_manifold": ["test_the_closed_form_is_what_a_solver_finds"],
    "pca": ["test_pca_is_that_of_the_differences_beside_their_negatives"],
    "pca_centered": ["test_centred_pca_loses_the_mean_difference_and_takes_the_majoritys_sign"],
    "pid": ["test_pid_is_the_closed_loop_by_hand"],
    "random": ["test_a_random_direction_is_uniform_and_knows_nothing_of_the_data"],
    "re_control": ["test_re_controls_value_rises_along_its_steps_and_ranks_held_out_classes"],
    "reft_r1": ["test_reft_r1_finds_a_planted_direction_and_detects_by_it"],
    "repe": ["test_repe_finds_a_planted_direction_with_its_sign", "test_repe_does_not_center"],
    "reps": [
        "test_preferences_are_their_papers_formulas",
        "test_the_gradient_through_a_real_model_is_that_of_finite_differences",
    ],
    "rfm": ["test_rfm_recovers_a_planted_index_direction"],
    "riser": ["test_the_policy_learns_which_vector_a_state_needs", "test_the_library_is_the_planted_directions"],
    "rotation": ["test_a_rotation_turns_by_its_share_of_the_angle", "test_rotations_keep_norms"],
    "selective_rotation": ["test_selective_rotation_turns_within_its_plane_alone"],
    "trained_vector": ["test_a_trained_vector_finds_the_direction_of_a_planted_readout"],
    "truthflow": ["test_truthflow_transports_a_planted_shift"],
}


def test_every_method_has_an_oracle_that_exists():
    assert sorted(ORACLES) == sorted(ode.METHODS)
    files = [ast.parse(path.read_text()) for path in Path(__file__).parent.glob("test_*.py")]
    defined = {node.name for file in files for node in file.body if isinstance(node, ast.FunctionDef)}
    named = {test for tests in ORACLES.values() for test in tests}
    assert named <= defined, sorted(named - defined)


@pytest.mark.parametrize("seed", range(3))
def test_gaussian_transport_is_python_optimal_transports(seed):
    gaussian = pytest.importorskip("ot.gaussian")
    roots = [draw(D, D, seed=seed + k) / D**0.5 + 0.3 * torch.eye(D) for k in (0, 10)]
    source, target = (root @ root.mT for root in roots)
    mean, target_mean = draw(D, seed=seed + 20), draw(D, seed=seed + 30)
    weight, bias = methods.gaussian_transport(mean, source, target_mean, target)
    theirs = gaussian.bures_wasserstein_mapping(*(x.numpy() for x in (mean, target_mean, source, target)))
    for ours, other in zip((weight, bias), theirs, strict=True):
        torch.testing.assert_close(ours, torch.from_numpy(other).reshape(ours.shape), rtol=0, atol=1e-6)


def test_mimic_carries_fresh_draws_of_one_planted_gaussian_onto_the_other():
    """The transport learned from a sample, on other draws: to the sampling error of 40,000 rows."""
    roots = [0.5 * draw(4, 4, seed=k) + torch.eye(4) for k in (1, 2)]
    positive, negative, fresh = (draw(40_000, 4, seed=s) @ roots[k] + 3 * k for s, k in ((3, 0), (4, 1), (5, 1)))
    field = methods.mimic(positive, negative).field
    end = ode.Flow(T=1.0, steps=1, solver="euler").solve(field, fresh).end
    target = roots[0].mT @ roots[0]
    torch.testing.assert_close(end.mean(0), torch.zeros(4).double(), rtol=0, atol=0.05)
    torch.testing.assert_close(end.mT.cov(), target, rtol=0, atol=0.05 * float(target.diagonal().max()))


def test_repe_does_not_center():
    """Without the mean difference the first direction is the noise's; the planted one is far from it."""
    planted, noise = torch.eye(D).double()[0], torch.eye(D).double()[1]
    negative = draw(300, D)
    positive = negative + 3 * planted + 2 * draw(300, 1, seed=1) * noise
    difference = positive - negative
    centred = torch.linalg.svd(difference - difference.mean(0), full_matrices=False).Vh[0]
    found = methods.repe(positive, negative).direction
    assert float(found @ planted) > 0.99 > 0.2 > abs(float(centred @ planted))
    flipped = methods.repe(negative, positive).direction
    torch.testing.assert_close(flipped, -found, rtol=0, atol=1e-12)


def test_odesteer_is_as_published():
    classes = gaussian_classes(40, D)
    for name, steps in (("odesteer", 10), ("odesteer_one_step", 1)):
        method = ode.METHODS[name]
        published = {"degree": 2, "gamma": 0.1, "coef0": 1.0, "n_components": 8000, "C": 1.0, "seed": 3}
        config = method.fit(*classes, 3).barrier.config()
        assert {key: config[key] for key in published} == published
        assert (method.solver, method.steps, method.T) == ("euler", steps, None)


@pytest.mark.parametrize("name", [n for n in sorted(ode.METHODS) if n.startswith("odesteer")])
def test_every_odesteer_follows_the_unit_gradient_of_its_barrier(name):
    """By central differences of h itself along the field: the slope is ‖∇h‖, and none across it is steeper."""
    field, a = ode.METHODS[name].fit(*gaussian_classes(40, D), 0), activations(10, D)
    h = lambda x: field.barrier.value(x)  # noqa: E731
    slope = lambda v: (h(a + 1e-4 * v) - h(a - 1e-4 * v)) / 2e-4  # noqa: E731
    v = field(a)
    torch.testing.assert_close(v.norm(dim=-1), torch.ones(10).double(), rtol=1e-9, atol=0)
    steepest = slope(v)
    assert (steepest > 0).all()
    for i in range(D):
        e = torch.eye(D, dtype=torch.float64)[i].expand_as(a)
        torch.testing.assert_close(slope(e), steepest * v[:, i], rtol=1e-5, atol=1e-8)


def test_a_random_direction_is_uniform_and_knows_nothing_of_the_data():
    directions = torch.stack([methods.random_direction(*gaussian_classes(5, D), seed).direction for seed in range(400)])
    # a coordinate of a uniform unit vector, squared, is Beta(1/2, (d − 1)/2)
    assert kstest(directions.square().flatten().numpy(), "beta", (0.5, (D - 1) / 2)).pvalue > 1e-3
    assert float(directions.mean(0).norm()) < 3 / 400**0.5
    first, second = gaussian_classes(5, D), gaussian_classes(9, D, seed=1)
    assert torch.equal(methods.random_direction(*first, 7).direction, methods.random_direction(*second, 7).direction)
