"""Hooks inside an engine: the right rows in whatever passes, the direct solve's numbers, and a loud end otherwise."""

import shutil

import pytest
import torch

import odesteer_tl as ode
from odesteer_tl.positions import RULES
from odesteer_tl.serving import NotSteered, Saved, SteeringHook, checked
from tests.serving_contract import Worker, arrived, in_passes

D = 16
PROMPT, TOKENS = 5, 9
CUTS = [[5, 1, 1, 1, 1], [2, 2, 1, 1, 1, 1, 1], [1] * 9, [3, 2, 1, 1, 1, 1], [5, 1, 1, 1, 1, 1]]
GENERATOR = torch.Generator().manual_seed(0)
ROWS = torch.randn(12, D, generator=GENERATOR) * 3
POSITIVE, NEGATIVE = (torch.randn(40, D, generator=GENERATOR) + s for s in (0.4, -0.4))
KERNEL = ode.KernelBarrier(gamma=1.0, C=1.0).fit(POSITIVE, NEGATIVE)
WHICH = {
    "all": range(1, TOKENS), "all_and_bos": range(TOKENS), "generated": range(PROMPT - 1, TOKENS),
    "prompt": range(PROMPT), "last": range(PROMPT - 1, PROMPT),
}  # fmt: skip


def saved(folder, steerer, name="steerer"):
    steerer.save(folder / name)
    return Saved.at(folder / name)


def kernel(positions="generated", **flow):
    return ode.Steerer(ode.BarrierField(KERNEL), ode.Flow(**(flow or {"angle": 0.3})), layer=1, positions=positions)


def direct(steerer, rows, which):
    """The rows with some of them solved, by the flow alone."""
    expected = rows.clone()
    at = list(which)
    expected[at] = steerer.flow.solve(steerer.field, rows[at]).end
    return expected


def assert_steered(found, expected, given, which):
    """The rows named as the flow alone solves them, within the last bit or two of their dtype; the others bitwise."""
    assert found.dtype == given.dtype
    others = [i for i in range(len(given)) if i not in which]
    assert torch.equal(found[others], given[others])
    eps = 4 * torch.finfo(given.dtype).eps  # a product of one row and one of nine are summed in another order
    torch.testing.assert_close(found, expected, rtol=eps, atol=eps * float(given.abs().max()))
    assert not torch.equal(found[list(which)], given[list(which)])


@pytest.mark.parametrize("positions", RULES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_exactly_the_rows_of_the_rule_are_solved_however_a_request_is_cut(tmp_path, positions, dtype):
    steerer = kernel(positions)
    hook = SteeringHook(saved(tmp_path, steerer), PROMPT, begins_special=True)
    rows = ROWS[:TOKENS].to(dtype)
    expected = direct(steerer, rows, WHICH[positions])
    for cuts in CUTS[:4]:
        worker = Worker([[arrived(hook)]])
        (found,) = in_passes(worker, [rows], [cuts])
        assert_steered(found, expected, rows, WHICH[positions])
        counts, audits = checked("request 0", [(hook, steerer)], worker.results(0), TOKENS)
        assert counts == [len(WHICH[positions])]
        assert audits == [None]


def test_a_prompt_alone_in_one_pass(tmp_path):
    steerer = kernel()
    hook = SteeringHook(saved(tmp_path, steerer), TOKENS, begins_special=True)
    worker = Worker([[arrived(hook)]])
    (found,) = in_passes(worker, [ROWS[:TOKENS]], [[TOKENS]])
    assert_steered(found, direct(steerer, ROWS[:TOKENS], [TOKENS - 1]), ROWS[:TOKENS], [TOKENS - 1])


def test_all_leaves_out_a_first_token_only_if_it_is_special(tmp_path):
    steerer = kernel("all")
    hook = SteeringHook(saved(tmp_path, steerer), PROMPT, begins_special=False)
    (found,) = in_passes(Worker([[arrived(hook)]]), [ROWS[:TOKENS]], [CUTS[1]])
    assert_steered(found, direct(steerer, ROWS[:TOKENS], range(TOKENS)), ROWS[:TOKENS], range(TOKENS))


def test_requests_of_one_batch_have_their_own_steerers_strengths_and_prompts(tmp_path):
    constant = ode.Steerer(ode.ConstantField(torch.ones(D)), ode.Flow(T=1.0), layer=1)
    first, second = saved(tmp_path, kernel(), "a"), saved(tmp_path, constant, "b")
    hooks = [
        [SteeringHook(first, 5, True)], [SteeringHook(first, 2, True, strength=0.1)], [],
        [SteeringHook(second, 3, False), SteeringHook(first, 3, False)],
    ]  # fmt: skip
    requests = [ROWS[:9], ROWS[2:8], ROWS[1:10], ROWS[:7]]
    worker = Worker([[arrived(h) for h in each] for each in hooks])
    found = in_passes(worker, requests, [[5, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1], [4, 5], [3, 1, 1, 1, 1]])
    assert_steered(found[0], direct(kernel(), requests[0], range(4, 9)), requests[0], range(4, 9))
    assert_steered(found[1], direct(kernel(angle=0.1), requests[1], range(1, 6)), requests[1], range(1, 6))
    assert torch.equal(found[2], requests[2])
    both = direct(kernel(), direct(constant, requests[3], range(2, 7)), range(2, 7))
    assert_steered(found[3], both, requests[3], range(2, 7))
    pairs = [(hooks[3][0], constant), (hooks[3][1], kernel())]
    assert checked("request 3", pairs, worker.results(3), 7)[0] == [5, 5]


@pytest.mark.parametrize("cuts", CUTS)
def test_an_audit_says_of_every_steered_token_what_the_barrier_says_of_it(tmp_path, cuts):
    barrier = ode.KernelBarrier(gamma=1.0, C=1.0).fit(POSITIVE, NEGATIVE).calibrate(POSITIVE + 0.1, NEGATIVE)
    steerer = ode.Steerer(ode.BarrierField(barrier), ode.Flow(angle=0.3), layer=1)
    where = saved(tmp_path, steerer)
    hook = SteeringHook(where, PROMPT, True, audit=where)
    rows = torch.cat([ROWS[:TOKENS], ROWS[11:12]]).bfloat16()[: sum(cuts)]
    worker = Worker([[arrived(hook)]])
    (found,) = in_passes(worker, [rows], [cuts])
    # the engine may compute one token more than the text took, and nobody asks for its audit
    ((steered,), (audit,)) = checked("request 0", [(hook, steerer)], worker.results(0), TOKENS)
    assert steered == 5
    assert audit is not None
    assert audit.position.tolist() == [4, 5, 6, 7, 8]
    torch.testing.assert_close(audit.h_before, barrier.value(rows[4:9]), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(audit.h, barrier.value(found[4:9]), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(audit.log_ratio, barrier.log_ratio(found[4:9]), rtol=1e-5, atol=1e-6)
    verdict = ode.certify_written(barrier, rows[4:9], found[4:9])
    assert torch.equal(audit.proved, verdict.proved)
    assert torch.equal(audit.refuted, verdict.refuted)
    assert "proved no lower" in repr(audit)
    assert audit.frame()["position"].tolist() == [4, 5, 6, 7, 8]


def test_an_exception_inside_is_an_error_outside_and_nobody_elses(tmp_path):
    steerer = kernel()
    hook = SteeringHook(saved(tmp_path, steerer), PROMPT, True)
    broken = SteeringHook(saved(tmp_path, steerer, "broken"), PROMPT, True)
    shutil.rmtree(tmp_path / "broken")
    worker = Worker([[arrived(broken)], [arrived(hook)]])
    rows = ROWS[:TOKENS]
    found = in_passes(worker, [rows, rows], [CUTS[0], CUTS[0]])
    assert_steered(found[1], direct(steerer, rows, range(4, 9)), rows, range(4, 9))
    with pytest.raises(NotSteered, match=r"request 0: steerer 0 failed inside .* not a readable steerer") as told:
        checked("request 0", [(broken, steerer)], worker.results(0), TOKENS)
    assert told.value.request == "request 0"
    # a zero activation, which has no direction, is met in the middle of a text
    worker = Worker([[arrived(hook)]])
    in_passes(worker, [rows * (torch.arange(TOKENS) != 6)[:, None]], [CUTS[0]])
    with pytest.raises(NotSteered, match="finite, nonzero activation"):
        checked("request 0", [(hook, steerer)], worker.results(0), TOKENS)


def test_another_steerer_under_the_same_path_is_refused(tmp_path):
    steerer = kernel()
    hook = SteeringHook(saved(tmp_path, steerer), PROMPT, True)
    shutil.rmtree(tmp_path / "steerer")
    kernel(angle=0.5).save(tmp_path / "steerer")
    worker = Worker([[arrived(hook)]])
    in_passes(worker, [ROWS[:TOKENS]], [CUTS[0]])
    with pytest.raises(NotSteered, match="holds another steerer"):
        checked("request 0", [(hook, steerer)], worker.results(0), TOKENS)


@pytest.mark.parametrize(
    ("cuts", "n", "message"),
    [
        ([5, 1, 1, 7, 1], 8, "computes the request again"),  # taken out of the cache and begun anew
        ([3, 3, 2, 1], 5, "computes the request again"),  # the same within the prompt
        ([5, 1, 1, *[1] * 8], 8, "saw 15 tokens, and the text took 8"),  # the same in passes of one token
        ([5, 4, 1, 4], 9, "decodes speculatively"),
        ([3, 1, 1], 8, "saw 5 tokens, and the text took 8"),  # the prompt's beginning came from another's cache
    ],
)
def test_tokens_whose_place_is_not_known_are_refused(tmp_path, cuts, n, message):
    steerer = kernel()
    hook = SteeringHook(saved(tmp_path, steerer), PROMPT, True)
    worker = Worker([[arrived(hook)]])
    in_passes(worker, [ROWS.repeat(2, 1)[: sum(cuts)]], [cuts])
    with pytest.raises(NotSteered, match=message):
        checked("request 0", [(hook, steerer)], worker.results(0), n)


def test_a_pass_that_another_hook_spoils_is_noticed(tmp_path):
    """The plugin leaves the whole pass as it was, and ours is not called where another is called first."""
    steerer = kernel()
    hook = SteeringHook(saved(tmp_path, steerer), PROMPT, True)
    calls = []

    def foreign(context, hidden):
        calls.append(len(hidden))
        if len(calls) == 3:
            raise RuntimeError

    worker = Worker([[foreign], [arrived(hook)]])
    in_passes(worker, [ROWS[:TOKENS]] * 2, [CUTS[0]] * 2)
    with pytest.raises(NotSteered, match="saw 8 tokens, and the text took 9"):
        checked("request 1", [(hook, steerer)], worker.results(1), TOKENS)
    with pytest.raises(NotSteered, match="never called"):
        checked("request 1", [(hook, steerer)], None, TOKENS)


def test_a_folder_without_a_steerer_is_refused_before_anything_is_sent(tmp_path):
    with pytest.raises(ValueError, match="every worker can read"):
        Saved.at(tmp_path)


def test_an_auditor_without_a_barrier_is_an_error(tmp_path):
    constant = ode.Steerer(ode.ConstantField(torch.ones(D)), ode.Flow(T=1.0), layer=1)
    where = saved(tmp_path, constant)
    hook = SteeringHook(where, PROMPT, True, audit=where)
    worker = Worker([[hook]])
    in_passes(worker, [ROWS[:TOKENS]], [CUTS[0]])
    with pytest.raises(NotSteered, match="follows no barrier"):
        checked("request 0", [(hook, constant)], worker.results(0), TOKENS)
