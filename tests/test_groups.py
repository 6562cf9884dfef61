"""Rows of one text stay together: labels that travel from the contrast to every fit that holds rows out."""

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import odesteer_tl as ode
from odesteer_tl import methods
from odesteer_tl._groups import row_labels
from odesteer_tl.barriers.kernel import C_GRID, GAMMA_GRID
from odesteer_tl.methods.registry import require_pairs
from odesteer_tl.methods.riser import _halves
from tests.problems import activations, gaussian_classes

TEXTS, ROWS, D = 20, 10, 16
PAIRS = ode.ContrastSet.from_texts(
    ["leo noticed the happy dog", "anna was glad today", "the bird sang", "leo noticed a tree"],
    ["leo noticed the sad dog", "anna was unhappy", "the old bird wept today", "leo noticed a tree"],
)


def near_copies(texts: int, rows: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random texts, half of them called positive for no reason, each with `rows` near copies."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(texts, D, generator=g).repeat_interleave(rows, 0)
    x = x + 0.1 * torch.randn(x.shape, generator=g)
    return x[: len(x) // 2], x[len(x) // 2 :]


def log_loss(barrier: ode.Barrier, positive: torch.Tensor, negative: torch.Tensor) -> float:
    f = torch.nn.functional.softplus
    return float((f(-barrier.value(positive)).mean() + f(barrier.value(negative)).mean()) / 2)


def test_near_copies_of_a_text_do_not_choose_the_hyper_parameters():
    """Labels that mean nothing: a coin has .693. Torn texts choose the stiffest barrier, whole ones seldom do."""
    each = np.arange(TEXTS).repeat(ROWS)
    groups, apart = (each[:100], each[100:]), (range(100), range(100, 200))
    losses: list[float] = []
    for seed in range(5):
        data, fresh = near_copies(TEXTS, ROWS, seed), near_copies(400, 1, 100 + seed)
        if seed < 2:
            torn = ode.KernelBarrier(gamma="cv", C="cv").fit(*data, groups=apart)
            assert torn.chosen == {"gamma": max(GAMMA_GRID), "C": max(C_GRID)}
            assert log_loss(torn, *fresh) > 1.5
        losses.append(log_loss(ode.KernelBarrier(gamma="cv", C="cv").fit(*data, groups=groups), *fresh))
    assert np.median(losses) < 0.74  # .72 to .73 in four of five; twenty texts may agree by chance


def test_labels_are_names_and_nothing_else():
    data = near_copies(TEXTS, ROWS, 5)
    numbers = torch.arange(TEXTS).repeat_interleave(ROWS).split(100)
    words = tuple([f"text {i}" for i in side.tolist()] for side in numbers)
    fits = [ode.KernelBarrier(gamma="cv", C="cv").fit(*data, groups=g) for g in (numbers, words)]
    assert torch.equal(fits[0].state["alpha"], fits[1].state["alpha"])


def test_equally_long_classes_are_pairs_and_others_are_not():
    x = torch.ones(3, 2)
    assert row_labels(x, x, None).tolist() == [0, 1, 2, 0, 1, 2]
    assert row_labels(x, x[:2], None).tolist() == [0, 1, 2, 3, 4]
    assert row_labels(x, x[:2], (["a", "b", "a"], ["b", "c"])).tolist() == [0, 1, 0, 1, 2]


@pytest.mark.parametrize("position", ["last", "mean", "all"])
def test_groups_are_one_label_a_row(organism, position, tmp_path):
    acts = ode.collect_activations(organism, PAIRS, [1, 2], position, batch_size=3)
    for side, texts in (("positive", PAIRS.positive), ("negative", PAIRS.negative)):
        groups, rows = getattr(PAIRS, f"{side}_groups"), getattr(acts[1], side)
        alone = [
            ode.collect_activations(organism, ode.ContrastSet.from_texts([t], ["x"]), [1], position)[1].positive
            for t in texts
        ]
        expected = [g for g, own in zip(groups, alone, strict=True) for _ in own]
        assert getattr(acts[1], f"{side}_groups") == getattr(acts[2], f"{side}_groups") == tuple(expected)
        torch.testing.assert_close(rows, torch.cat(alone), rtol=1e-4, atol=1e-4)
    acts.save(tmp_path / "acts")
    again = ode.Activations.load(tmp_path / "acts")
    assert again[2].groups == acts[2].groups
    assert torch.equal(again[2].negative, acts[2].negative)
    assert sorted(again) == [1, 2]


def test_a_text_that_stands_in_both_classes_is_one_group(organism):
    acts = ode.collect_activations(organism, PAIRS, [1], "all")[1]
    assert acts.positive_groups[-1] == acts.negative_groups[-1]
    assert len({*acts.positive_groups, *acts.negative_groups}) == 4


def without_groups(path):
    """The file as it was written before groups were kept."""
    tensors = {k: x for k, x in load_file(path).items() if not k.endswith("groups")}
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    save_file(tensors, path, metadata=metadata)


def test_old_files_load_and_only_their_texts_of_one_row_are_cross_validated(organism, tmp_path):
    contrast = ode.organism.contrast("valence", n=12)
    for position in ("last", "all"):
        path = tmp_path / position
        ode.collect_activations(organism, contrast, [2], position).save(path)
        without_groups(path)
        acts = ode.Activations.load(path)[2]
        assert acts.groups is None
        if position == "last":
            ode.KernelBarrier().fit_activations(acts)
        else:
            with pytest.raises(ValueError, match=r"groups=None.*several rows a text"):
                ode.KernelBarrier().fit_activations(acts)


def test_a_cache_of_the_same_texts_in_other_groups_is_another(organism, tmp_path):
    texts = (PAIRS.positive[:2], PAIRS.negative[:2])
    for groups in (None, ([0, 1], [2, 3])):
        contrast = ode.ContrastSet.from_texts(*texts, groups=groups)
        acts = ode.collect_activations(organism, contrast, [1], cache=tmp_path)[1]
        assert acts.groups == (contrast.positive_groups, contrast.negative_groups)


@pytest.fixture(scope="module")
def tokens(organism):
    """Every token of a few texts: some ten rows a text."""
    return ode.collect_activations(organism, ode.organism.contrast("valence", n=12), [2], "all")[2]


def test_several_rows_a_text_are_refused_where_rows_are_held_out_and_no_groups_given(tokens):
    p, n = tokens.positive, tokens.negative
    for make in (
        lambda: ode.KernelBarrier(C="cv").fit(p, n),
        lambda: ode.KernelBarrier(gamma="cv", C=1.0).fit(p[:50], n[5:40]),  # a part of them still knows
        lambda: ode.LinearBarrier().fit(p, n).calibrate(p, n),
        lambda: methods.odesteer_kernel(p, n),
        lambda: methods.minimal_intervention(p, n),
        lambda: methods.on_manifold(p, n),
        lambda: methods.riser(p[:80], n[:80]),
        lambda: methods.hpr(p[:80], n[:80]),
        lambda: ode.METHODS["optimal_cap"].fit(p, n, 0),
    ):
        with pytest.raises(ValueError, match=r"groups=None, but .* several rows a text"):
            make()
    ode.LinearBarrier().fit(p, n)  # nothing is held out here
    ode.KernelBarrier(C=1.0).fit(p, n).calibrate(p, n, groups=tokens.groups)


def test_heads_of_several_rows_a_text_are_refused_too(organism):
    z = ode.collect_activations(organism, ode.organism.contrast("valence", n=12), [2], "all", site="attn.hook_z")[2]
    with pytest.raises(ValueError, match=r"groups=None, but positive"):
        methods.iti_heads(z.positive, z.negative)
    methods.iti_heads(z.positive, z.negative, groups=z.groups)


@pytest.mark.parametrize("layer", [2, [2, 3]])
def test_fit_hands_the_groups_on(organism, layer):
    contrast = ode.organism.contrast("valence", n=6)
    acts = ode.collect_activations(organism, contrast, [2], "all")[2]
    found = ode.fit("odesteer_kernel", organism, contrast, layer=layer, angle=0.1, read_position="all")
    steerer = found if isinstance(layer, int) else found.steerers[0]
    expected = ode.KernelBarrier(gamma="cv", C="cv").fit(acts.positive, acts.negative, acts.groups)
    torch.testing.assert_close(steerer.field.barrier.state["alpha"], expected.state["alpha"], rtol=0, atol=0)


def test_a_method_of_ones_own_is_told_the_groups_if_it_asks(organism, tokens):
    seen = []

    def asks(positive, negative, seed=0, *, groups=None):
        seen.append(groups)
        return methods.caa(positive, negative)

    method = ode.METHODS["caa"]
    type(method)(asks, "euler", 1, "").fit_activations(tokens)
    type(method)(methods.caa, "euler", 1, "").fit_activations(tokens)  # does not ask
    assert seen == [tokens.groups]


def test_heads_are_ranked_on_texts_that_their_probes_have_not_seen():
    """Head 0 knows which text it is, head 1 the class: torn texts make head 0 look perfect."""
    g = torch.Generator().manual_seed(0)
    names = torch.randn(2 * TEXTS, 64, generator=g).repeat_interleave(ROWS, 0)
    classes = torch.tensor([1.0, -1.0]).repeat_interleave(TEXTS * ROWS)
    signal = torch.randn(2 * TEXTS * ROWS, 64, generator=g)
    signal[:, 0] += 0.8 * classes
    positive, negative = torch.stack([names, signal], 1).split(TEXTS * ROWS)
    labels = np.arange(2 * TEXTS).repeat(ROWS)
    groups = (labels[: TEXTS * ROWS], labels[TEXTS * ROWS :])
    shifts = {
        name: methods.iti_heads(positive, negative, heads=1, groups=g)
        .tensors["bias"]
        .unflatten(0, (2, 64))
        .norm(dim=-1)
        for name, g in (("whole", groups), ("torn", None))
    }
    assert shifts["torn"].argmax() == 0
    assert shifts["whole"].argmax() == 1


def test_the_halves_of_riser_share_no_group():
    groups = np.array([0, 0, 1, 2, 2, 2, 3, 4, 4, 5])
    order, half = _halves(groups, seed=1)
    assert sorted(order.tolist()) == list(range(10))
    assert not set(groups[order[:half]]) & set(groups[order[half:]])
    alone = torch.randperm(11, generator=torch.Generator().manual_seed(1))
    assert torch.equal(_halves(np.arange(11), seed=1)[0], alone)
    with pytest.raises(ValueError, match="all 4 pairs are of one group"):
        _halves(np.zeros(4, dtype=int), seed=0)


def test_rows_of_other_groups_are_no_pairs():
    x = activations(3, 4)
    require_pairs(x, x, "why", ([1, 2, 2], [1, 2, 2]))
    with pytest.raises(ValueError, match="rows 1 are of different groups"):
        require_pairs(x, x, "why", ([1, 2, 2], [1, 1, 2]))
    with pytest.raises(ValueError, match="rows 0 are of different groups"):
        methods.repe(x, x + 1, groups=([0, 1, 2], [3, 4, 5]))


def test_too_few_groups_for_the_folds_are_refused():
    data = near_copies(8, ROWS, 0)
    labels = np.arange(8).repeat(ROWS)
    with pytest.raises(ValueError, match=r"folds=5 but the smaller class has 4 texts"):
        ode.KernelBarrier().fit(*data, groups=(labels[:40], labels[40:]))
    ode.KernelBarrier(folds=4).fit(*data, groups=(labels[:40], labels[40:]))


def test_equal_texts_are_named_as_the_cause_of_too_few_groups(organism):
    good = [f"{a} {b} ." for a in ("anna", "leo", "emma") for b in ("noticed luck", "met our doctor", "followed karla")]
    with pytest.warns(UserWarning, match="stands 9 times"):
        contrast = ode.ContrastSet.from_texts(good, ["anna met misery ."] * len(good))
    acts = ode.collect_activations(organism, contrast, [1])[1]
    with pytest.raises(
        ValueError, match=r"has 1 texts \(groups\) in 9 rows \(rows of one text.* equal texts .* are one"
    ):
        ode.KernelBarrier().fit_activations(acts)
    with pytest.raises(ValueError, match=r"'anna met misery \.' stands 9 times"):
        contrast.split((0.5, 0.5))
    with pytest.raises(ValueError, match=r"groups hold 1 prompt\(s\) in 9 rows.* equal texts"):
        ode.densities.select_density(acts.positive, acts.groups[0])


@pytest.mark.parametrize(
    ("groups", "word"),
    [
        (([0, 1], [0, 1, 2]), "groups has 2 and 3 labels for 3 positive and 3 negative rows"),
        ([0, 1, 2], "is not a pair"),
        ("ab", "groups='ab' is not a pair"),
    ],
)
def test_bad_groups_are_named(groups, word, unchecked):
    x = activations(3, 4)
    with pytest.raises(ValueError, match=word):
        ode.LinearBarrier().fit(x, x + 1, groups=groups)


def test_bad_labels_of_activations_are_named():
    x = torch.ones(3, 4)
    with pytest.raises(ValueError, match="positive_groups has 2 labels for 3 rows"):
        ode.LayerActivations(x, x, (0, 1), (0, 1, 2))
    with pytest.raises(ValueError, match="belong together"):
        ode.LayerActivations(x, x, (0, 1, 2))


BARRIERS = [
    ode.LinearBarrier(),
    ode.SketchBarrier(n_components=200),
    ode.KernelBarrier(),
    ode.FourierBarrier(n_components=200),
]


@pytest.mark.parametrize("barrier", BARRIERS, ids=repr)
def test_classes_that_coincide_are_refused_by_barriers(barrier):
    x = gaussian_classes(40, 16)[0]
    jitter = torch.randn(40, 16, generator=torch.Generator().manual_seed(3))
    for other in (x, x.flip(0), x[:20].repeat(3, 1), x + 1e-7 * jitter):
        positive = x[:20] if len(other) > 40 else x
        with pytest.raises(ValueError, match=r"the same (activations|mean features) within rounding"):
            barrier.fit(positive, other)
    barrier.fit(x, x + 1e-2 * jitter.mean(0))  # little is not nothing


def test_what_a_barrier_cannot_see_is_refused_and_what_it_can_is_not():
    x = gaussian_classes(40, 16)[0]
    with pytest.raises(ValueError, match="within rounding"):
        ode.KernelBarrier().fit(x, 2 * x)  # of one direction
    ode.FourierBarrier(n_components=200).fit(x, 2 * x)
    first, second = x * (torch.arange(16) < 8), x * (torch.arange(16) >= 8)
    positive, negative = torch.cat([first, -first]), torch.cat([second, -second])  # both of mean 0
    with pytest.raises(ValueError, match="same mean features"):
        ode.LinearBarrier().fit(positive, negative)
    assert (ode.KernelBarrier().fit(positive, negative).value(positive) > 0).all()


@pytest.mark.parametrize("name", sorted(ode.METHODS))
def test_classes_that_coincide_are_refused_by_methods(name):
    x = torch.randn(40, 4, 8, generator=torch.Generator().manual_seed(0))
    x = x if ode.METHODS[name].site != "hook_out" else x.flatten(1)
    for other in (x, x.flip(0), x * (1 + 1e-7)):
        with pytest.raises(ValueError, match="the same activations within rounding"):
            ode.METHODS[name].fit(x, other, 0)
