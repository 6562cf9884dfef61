"""Reading and steering: latents, parts and losses against oracles, and the study end to end on few texts."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

import odesteer_tl as ode
from analyses.reading import latents, parts
from analyses.reading_and_steering import ReadingSteeringConfig
from odesteer_tl import organism

N = 16
SMALL = ReadingSteeringConfig(pairs=60, test_pairs=30, causal_pairs=N, prompts=6, max_new_tokens=8)


@pytest.fixture(scope="module")
def states(organism):
    return parts.Agreement.of(organism, SMALL)


@pytest.fixture(scope="module")
def fitting(organism):
    """Directions and exact log-odds of the fitting texts."""
    texts = ode.organism.contrast("agreement", SMALL.pairs, SMALL.seed)
    acts = ode.collect_activations(organism, texts, [SMALL.layer])[SMALL.layer]
    u = latents.directions_of(torch.cat([acts.positive, acts.negative]))
    return u, latents.log_odds([*texts.positive, *texts.negative])


def test_log_odds_of_weather_and_place_give_the_judges_agreement():
    contrast = organism.contrast("agreement", 50, seed=3)
    texts = [*contrast.positive, *contrast.negative, "a lamp"]
    p = 1 / (1 + np.exp(-latents.log_odds(texts)))
    agreement = p[:, 0] * p[:, 1] + (1 - p[:, 0]) * (1 - p[:, 1])
    np.testing.assert_allclose(agreement, organism.judge(texts)["agreement"], atol=1e-12)


def test_outside_the_mean_differences_no_probe_of_the_fitting_texts_beats_a_constant(states, fitting):
    u, both = fitting
    rest = latents.part(u, states.plane, inside=False)
    for odds in both.T:
        y = odds > 0
        before, after = (LogisticRegression(C=100, max_iter=5000).fit(x.numpy(), y) for x in (u, rest))
        assert np.abs(after.coef_).max() < 1e-3 * np.abs(before.coef_).max()


@given(st.integers(0, 1000), st.integers(1, 6))
@settings(max_examples=20, deadline=None)
def test_parts_add_up_and_are_orthogonal(seed, k):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(5, 8, generator=generator, dtype=torch.float64)
    basis = latents.orthonormal(torch.randn(8, k, generator=generator, dtype=torch.float64))
    inside, outside = latents.part(x, basis, True), latents.part(x, basis, False)
    torch.testing.assert_close(inside + outside, x)
    assert float((inside * outside).sum(-1).abs().max()) < 1e-12


def test_a_part_of_a_field_is_the_projected_direction_and_survives_saving(states, fitting):
    field, basis, a = ode.BarrierField(states.barriers["quadratic"]), states.plane, 5 * fitting[0][:5]
    inside, outside = (latents.PartField(field, basis, side) for side in (True, False))
    g = field(a)
    for part in (inside, outside):
        torch.testing.assert_close(part(a).norm(dim=-1), torch.ones(5, dtype=torch.float64))
        assert bool(((part(a) * g).sum(-1) > 0).all())
    torch.testing.assert_close(inside(a) @ basis @ basis.T, inside(a))
    torch.testing.assert_close(outside(a) @ basis, torch.zeros(5, 2, dtype=torch.float64))
    again = latents.PartField.load(*inside.dump())
    torch.testing.assert_close(again(a), inside(a), rtol=0, atol=0)


def test_losses_are_those_of_the_model_on_each_text_alone(states):
    test = organism.contrast("agreement", SMALL.test_pairs, SMALL.seed + 1000)
    found = parts.losses(states.prefix, SMALL.layer, states.prefix.residuals[SMALL.layer])
    for row, text in ((0, test.positive[0]), (N + 1, test.negative[1])):
        loss = states.model(states.model.to_tokens(text), return_type="loss")
        assert found[row] == pytest.approx(loss.item(), abs=1e-4)


def test_a_rest_field_does_nothing_to_the_next_token_or_to_what_is_read(states):
    class AtRest(ode.ConstantField):
        def __call__(self, a):
            return torch.zeros_like(a)

    direction = torch.ones(128)
    rows = pd.DataFrame(parts.steps(states, {"rest": AtRest(direction), "some": ode.ConstantField(direction)}))
    rest, some = rows.iloc[0], rows.iloc[1]
    assert rest["KL"] < 1e-6 < some["KL"]
    assert rest["moves agreement"] < 1e-4 < some["moves agreement"]


def test_the_study_runs_and_is_not_overwritten(tmp_path, capsys):
    config = ReadingSteeringConfig(pairs=30, test_pairs=20, causal_pairs=12, prompts=4, max_new_tokens=4,
                                   out=tmp_path / "run")  # fmt: skip
    parts.run(config)
    shown = capsys.readouterr().out
    tables = {
        study: pd.read_parquet(tmp_path / "run" / f"{study}.parquet") for study in ("steering", "steps", "ablation")
    }
    assert all(study in shown and len(table) for study, table in tables.items())
    assert (tables["ablation"]["n"] == 24).all()
    assert tables["ablation"]["change"].between(tables["ablation"]["low"], tables["ablation"]["high"]).all()
    with pytest.raises(ValueError, match="out="):
        parts.run(config)
