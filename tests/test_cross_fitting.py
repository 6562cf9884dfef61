"""The likelihood study of contrasts too small to be cut in four: fitted in rotation, calibrated on what is left out."""

from itertools import chain

import numpy as np
import pytest
import torch

import odesteer_tl as ode
from analyses.likelihood.jury import Jury, pooled
from analyses.likelihood.material import Material
from analyses.likelihood.plan import BLOCKS, Plan
from analyses.likelihood.running import Layers, likelihood_cell
from analyses.likelihood.study import Settings
from odesteer_tl.densities import PathScore
from odesteer_tl.densities.splits import Splits

SMALL = Settings(angle=0.8, steps=2, declared=0.4, strengths=(0.4,), max_new_tokens=1, cross_fit=True)
PROMPTS = ode.organism.prompts(9, 7)


def pairs(n):
    return ode.organism.contrast("valence", n, 0)


def planted(first, n, positive, seed):
    """Both classes in six dimensions, a group a pair from `first` on."""
    x = torch.randn(2, n, 6, generator=torch.Generator().manual_seed(seed))
    x = x + torch.tensor([6.0, 0, 0, 0, 0, 0])
    x[0, :, 1] += positive
    labels = tuple(range(first, first + n))
    return ode.LayerActivations(x[0], x[1], labels, labels)


def test_every_text_is_left_out_once_of_what_no_fit_of_its_rotation_saw():
    contrast = pairs(60)
    plan = Plan.of(SMALL, contrast, PROMPTS)
    acts = [planted(100 * k, len(part.positive), 1.0, k) for k, part in enumerate(plan.parts)]
    rotations = plan.rotated(acts)
    assert len(rotations) == BLOCKS
    for part in rotations:
        seen = [{*chain(*acts.groups)} for acts in part]
        assert sum(map(len, seen)) == len(set.union(*seen))
        assert set.union(*seen) == {*chain(*(g for a in acts[:-1] for g in a.groups))}  # the test takes no part
    left_out = [g for *_, held_out in rotations for g in held_out.groups[0]]
    assert sorted(left_out) == sorted(g for a in acts[:-1] for g in a.groups[0])
    texts = [text for part in plan.parts for text in part.positive]
    assert sorted(texts) == sorted(contrast.positive)


def test_fewer_groups_than_a_rank_takes_are_refused_with_their_number():
    assert len(Plan.of(SMALL, pairs(45), PROMPTS).parts) == BLOCKS + 1
    with pytest.raises(ValueError, match="has 44 groups of texts a class, and cross_fit takes 45"):
        Plan.of(SMALL, pairs(44), PROMPTS)
    texts = pairs(60)
    twice = ode.ContrastSet.from_texts(texts.positive, texts.negative, groups=([i // 2 for i in range(60)],) * 2)
    with pytest.raises(ValueError, match="has 30 groups"):
        Plan.of(SMALL, twice, PROMPTS)
    with pytest.raises(ValueError, match="prompts has 4; intervals need at least 5"):
        Plan.of(SMALL, pairs(60), PROMPTS[:4])
    with pytest.raises(ValueError, match="say --cross-fit, for which 45 are enough"):
        Plan.of(Settings(), pairs(60), PROMPTS)
    with pytest.raises(ValueError, match="written once a rotation"):
        Settings(texts="steered", cross_fit=True)


def test_what_is_not_cross_fitted_has_the_cells_it_had():
    """A study that was begun before there was a choice goes on."""
    assert "cross_fit" not in Plan.of(Settings(), pairs(120)).described()
    plans = [Plan.of(SMALL, pairs(60), prompts).described() for prompts in (PROMPTS, PROMPTS[:8], None)]
    assert all(plan["cross_fit"] for plan in plans)
    assert len({plan["test_digest"] for plan in plans}) == 3  # other prompts are another study


def test_a_rank_is_among_the_held_out_positives_of_all_rotations():
    """Against the definition, counted one by one."""
    rng = np.random.default_rng(0)
    sizes, n = [5, 8, 13], 7
    own = [rng.normal(size=k) for k in sizes]
    points = [torch.from_numpy(rng.normal(size=(3, n))) for _ in sizes]

    def score(held_out, log_positive):
        below = (torch.from_numpy(held_out) <= log_positive[..., None]).sum(-1)
        rank = (1 + below).double() / (len(held_out) + 2)
        return PathScore(*[log_positive] * 3, rank, *[log_positive] * 5, Splits(test=(1,)), tuple(range(n)))

    found = pooled([score(x, p) for x, p in zip(own, points, strict=True)], sizes)
    for t in range(3):
        for i in range(n):
            count = sum(int((x <= float(p[t, i])).sum()) for x, p in zip(own, points, strict=True))
            assert float(found.rank[t, i]) == pytest.approx((1 + count) / (sum(sizes) + 2))
    torch.testing.assert_close(found.log_positive, torch.stack(points).mean(0))
    alone = score(own[0], points[0])
    assert pooled([alone], sizes[:1]) is alone


def test_new_positives_are_seldom_off_the_data_and_far_points_are():
    """Forty planted groups; the cross-conformal bound is 5 %, and what is typical is near 2.5 %."""
    plan = Plan.of(SMALL, pairs(45), PROMPTS)
    acts = [planted(100 * k, 8, 2.0, k) for k in range(BLOCKS)]
    jury = Jury.fit(plan.rotated([*acts, acts[0]]), 0)
    new = planted(1000, 400, 2.0, 99)
    labels = new.groups[0]
    found = jury.score(lambda _: new.positive.expand(2, -1, -1), labels)["ambient"]
    assert 0 < float(found.outside[0].double().mean()) < 0.06
    far = jury.score(lambda _: 4 * new.positive.expand(2, -1, -1), labels)["ambient"]
    assert bool(far.outside.all())
    # one map for all: h of left-out texts, and what it reads of them
    assert len({id(referee.barrier.calibration) for _, referee, _ in jury.members}) == 1
    assert (jury.calibration.n_positive, jury.calibration.n_negative) == (40, 40)
    assert jury.reads.n == 80
    slopes = {pair.calibrated.slope for _, referee, _ in jury.members for name, pair in referee.pairs.items()
              if name == "ambient"}  # fmt: skip
    assert len(slopes) == 1
    with pytest.raises(ValueError, match="share"):  # a text that a fit has seen is no test
        jury.score(lambda _: acts[1].positive.expand(2, -1, -1), acts[1].groups[0])


def test_forty_five_pairs_give_a_study(organism):
    material = Material(organism, Plan.of(SMALL, pairs(45), PROMPTS), (3,))
    found = Layers.of(likelihood_cell(material, {"layer": 3}).assign(layer=3), "")
    study = found.studies[3]
    assert study.summary["n"].eq(9).all()
    assert set(study.texts["method"]) == {"unsteered", "real positives"}
    moved = study.tokens[(study.tokens["strength"] > 0) & (study.tokens["state"] == 1)]
    assert (moved["displacement"] > 0).all()
    assert study.run["prompts"] == {**{f"block {k + 1}": 8 for k in range(BLOCKS)}, "test": 9}
    assert len(study.run["densities"]) == BLOCKS
    assert study.run["barrier"]["auc"]["low"] > 0.7
    assert "cross-fitted: five fits" in study.remark()
    start = study.paths.query("step == 0").pivot(index="prompt", columns="method", values="log_positive")
    assert np.ptp(start.to_numpy(), axis=1).max() == 0
