"""Conditions: decided once, on the prompt, as the authors' own layer decides, whatever the padding, cache and batch.

The reference is the published recipe (IBM/activation-steering, `LeashLayer`) as plain PyTorch hooks on the transformers
model, one unpadded prompt at a time: it counts forward calls, decides in the first and remembers.
"""

import copy
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.metrics import f1_score
from transformers import AutoModelForCausalLM, AutoTokenizer

import odesteer_tl as ode
from odesteer_tl._tokens import left_padded, tokens_of

C, S, PUSH = 1, 2, 40.0
PROMPTS = ["the cat", "later the small dog near the old table", "anna and the doctor", "today leo watched",
           "our teacher found the quiet lamp", "the round basket was with the painter"]  # fmt: skip
GREEDY = {"max_new_tokens": 6, "min_new_tokens": 6, "do_sample": False, "pad_token_id": 0,
          "output_logits": True, "return_dict_in_generate": True}  # fmt: skip


@pytest.fixture(scope="module")
def plain():
    return AutoModelForCausalLM.from_pretrained(ode.organism.PATH, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def width(plain):
    return plain.config.hidden_size


def direction(width, seed):
    return torch.randn(width, generator=torch.Generator().manual_seed(seed))


class Leash:
    """The authors' layer around a transformers model, in their words: `larger` is what the threshold is."""

    def __init__(self, model, condition, behaviour, threshold, larger, mode):
        self.calls, self.met, self.similarity = 0, False, None
        projector = torch.ger(condition, condition) / torch.dot(condition, condition)

        def condition_layer(module, args):
            if self.calls == 0:
                hidden = args[0][0].mean(dim=0) if mode == "mean" else args[0][0][-1]
                projected = torch.tanh(torch.matmul(projector, hidden))
                self.similarity = float(torch.dot(hidden, projected) / (torch.norm(hidden) * torch.norm(projected)))
                self.met = (self.similarity < threshold) if larger else (self.similarity > threshold)
            self.calls += 1

        def behaviour_layer(module, args):
            return (args[0] + behaviour, *args[1:]) if self.met else None

        blocks = model.model.layers
        self.handles = [blocks[C].register_forward_pre_hook(condition_layer),
                        blocks[S].register_forward_pre_hook(behaviour_layer)]  # fmt: skip


def written(model, ids, mask, **settings):
    """The logits of all tokens written, [batch, tokens, vocabulary]; the next depend on which was chosen before."""
    return torch.stack(model.generate(ids, attention_mask=mask, **GREEDY, **settings).logits, 1)


def leashed(model, ids, *settings):
    """Logits and similarity of one prompt; the leash is reset after each, as theirs is."""
    leash = Leash(model, *settings)
    logits = written(model, ids[None], torch.ones_like(ids[None]))
    for handle in leash.handles:
        handle.remove()
    return logits[0], leash.similarity


def rows_of(organism):
    return tokens_of(organism, "prompts", PROMPTS)


def middle(similarities):
    """A threshold with half of the prompts on either side."""
    ordered = sorted(similarities)
    return (ordered[2] + ordered[3]) / 2


def steerer_for(condition, width, positions="all_and_bos"):
    field, flow = ode.ConstantField(direction(width, 5)), ode.Flow(T=PUSH, steps=1, solver="euler")
    return ode.Steerer(field, flow, S, positions, site="resid_pre", condition=condition)


def push(width):
    v = direction(width, 5)
    return PUSH * v / v.norm()


@pytest.mark.parametrize("pool", ["mean", "last"])
@pytest.mark.parametrize("comparator", ["above", "below"])
def test_decisions_and_texts_are_those_of_the_published_recipe(organism, plain, width, pool, comparator):
    rows, vector = rows_of(organism), direction(width, 3)
    settings = (vector, push(width), 0.0, True, pool)
    similarities = [leashed(plain, row, *settings)[1] for row in rows]
    threshold = middle(similarities)
    settings = (vector, push(width), threshold, comparator == "below", pool)
    expected = torch.stack([leashed(plain, row, *settings)[0] for row in rows])
    untouched = torch.cat([written(plain, row[None], torch.ones_like(row[None])) for row in rows])
    acts = torch.tensor(similarities) > threshold if comparator == "above" else torch.tensor(similarities) < threshold
    assert acts.sum() == 3
    assert torch.equal((expected - untouched).abs().amax((1, 2)) > 0.1, acts)  # the push is seen

    condition = ode.Condition(C, 7 * vector, threshold, pool=pool, comparator=comparator)
    steerer = steerer_for(condition, width)
    ids, mask = left_padded(organism, rows)
    n = ids.shape[1]
    bare = ode.PlainModel(copy.deepcopy(plain), AutoTokenizer.from_pretrained(ode.organism.PATH))
    for model in (organism, bare, bare.original_model):
        run = getattr(model, "original_model", model)
        for use_cache in (True, False):
            with steerer.on(model, prompt_length=n):
                found = written(run, ids, mask, use_cache=use_cache)
            torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    texts = steerer.generate(organism, PROMPTS, max_new_tokens=6, temperature=0.0)
    assert texts == steerer.generate(bare, PROMPTS, max_new_tokens=6, temperature=0.0)
    alone = [steerer.generate(organism, [prompt], max_new_tokens=6, temperature=0.0)[0] for prompt in PROMPTS]
    assert texts == alone


@contextmanager
def similarities_of(condition):
    """What a condition computes, pass by pass."""
    seen, compute = [], type(condition).similarity

    def kept(self, h):
        seen.append(compute(self, h))
        return seen[-1]

    type(condition).similarity = kept
    try:
        yield seen
    finally:
        type(condition).similarity = compute


def test_the_similarity_is_the_published_one(organism, plain, width):
    vector = direction(width, 3)
    for pool in ("mean", "last"):
        condition = ode.Condition(C, vector, 0.1, pool=pool)
        ids, mask = left_padded(organism, rows_of(organism))
        with similarities_of(condition) as seen, steerer_for(condition, width).on(organism, prompt_length=ids.shape[1]):
            organism.original_model(ids, attention_mask=mask)
        expected = [leashed(plain, row, vector, push(width), 0.1, True, pool)[1] for row in rows_of(organism)]
        torch.testing.assert_close(seen[0], torch.tensor(expected), rtol=1e-4, atol=1e-6)
    orthogonal = torch.zeros(width).index_fill(0, torch.tensor([0]), 1.0)
    assert float(ode.Condition(0, orthogonal, 0.0).similarity(torch.eye(width)[1])) == 0.0


@pytest.mark.parametrize("rule", ["generated", "last"])
@pytest.mark.parametrize("chunk", [2, 3])
@pytest.mark.parametrize("pool", ["mean", "last"])
def test_a_prompt_read_in_several_passes_is_judged_as_a_whole(organism, width, rule, chunk, pool):
    ids, mask = left_padded(organism, rows_of(organism))
    n = ids.shape[1]
    condition = ode.Condition(C, direction(width, 3), 0.1, pool=pool)
    with similarities_of(condition) as seen:
        found = []
        for settings in ({}, {"prefill_chunk_size": chunk}, {"num_beams": 2}):
            with steerer_for(condition, width, rule).on(organism, prompt_length=n):
                found.append(written(organism.original_model, ids, mask, **settings))
    torch.testing.assert_close(found[1], found[0], rtol=1e-3, atol=1e-3)
    assert len(seen) == 3  # one decision a prompt
    torch.testing.assert_close(seen[1], seen[0], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(seen[2], seen[0].repeat_interleave(2), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("pool", ["mean", "last"])
def test_padding_on_the_right_and_in_a_bare_pass_changes_no_decision(organism, width, pool):
    rows = rows_of(organism)
    condition = ode.Condition(C, direction(width, 3), 0.1, pool=pool)
    n = max(map(len, rows))
    right = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    real = (torch.arange(n) < torch.tensor([len(row) for row in rows])[:, None]).long()
    left, mask = left_padded(organism, rows)
    with similarities_of(condition) as seen:
        for ids, told in ((right, real), (left, mask)):
            with steerer_for(condition, width).on(organism, prompt_length=n):
                organism(ids, attention_mask=told)
    torch.testing.assert_close(seen[0], seen[1], rtol=1e-4, atol=1e-6)


def test_special_tokens_can_be_left_out(organism, plain, width):
    row = rows_of(organism)[1]
    condition = ode.Condition(C, direction(width, 3), 0.1, special_tokens=False)
    with similarities_of(condition) as seen, steerer_for(condition, width).on(organism, prompt_length=len(row)):
        organism(row[None])
    states = plain(row[None], output_hidden_states=True).hidden_states[C][0]
    assert row[0] == organism.tokenizer.bos_token_id
    torch.testing.assert_close(seen[0][0], condition.similarity(states[1:].mean(0)), rtol=1e-4, atol=1e-6)
    assert (condition.similarity(states.mean(0)) - seen[0][0]).abs() > 1e-3


def test_members_of_a_composition_have_conditions_of_their_own(organism, width):
    never = ode.Condition(0, direction(width, 3), 1.0)
    always = replace(never, threshold=-1.0)
    free = steerer_for(None, width)
    settings = {"temperature": 0.0, "max_new_tokens": 6}
    both = ode.compose([steerer_for(never, width), replace(free, condition=always)])
    assert both.generate(organism, PROMPTS, **settings) == free.generate(organism, PROMPTS, **settings)
    shut = steerer_for(never, width).generate(organism, PROMPTS, **settings)
    assert shut == ode.generate(organism, PROMPTS, **settings)


def test_it_is_saved_with_the_steerer(organism, width, tmp_path):
    condition = ode.Condition(-3, direction(width, 3), 0.25, "last", "below", provenance={"f1": 0.9})
    steerer = steerer_for(replace(condition, layer=1), width).bound_to(organism)
    steerer = replace(steerer, condition=condition)
    assert steerer.condition.layer == organism.cfg.n_layers - 3
    steerer.save(tmp_path / "s")
    found = ode.Steerer.load(tmp_path / "s")
    assert "similarity < 0.25" in repr(found)
    for name in ("layer", "threshold", "pool", "comparator", "special_tokens", "provenance"):
        assert getattr(found.condition, name) == getattr(steerer.condition, name), name
    assert torch.equal(found.condition.vector, steerer.condition.vector)
    settings = {"temperature": 0.0, "max_new_tokens": 6}
    assert found.generate(organism, PROMPTS, **settings) == steerer.generate(organism, PROMPTS, **settings)
    steerer_for(None, width).save(tmp_path / "free")
    assert ode.Steerer.load(tmp_path / "free").condition is None


#: what a pass may be that cannot know its verdict → what its refusal says
UNKNOWN = {
    "foreign": "no verdict", "copied": "no verdict", "another prompt": "no verdict", "fewer rows": "which row",
    "reordered": "reordered", "suffix": "not asked in this pass", "chunked": "read the prompt in one pass",
}  # fmt: skip


def go_on(model, case, ids, mask, foreign):
    """Read two prompts and go on in a way that says nothing of them."""
    run, n, more = model.original_model, ids.shape[1], torch.tensor([[7], [8]])
    if case == "foreign":
        run(more, attention_mask=mask, past_key_values=foreign)
    if case == "chunked":
        run.generate(ids, prefill_chunk_size=2, **GREEDY)
    cache = run(ids, attention_mask=mask[:, :n], use_cache=True).past_key_values
    if case == "copied":
        run(more, attention_mask=mask, past_key_values=copy.deepcopy(cache))
    if case == "another prompt":
        run(ids.flip(0), attention_mask=mask[:, :n].flip(0), use_cache=True)
        run(more, attention_mask=mask, past_key_values=cache)
    if case == "fewer rows":
        cache.batch_select_indices(torch.tensor([1]))
        run(more[1:], attention_mask=mask[1:], past_key_values=cache)
    if case == "reordered":
        cache.reorder_cache(torch.tensor([1, 0]))
        run(more.flip(0), attention_mask=mask.flip(0), past_key_values=cache)
    if case == "suffix":
        prefix = ode.collect_prefix(model, ids, start=0)
        prefix.logits(C, prefix.residuals[C])


@torch.no_grad()
@pytest.mark.parametrize("case", UNKNOWN)
def test_a_pass_that_cannot_know_its_verdict_is_refused(organism, width, case):
    n = 4
    steerer = steerer_for(ode.Condition(C, direction(width, 3), 0.1), width)
    ids = torch.randint(5, 40, (2, n), generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[0, 1, 1, 1, 1], [1, 1, 1, 1, 1]])
    foreign = organism.original_model(ids, attention_mask=mask[:, :n], use_cache=True).past_key_values
    with steerer.on(organism, prompt_length=n), pytest.raises(ValueError, match=UNKNOWN[case]):
        go_on(organism, case, ids, mask, foreign)


def test_the_last_token_alone_needs_no_cache_of_before(organism, width):
    ids = rows_of(organism)[1][None]
    n = ids.shape[1]
    condition = ode.Condition(C, direction(width, 3), 0.1, pool="last")
    with similarities_of(condition) as seen:
        kept = organism.original_model(ids[:, : n - 2], use_cache=True).past_key_values
        for settings in ({"past_key_values": kept}, {}):
            with steerer_for(condition, width, "generated").on(organism, prompt_length=n):
                organism.original_model.generate(ids, **GREEDY, **settings)
    torch.testing.assert_close(seen[0], seen[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda d: ode.Condition(0, torch.zeros(d), 0.1), "vector has shape"),
        (lambda d: ode.Condition(0, torch.ones(d), float("nan")), "threshold=nan"),
        (lambda d: ode.Condition(0, torch.ones(d), 0.1, "max"), "pool='max'"),
        (lambda d: ode.Condition(0, torch.ones(d), 0.1, comparator="larger"), "comparator='larger'"),
        (lambda d: ode.Condition(0, torch.ones(d), 0.1, "last", special_tokens=False), "special_tokens"),
        (lambda d: steerer_for(ode.Condition(S + 1, torch.ones(d), 0.1), d), "use one from 0 to 2"),
        (lambda d: steerer_for(ode.Condition(-1, torch.ones(d), 0.1), d), "not known here"),
        (lambda d: steerer_for(ode.Condition(0, torch.ones(d), 0.1), d, "all").hooks(), "prompt_length is missing"),
    ],
)
def test_what_cannot_be_a_condition_is_refused(width, make, word):
    with pytest.raises(ValueError, match=word):
        make(width)


def test_a_condition_of_another_width_and_a_gguf_file_are_refused(organism, width, tmp_path):
    with pytest.raises(ValueError, match=r"condition\.vector has width"):
        steerer_for(ode.Condition(0, torch.ones(width + 1), 0.1), width).check(organism)
    steerer = replace(steerer_for(ode.Condition(0, torch.ones(width), 0.1), width), site="resid_post")
    with pytest.raises(ValueError, match="condition of layer 2 has no GGUF form"):
        ode.write_control_vector(tmp_path / "c.gguf", [steerer], "llama")


def test_a_condition_is_fitted_as_the_authors_do(organism, plain):
    contrast = ode.ContrastSet.from_texts(*ode.organism.contrast_texts("valence", 12))
    thresholds = np.arange(0.0, 0.2, 0.01)
    for pool in ("mean", "last"):
        found = ode.fit_condition(organism, contrast, [1, 2], pool=pool, thresholds=thresholds, seed=3)
        learned, held = contrast.split((0.5, 0.5), seed=3)

        def states(text, layer, pool=pool):
            with torch.no_grad():
                x = plain(organism.to_tokens(text), output_hidden_states=True).hidden_states[layer][0]
            return (x.mean(0) if pool == "mean" else x[-1]).numpy()

        best = (0.0,)
        for layer in (1, 2):  # their read_representations and find_best_condition_point, word by word
            h = np.stack(
                [states(t, layer) for pair in zip(learned.positive, learned.negative, strict=True) for t in pair]
            )
            centre = (h[::2] + h[1::2]) / 2
            train = h.copy()
            train[::2] -= centre
            train[1::2] -= centre
            c = PCA(n_components=1).fit(train).components_[0]
            projector = np.outer(c, c) / (c @ c)
            texts, labels = [*held.positive, *held.negative], [1] * len(held.positive) + [0] * len(held.negative)
            sims = []
            for text in texts:
                x = states(text, layer)
                p = np.tanh(projector @ x)
                sims.append(x @ p / (np.linalg.norm(x) * np.linalg.norm(p)))
            for threshold in thresholds:
                for way in ("larger", "smaller"):
                    f1 = f1_score(labels, [int((s > threshold) == (way == "smaller")) for s in sims])
                    if f1 > best[0]:
                        best = (f1, layer, threshold, way, c)
        f1, layer, threshold, way, c = best
        assert (found.layer, found.comparator) == (layer, {"larger": "below", "smaller": "above"}[way])
        assert found.threshold == pytest.approx(threshold)
        assert found.provenance["f1"] == pytest.approx(f1)
        assert abs(float(found.vector @ torch.from_numpy(c).double())) == pytest.approx(1.0, abs=1e-5)


def test_fit_takes_it_for_one_layer_and_for_several(organism, width):
    contrast = ode.ContrastSet.from_texts(*ode.organism.contrast_texts("valence", 6))
    shut = ode.Condition(0, direction(width, 3), 1.0)
    one = ode.fit("caa", organism, contrast, layer=2, T=5.0, condition=shut)
    assert one.condition.threshold == 1.0
    free = ode.fit("caa", organism, contrast, layer=[1, 3], T=5.0)
    several = ode.fit("caa", organism, contrast, layer=[1, 3], T=5.0, condition=replace(shut, threshold=-1.0))
    assert all(x.condition.layer == 0 for x in several.steerers)
    texts = [x.generate(organism, PROMPTS, temperature=0.0) for x in (free, several)]
    assert texts[0] == texts[1] != ode.generate(organism, PROMPTS, temperature=0.0)
    assert torch.equal(free.steerers[1].field.given, several.steerers[1].field.given)
    with pytest.raises(ValueError, match="up to the steered one, 1"):
        ode.fit("caa", organism, contrast, layer=[1, 3], T=5.0, condition=replace(shut, layer=2))
