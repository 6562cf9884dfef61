"""A race: what it says is so, on simulated arms; it repeats itself, goes on where it was, and refuses what it must."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest

from analyses.search import UNSTEERED, Race, Rules
from analyses.search.guarantee import Guarantee
from analyses.search.looking import Belief
from analyses.search.simulation import simulate
from analyses.sweep import Store, Study, finish

PLENTY = Rules(block=10, width=6)


def asked(table, calls=None):
    """Answers of a fixed table [arms, prompts], the unsteered one first; `calls` counts what was asked."""

    def ask(pulls):
        for pull in pulls:
            if calls is not None:
                calls.append((pull.arm, pull.block))
        return [{"reward": table[names(table).index(p.arm)][list(p.prompts)]} for p in pulls]

    return ask


def names(table):
    return [UNSTEERED, *(f"arm {i}" for i in range(1, len(table)))]


def race(table, rules=PLENTY, **more):
    return Race(names(table)[1:], table.shape[1], rules, **more)


def flips(means, prompts=100, seed=0):
    return (np.random.default_rng(seed).random((len(means), prompts)) < np.array(means)[:, None]).astype(float)


def test_what_is_said_of_simulated_arms_is_false_in_no_more_than_delta():
    rows = simulate(0, 42, arms=15, prompts=60)
    assert set(rows["gap"]) >= {0.0, 0.5}
    assert rows["verdict"].nunique() > 1
    # at most .05 of 42: five would be more than chance leaves (binomial, 1 in 20)
    assert (rows[["short", "short_new", "out", "gain", "refutable"]].sum() <= 5).all()


def test_a_clear_best_arm_is_found_at_a_part_of_the_cost():
    table = flips([0.2, 0.3, 0.95, 0.3, 0.2, 0.1, 0.4, 0.3])
    said = race(table).run(asked(table))
    assert (said.verdict, said.candidate) == ("best", "arm 2")
    assert said.gain > 0
    assert said.cost < 0.7
    assert said.epsilon <= 0.05
    assert "arm 2 is within" in str(said)
    assert "these prompts" in str(said)
    with pytest.warns(DeprecationWarning, match=r"Answer\.arms? is the former name of candidates?$") as told:
        assert (said.arm, said.arms is said.candidates) == ("arm 2", True)
    assert len(told) == 2


def test_arms_alike_are_left_standing_within_a_budget():
    table = flips([0.1, 0.6, 0.6, 0.6, 0.6])
    said = race(table, Rules(budget=0.5, epsilon=0.01)).run(asked(table))
    assert said.verdict == "undecided"
    assert said.cost <= 0.5
    assert {"arm 1", "arm 2", "arm 3", "arm 4"} <= set(said.standing)
    assert "Not told apart" in str(said)
    assert said.epsilon > 0.01


def test_nothing_beats_unsteered_is_an_answer():
    table = flips([0.8, 0.1, 0.1, 0.1, 0.8])
    table[4] = table[0]
    said = race(table).run(asked(table))
    assert (said.verdict, said.candidate) == ("unsteered", UNSTEERED)
    assert said.epsilon <= 0.05
    assert str(said).startswith("Nothing beats unsteered")


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_constant_outcomes_end_in_nothing_to_be_found(value):
    table = np.full((5, 80), value)
    said = race(table).run(asked(table))
    assert said.verdict == "unsteered"
    assert said.gain <= 0
    assert not set(names(table)) - set(said.standing)


def test_one_arm_and_fewer_prompts_than_arms():
    table = flips([0.0, 1.0], 60)
    said = race(table).run(asked(table))
    assert (said.verdict, said.candidate) == ("best", "arm 1")
    assert said.gain > 0
    table = flips([0.1] + [0.5] * 30, prompts=7)
    said = race(table).run(asked(table))
    # seven prompts are asked of all in the end: of these, that settles it
    means = table.mean(1)
    assert said.mean >= means.max() - said.epsilon - 1e-9
    assert said.epsilon_new > 0.3


@pytest.mark.parametrize("bad", [np.nan, 1.5, -0.1])
def test_a_reward_that_is_none_is_refused_by_name(bad):
    table = flips([0.5, 0.5, 0.5])
    table[2] = bad
    with pytest.raises(ValueError, match="reward of candidate 'arm 2' on block 0"):
        race(table).run(asked(table))


def test_the_same_seed_is_the_same_race_and_another_order_of_workers_changes_nothing():
    table = flips(np.linspace(0.1, 0.8, 12))
    one, other = [], []
    first = race(table).run(asked(table, one))

    def backwards(pulls):
        return asked(table, other)(pulls[::-1])[::-1]

    second = race(table).run(backwards)
    assert one != other
    assert sorted(one) == sorted(other)
    assert str(first) == str(second)
    third = []
    race(table, Rules(block=10, width=6, seed=1)).run(asked(table, third))
    assert third != one


#: what the cells below were asked, and after how many calls the process "dies"
CALLS, DIES = [], [0]


def a_block(table, config):
    """A cell: an arm on a block of prompts."""
    CALLS.append(config["row"])
    if len(CALLS) == DIES[0]:
        raise KeyboardInterrupt
    return pd.DataFrame({"reward": table[config["row"]][list(config["prompts"])]})


def test_a_race_that_was_killed_goes_on_from_the_stored_rewards_and_repeats_nothing(tmp_path):
    table = flips([0.1, 0.4, 0.9, 0.3], 40)

    def run(folder, dies=0, executor="local"):
        CALLS.clear()
        DIES[0], done = dies, []

        def ask(pulls):
            done.extend({"row": names(table).index(p.arm), "prompts": list(p.prompts)} for p in pulls)
            study = Study("race", a_block, lambda: table, {"of": "a test"}, "1", tuple(done))
            finish(study, folder, executor, progress=False)
            rewards = Store.of(study, folder).table(study)["reward"].to_numpy().reshape(len(done), -1)
            return [{"reward": row} for row in rewards[-len(pulls) :]]

        return race(table).run(ask), len(CALLS)

    whole, count = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", dies=5)
    again, rest = run(tmp_path / "cut")
    assert str(again) == str(whole)
    # the four that were done are not run again, the fifth is
    assert count > 5
    assert rest == count - 4
    # whoever computes them, and in whichever order they are done
    with ThreadPoolExecutor(3) as pool:
        assert str(run(tmp_path / "threads", executor=pool)[0]) == str(whole)


def test_what_is_asked_by_itself_may_cost_more_than_in_the_whole():
    table = flips([0.5] * 8)
    said = race(table, Rules(budget=0.2, block=5), costs=dict.fromkeys(names(table), 2.0), whole=8.0).run(asked(table))
    prompts = sum(len(pull.prompts) for each in said.rounds for pull in each.pulls)
    assert said.cost == pytest.approx(prompts * 2 / 800)
    assert 0.15 < said.cost <= 0.2


def test_rewards_that_hardly_vary_are_told_apart_by_few():
    """Sixty arms between 0 and .08: of numbers so close, noise is learnt from the rewards."""
    had = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        means = np.append(0.0, np.where(rng.random(60) < 0.1, 0.08, rng.uniform(0, 0.05, 60)))
        table = (means[:, None] * rng.uniform(0.7, 1.3, (61, 50))).clip(0, 1)
        said = race(table, Rules(budget=0.1, block=5, width=4, seed=seed)).run(asked(table))
        had.append(table[names(table).index(said.candidate)].mean() / table.mean(1).max())
    assert min(had) > 0.6, had


def test_what_exceeds_the_limit_is_dropped_and_does_not_put_out_what_keeps_it():
    table = flips([0.2, 0.6, 0.95, 0.3], 200)
    over = np.zeros_like(table)
    over[2] = flips([0.9], 200, seed=1)[0]
    rules = Rules(block=20, width=4, limit=0.2)

    def ask(pulls):
        rows = [(names(table).index(p.arm), list(p.prompts)) for p in pulls]
        return [{"reward": table[i][at], "constraint": over[i][at]} for i, at in rows]

    said = race(table, rules).run(ask)
    assert said.dropped == ("arm 2",)
    assert said.candidate == "arm 1"
    assert "arm 1" in said.standing
    assert said.constraint is not None
    assert said.constraint <= 0.25
    assert race(table).run(asked(table)).candidate == "arm 2"


def test_looks_lead_to_the_best_arm_sooner_and_prove_nothing():
    """A hill over 10 × 6 places, at a 40th of the grid: the share of the best mean that is had in ten problems."""
    grid = np.array([(layer, strength) for layer in range(10) for strength in range(6)], dtype=float)
    had = {"alone": 0.0, "told": 0.0, "misled": 0.0}
    for seed in range(10):
        rng = np.random.default_rng(seed)
        top = rng.uniform((0, 0), (9, 5))
        means = 0.15 + 0.75 * np.exp(-(((grid - top) / (1.2, 1.0)) ** 2).sum(1))
        table = flips([0.15, *means], 100, seed)
        for name, looks in (("alone", None), ("told", means), ("misled", rng.permutation(means))):
            said = race(table, Rules(budget=0.025), places=grid, looks=looks).run(asked(table))
            arm = names(table).index(said.candidate)
            had[name] += [0.15, *means][arm] / means.max() / 10
            # true whatever it was told
            assert table.mean(1).max() - table[arm].mean() <= said.epsilon
            assert names(table)[int(table.mean(1).argmax())] in said.standing
    assert had["told"] > had["alone"] + 0.05, had
    assert had["misled"] > 0.5, had


def test_the_belief_is_the_posterior_of_a_gaussian_process():
    """Against scikit-learn with the same kernel and noise."""
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import PairwiseKernel

    places = np.array([[0.0, 1.0], [1.0, 2.0], [2.0, 1.0], [3.0, 3.0]])
    prior = Belief.before(4, places, None)
    rewards = np.full((4, 6), np.nan)
    rewards[0, :4], rewards[2, :2] = [1, 0, 1, 1], [0, 1]
    got = prior.after(rewards)
    # E[p (1 − p)] after 3 of 4 and 1 of 2, p uniform before
    variance = np.array([4 * 2 / (6 * 7), 2 * 2 / (4 * 5)])
    kernel = PairwiseKernel(metric=lambda a, b, gamma: prior.covariance[int(a[0]), int(b[0])])
    model = GaussianProcessRegressor(kernel, alpha=variance / [4, 2], optimizer=None)
    model.fit([[0], [2]], np.array([0.75, 0.5]) - 0.5)
    mean, covariance = model.predict([[0], [1], [2], [3]], return_cov=True)
    np.testing.assert_allclose(got.mean - 0.5, mean, atol=1e-9)
    np.testing.assert_allclose(got.covariance, covariance, atol=1e-9)


def test_what_was_not_asked_counts_at_its_worst():
    """A leader near 1 needs no rival to be asked, and one that nobody compared it with proves nothing."""
    guarantee = Guarantee.of(60, 0.05, constrained=False, population=None)
    nobody, ones, half = np.full((1, 300), np.nan), np.ones(300), np.tile([0.0, 1.0], 150)
    assert guarantee.behind(nobody, ones, 0.05)[0]
    assert not guarantee.behind(nobody, ones, 0.0)[0]
    assert guarantee.lead(nobody, half)[0] > 0.4
    assert guarantee.lead(nobody, np.full(300, np.nan))[0] == 1.0


def test_what_a_race_cannot_use_is_refused():
    for says, call in (
        ("arms=", lambda: Race([], 10)),
        ("each once", lambda: Race(["a", "a"], 10)),
        ("places has 3 rows for 2 candidates", lambda: Race(["a", "b"], 10, places=[1, 2, 3])),
        ("costs must be", lambda: Race(["a"], 10, costs={"a": 1.0})),
        ("epsilon=0", lambda: Rules(epsilon=0)),
        ("budget=2", lambda: Rules(budget=2)),
        ("raise budget", lambda: Race(["a"] * 1, 10, Rules(budget=0.01)).run(lambda pulls: [])),
    ):
        with pytest.raises(ValueError, match=says):
            call()


def test_the_simulation_runs_in_processes_as_its_command_does(tmp_path):
    """A worker cannot import what a package's `__main__` defines, so a process has to run it for this to be seen."""
    options = ["--problems", "51", "--arms", "4", "--executor", "processes:1", "--out", str(tmp_path)]
    done = subprocess.run([sys.executable, "-m", "analyses.search", *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "| any race could have said something false" in done.stdout
