"""Reading and steering: planes, parts and read-outs against oracles, and the study end to end on few texts."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

import odesteer_tl as ode
from analyses import reading_and_steering
from analyses.reading import effects
from analyses.reading import planes as lp
from analyses.reading.effects import PairedTexts, ReadOuts
from analyses.reading.states import AgreementStates
from analyses.reading_and_steering import ReadingSteeringConfig
from odesteer_tl import organism

N = 16
SMALL = ReadingSteeringConfig(pairs=60, test_pairs=30, causal_pairs=N, prompts=6, layers=(0, 2), max_new_tokens=8)


@pytest.fixture(scope="module")
def states(organism):
    return AgreementStates(organism, SMALL)


def test_log_odds_of_weather_and_place_give_the_judges_agreement():
    contrast = organism.contrast("agreement", 50, seed=3)
    texts = [*contrast.positive, *contrast.negative, "a lamp"]
    p = 1 / (1 + np.exp(-lp.log_odds(texts)))
    agreement = p[:, 0] * p[:, 1] + (1 - p[:, 0]) * (1 - p[:, 1])
    np.testing.assert_allclose(agreement, organism.judge(texts)["agreement"], atol=1e-12)


def test_outside_the_mean_differences_no_probe_of_the_fitting_texts_beats_a_constant(states):
    u, _ = states.rows(states.fit_acts[2])
    rest = lp.part(u, states.planes(2)["means"], inside=False)
    for odds in states.fit_odds.T:
        y = odds > 0
        before, after = (LogisticRegression(C=100, max_iter=5000).fit(x.numpy(), y) for x in (u, rest))
        assert np.abs(after.coef_).max() < 1e-3 * np.abs(before.coef_).max()


def test_every_round_of_probes_adds_two_orthonormal_directions(states):
    planes = states.planes(2)
    for name, width in (("means", 2), ("probes", 2), ("probes, 4 rounds", 8), ("random", 2)):
        torch.testing.assert_close(planes[name].T @ planes[name], torch.eye(width, dtype=torch.float64))
    first, all_rounds = planes["probes"], planes["probes, 4 rounds"]
    torch.testing.assert_close(lp.part(first.T, all_rounds, inside=True), first.T)


@given(st.integers(0, 1000), st.integers(1, 6))
@settings(max_examples=20, deadline=None)
def test_parts_add_up_and_are_orthogonal(seed, k):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(5, 8, generator=generator, dtype=torch.float64)
    basis = lp.orthonormal(torch.randn(8, k, generator=generator, dtype=torch.float64))
    inside, outside = lp.part(x, basis, True), lp.part(x, basis, False)
    torch.testing.assert_close(inside + outside, x)
    assert float((inside * outside).sum(-1).abs().max()) < 1e-12


def test_a_part_of_a_field_is_the_projected_direction_and_survives_saving(states, tmp_path):
    field = ode.BarrierField(states.barriers["quadratic"])
    a = states.test_acts[2].positive[:5].double()
    basis = states.planes(2)["means"]
    inside, outside = (lp.PartField(field, basis, side) for side in (True, False))
    g = field(a)
    for part in (inside, outside):
        torch.testing.assert_close(part(a).norm(dim=-1), torch.ones(5, dtype=torch.float64))
        assert bool(((part(a) * g).sum(-1) > 0).all())
    torch.testing.assert_close(inside(a) @ basis @ basis.T, inside(a))
    torch.testing.assert_close(outside(a) @ basis, torch.zeros(5, 2, dtype=torch.float64))
    again = lp.PartField.load(*inside.dump())
    torch.testing.assert_close(again(a), inside(a), rtol=0, atol=0)


def test_a_product_is_read_by_degree_two_alone():
    x = torch.randn(400, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = (x.prod(1) > 0).long().numpy()
    linear, quadratic = (roc_auc_score(labels[200:], lp.read(x[:200], labels[:200], x[200:], k)) for k in (1, 2))
    assert abs(linear - 0.5) < 0.15
    assert quadratic > 0.97


def test_partners_share_opening_and_length_and_differ_in_the_label(states):
    pairs = PairedTexts.of(states)
    assert (pairs.targets[:N, 0] == 1).all()
    assert (pairs.targets[N:, 0] == -1).all()
    assert bool((pairs.partners(pairs.prefix.attention_mask) == pairs.prefix.attention_mask).all())
    real = pairs.prefix.attention_mask.bool()
    at_opening = torch.arange(real.shape[1]) - (~real).sum(1)[:, None]
    shared = (at_opening >= 0) & (at_opening < 4)
    assert bool((pairs.partners(pairs.prefix.tokens) == pairs.prefix.tokens)[shared].all())


def test_taking_over_everything_reads_as_the_partner_and_nothing_reads_as_before(states):
    pairs, out = PairedTexts.of(states), ReadOuts(states, 4)
    own = out(pairs.prefix.residuals[4][:, -1])
    swapped = pairs.partners(pairs.prefix.residuals[2])
    later = pairs.prefix.later_residuals(2, swapped, [4])[4][:, -1]
    np.testing.assert_allclose(out(later), np.roll(own, N, axis=0), atol=1e-3)
    rows = pd.DataFrame(effects.exchange(states))
    everything = rows.query("exchanged == 'everything' and layer == 0 and `read at` == 4 and `read-out` == 'weather'")
    sign = np.sign(pairs.targets[:, 1])
    differs = sign[:N] * sign[N:] < 0
    move = (np.roll(sign, N) * (np.roll(own[:, 1], N) - own[:, 1])).reshape(2, N).mean(0)[differs].mean()
    assert everything["toward"].item() == pytest.approx(move, abs=0.05)  # norms are kept, so not to the digit
    assert set(rows["layer"]) == {0, 2}


def test_losses_are_those_of_the_model_on_each_text_alone(states):
    pairs = PairedTexts.of(states)
    found = effects.losses(pairs, 2, pairs.prefix.residuals[2])
    for row, text in ((0, states.test.positive[0]), (N + 1, states.test.negative[1])):
        loss = states.model(states.model.to_tokens(text), return_type="loss")
        assert found[row] == pytest.approx(loss.item(), abs=1e-4)


def test_toward_is_one_where_every_text_moves_one_unit_to_its_partners_side():
    target = np.array([1.0, 2.0, -1.0, -1.0, 3.0, 1.0])  # pairs 0–3, 1–4, 2–5; the second does not differ
    found = effects.toward(-np.sign(target), target, 3)
    assert (found["toward"], found["n"]) == (1.0, 2)


def test_steps_and_ablation_have_a_row_each_and_a_rest_field_does_nothing(states):
    class AtRest(ode.ConstantField):
        def __call__(self, a):
            return torch.zeros_like(a)

    direction = torch.ones(128)
    rows = pd.DataFrame(effects.steps(states, {"rest": AtRest(direction), "some": ode.ConstantField(direction)}))
    rest, some = rows.iloc[0], rows.iloc[1]
    assert rest["KL"] < 1e-6 < some["KL"]
    assert rest["moves weather"] < 1e-4 < some["moves weather"]
    removed = pd.DataFrame(effects.ablation(states))
    assert (removed["n"] == 2 * N).all()
    assert (removed["low"] <= removed["change"]).all()


def test_the_study_runs_and_is_not_overwritten(tmp_path, capsys):
    config = ReadingSteeringConfig(pairs=30, test_pairs=20, causal_pairs=12, prompts=4, layers=(2,), max_new_tokens=4,
                                   out=tmp_path / "run")  # fmt: skip
    reading_and_steering.main(config)
    shown = capsys.readouterr().out
    for study in ("reading", "shares", "steering", "exchange", "steps", "ablation"):
        assert study in shown
        assert len(pd.read_parquet(tmp_path / "run" / f"{study}.parquet"))
    with pytest.raises(ValueError, match="out="):
        reading_and_steering.main(config)
