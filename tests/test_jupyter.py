"""What notebooks show: tables of facts, curves against what they are drawn from, tokens against the model's states."""

import re
import subprocess
import sys
from html.parser import HTMLParser

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.colors import to_rgb

import figures.looks
import odesteer_tl as ode
from odesteer_tl.densities import DensityPair, FactorAnalysis, score_path, select_density
from odesteer_tl.jupyter import (
    ColoredTokens,
    TokenRow,
    color_tokens,
    example_texts,
    plot_layers,
    plot_likelihood,
    plot_path,
)
from odesteer_tl.jupyter.curves import VERDICTS
from odesteer_tl.jupyter.examples import WORDS
from odesteer_tl.jupyter.tokens import luminance
from odesteer_tl.looks import look
from tests.gaussian_pair import GaussianPair
from tests.problems import activations, random_quadratic

LAYER = 3


@pytest.fixture(autouse=True)
def _no_window():
    mpl.use("agg")
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def barrier(organism):
    fit, held_out = (
        ode.collect_activations(organism, part, [LAYER])[LAYER]
        for part in ode.organism.contrast("valence", 160).split((0.5, 0.5))
    )
    found = ode.KernelBarrier(gamma=1.0, C=100.0).fit(fit.positive, fit.negative)
    return found.calibrate(held_out.positive, held_out.negative)


@pytest.fixture(scope="module")
def score():
    truth = GaussianPair.draw(32, seed=3)
    pair = DensityPair([FactorAnalysis(2)]).fit(*truth.sample(200, 1), (range(200), range(200)), [-1])
    pair = pair.calibrate(*truth.sample(100, 2), (range(200, 300), range(200, 300)))
    points = truth.line(60, 20, 12.0, seed=4)
    return pair, score_path(pair, points, range(300, 360), h=points.mean(-1) * 0 + torch.arange(21.0)[:, None])


@pytest.fixture(scope="module")
def shown(organism, barrier, score):
    """One of every result that shows itself, by what its table must say."""
    contrast = ode.ContrastSet.from_texts(["<script>alert(1)</script> & so on"], ['"quoted"'])
    acts = ode.collect_activations(organism, ode.organism.contrast("valence", 3))
    a = acts[LAYER].negative
    path = ode.Flow(angle=0.5).solve(ode.BarrierField(barrier), a, record=True)
    steerer = ode.Steerer(ode.BarrierField(barrier), ode.Flow(angle=0.3), LAYER)
    x = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    return [
        (contrast, "&lt;script&gt;alert(1)&lt;/script&gt; &amp; so on"),
        (acts, "5 layers, width 128"),
        (acts[LAYER], "[3, 128] float32"),
        (barrier, "slope (ideally 1)"),
        (ode.KernelBarrier(), "not fitted"),
        (random_quadratic(4, 0), "none: h is a score"),
        (barrier.calibration, "held-out positives"),
        (path, "[11, 3, 128] float32"),
        (ode.certify_path(barrier, path.points), "30 of 30 (100 %)"),
        (ode.certify_level(barrier, path.points), "3 of 3 (100 %)"),
        (ode.cap_bound(barrier.quadratic, a, 0.3), "bound of h"),
        (ode.ceiling(barrier.quadratic), "gap"),
        (ode.landscape(barrier.quadratic), "maxima"),
        (ode.certify.certified_radius(barrier.quadratic, path.end), "radius (activation units)"),
        (score[0], "100 calibration"),
        (score[0].calibrated, "bits per dimension of p+"),
        (score[1], "60 × 20"),
        (select_density(x, range(40), [FactorAnalysis(1)]), "FactorAnalysis(rank=1"),
        (steerer, "blocks.3.hook_out"),
        (ode.compose([steerer, steerer]), "2"),
    ]


class Checked(HTMLParser):
    """Fails on a tag that is not closed where it should be; keeps the text."""

    def __init__(self, source):
        super().__init__()
        self.open, self.text, self.tags = [], "", []
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_every_result_shows_a_short_escaped_table_and_a_short_repr(shown):
    for result, fact in shown:
        source = result._repr_html_()
        page = Checked(source)
        assert fact in source, (type(result), source)
        assert page.text.startswith(type(result).__name__)
        assert set(page.tags) <= {"table", "caption", "tbody", "tr", "th", "td", "b"}
        assert len(source) < 4000
        assert len(repr(result)) < 1200
        assert "tensor(" not in source + repr(result)


def test_a_long_value_is_cut():
    long = ode.ContrastSet.from_texts(["word " * 10_000], ["x"])
    assert len(long._repr_html_()) < 2000


def test_the_package_does_not_import_its_pictures():
    code = "import sys, odesteer_tl; assert not [m for m in sys.modules if m.startswith('odesteer_tl.jupyter')]"
    subprocess.run([sys.executable, "-c", code], check=True)


def drawn_verdicts(ax):
    """How many segments are drawn in each verdict's colour (the legend's samples are no children of the axes)."""
    return {name: sum(line.get_color() == look["color"] and len(line.get_xdata()) > 20 for line in ax.lines)
            for name, look in VERDICTS.items()}  # fmt: skip


def test_a_path_is_drawn_as_the_certificate_has_it():
    q = random_quadratic(8, 3)
    path = ode.Flow(angle=3.0, steps=6, solver="euler").solve(ode.BarrierField(q), activations(3, 8), record=True)
    proof = ode.certify_path(q, path.points[:, 2:3])
    assert proof.refuted.any()
    assert proof.certified.any()
    ax = plot_path(q, path, row=2)
    counts = drawn_verdicts(ax)
    assert counts["certified to rise"] == int(proof.certified.sum())
    assert counts["refuted: falls somewhere"] == int(proof.refuted.sum())
    vertices = next(line for line in ax.lines if line.get_marker() == "o")
    np.testing.assert_allclose(vertices.get_ydata(), q.value(path.points[:, 2]), rtol=1e-12)
    np.testing.assert_allclose(vertices.get_xdata()[1:], proof.angle[:, 0].cumsum(0), rtol=1e-12)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert len(labels) == 4  # nothing is neither here
    # no line passes the bound drawn, nor the ceiling
    bound = next(line for line in ax.lines if line.get_label().startswith("bound"))
    ceiling = next(line for line in ax.lines if line.get_label().startswith("ceiling"))
    for line in ax.lines:
        if line not in (bound, ceiling):
            x, y = line.get_xdata(), line.get_ydata()
            steered = x <= bound.get_xdata()[-1]
            assert (np.asarray(y)[steered] <= np.interp(x[steered], bound.get_xdata(), bound.get_ydata()) + 0.05).all()
            assert (np.asarray(y) <= ceiling.get_ydata()[0] + 1e-9).all()


def test_the_ceiling_may_be_left_out_of_a_path():
    """Which is far above all else where paths are short; nothing else changes."""
    q = random_quadratic(8, 3)
    path = ode.Flow(angle=0.3).solve(ode.BarrierField(q), activations(1, 8), record=True)
    labels = [[text.get_text() for text in plot_path(q, path, ceiling=shown).get_legend().get_texts()]
              for shown in (True, False)]  # fmt: skip
    assert [name for name in labels[0] if name not in labels[1]] == ["ceiling of h"]
    assert len(labels[1]) == len(labels[0]) - 1


def test_a_barrier_of_degree_three_is_drawn_without_bounds(organism):
    acts = ode.collect_activations(organism, ode.organism.contrast("valence", 20), [LAYER])[LAYER]
    cubic = ode.KernelBarrier(degree=3, C=10.0).fit(acts.positive, acts.negative)
    ax = plot_path(cubic, ode.Flow(angle=0.3, steps=3).solve(ode.BarrierField(cubic), acts.negative[:1], record=True))
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["step certified to rise"]


def test_axes_given_are_the_axes_drawn_on(score):
    q = random_quadratic(8, 1)
    path = ode.Flow(angle=0.5).solve(ode.BarrierField(q), activations(1, 8), record=True)
    _, axes = plt.subplots(2, 2)
    table = pd.DataFrame({"layer": [0], "method": "a", "m": 0.5, "m_low": 0.4, "m_high": 0.6})
    before = plt.get_fignums()
    assert plot_path(q, path, ax=axes[0, 0]) is axes[0, 0]
    assert plot_layers(table, "m", ax=axes[0, 1]) is axes[0, 1]
    assert plot_likelihood(score[1], tuple(axes[1])) == tuple(axes[1])
    assert plt.get_fignums() == before


def test_of_many_layers_no_more_are_named_than_stand_beside_each_other():
    table = pd.DataFrame({"layer": range(30), "method": "a", "auc": 0.5, "auc_low": 0.4, "auc_high": 0.6})
    assert plot_layers(table, "auc").get_xticks().tolist() == list(range(0, 30, 3))


def test_layers_are_drawn_in_order_with_their_intervals():
    table = pd.DataFrame({"layer": [2, 0, 1, 1, 0, 2], "method": ["a", "a", "a", "b", "b", "b"],
                          "auc": [0.9, 0.5, 0.7, 0.6, 0.55, 0.65]})  # fmt: skip
    table["auc_low"], table["auc_high"] = table["auc"] - 0.05, table["auc"] + 0.05
    ax = plot_layers(table, "auc")
    first, second = ax.lines
    np.testing.assert_array_equal(first.get_ydata(), [0.5, 0.7, 0.9])
    np.testing.assert_allclose(first.get_xdata(), [0, 1, 2], atol=0.25)
    assert (first.get_color(), first.get_linestyle(), first.get_marker()) != (
        second.get_color(), second.get_linestyle(), second.get_marker())  # fmt: skip
    bars = np.array(ax.collections[0].get_segments())
    np.testing.assert_allclose(bars[:, :, 1], [[0.45, 0.55], [0.65, 0.75], [0.85, 0.95]])
    np.testing.assert_array_equal(ax.get_xticks(), [0, 1, 2])


def test_a_method_looks_the_same_in_notebooks_and_figures():
    names = ["random", "mine", "caa", "odesteer_kernel"]
    table = pd.DataFrame({"layer": 1, "method": names, "m": 0.5, "m_low": 0.4, "m_high": 0.6})
    drawn = {line.get_label(): (line.get_color(), line.get_marker()) for line in plot_layers(table, "m").lines}
    for name in ("random", "caa", "odesteer_kernel"):
        assert drawn[name] == (look(name)["color"], look(name)["marker"])
        assert figures.looks.KNOWN[name] is look(name)
    assert len(set(drawn.values())) == 4


def test_methods_that_coincide_stand_side_by_side():
    table = pd.DataFrame({"layer": [4, 8, 4, 8], "method": ["a", "a", "b", "b"], "m": 0.5, "m_low": 0.4, "m_high": 0.6})
    a, b = (line.get_xdata() for line in plot_layers(table, "m").lines)
    np.testing.assert_allclose((a + b) / 2, [4, 8])
    assert (b - a > 0.2).all()
    assert (b < [8, 12]).all()
    alone = table.query("method == 'a'")
    np.testing.assert_array_equal(plot_layers(alone, "m").lines[0].get_xdata(), [4, 8])
    assert len(plot_layers(table.query("layer == 4"), "m").lines) == 2


def test_likelihood_marks_the_peak_of_the_population(score):
    above, below = plot_likelihood(score[1])
    angle = score[1].angle.mean(1).numpy()
    peak = np.interp(score[1].population_peak().value, range(len(angle)), angle)
    for ax in (above, below):
        mark = next(line for line in ax.lines if line.get_label().startswith("$T^*$"))
        assert mark.get_xdata()[0] == pytest.approx(peak, abs=1e-12)
    np.testing.assert_allclose(above.lines[0].get_ydata(), score[1].change_positive.mean(1))
    assert below.lines[0].get_label() == "barrier h"


@pytest.fixture(scope="module")
def prompts():
    return ode.organism.prompts(3, seed=1)  # of different lengths


@pytest.fixture(scope="module")
def colored(organism, barrier, prompts):
    steerer = ode.Steerer(ode.BarrierField(barrier), ode.Flow(angle=0.3), LAYER)
    return steerer, color_tokens(organism, steerer, barrier, prompts, max_new_tokens=8, temperature=0.7, seed=5)


def test_tokens_are_those_of_generate(organism, colored, prompts):
    steerer, found = colored
    settings = {"max_new_tokens": 8, "temperature": 0.7, "seed": 5}
    texts = {"unsteered": ode.generate(organism, prompts, **settings),
             "steered, after the hook": steerer.generate(organism, prompts, **settings)}  # fmt: skip
    texts["steered, before the hook"] = texts["steered, after the hook"]
    assert len(found.rows) == 9
    for row in found.rows:
        assert "".join(row.tokens).removeprefix("<bos>").strip() == texts[row.label][row.prompt]
        assert "".join(row.tokens[: row.generated_from]).removeprefix("<bos>").strip() == prompts[row.prompt]


def test_h_is_that_of_the_states(organism, barrier, colored):
    steerer, found = colored
    for k in range(3):
        plain, before, after = [row for row in found.rows if row.prompt == k]
        assert (plain.label, before.label[:15], after.label[:14]) == ("unsteered", "steered, before", "steered, after")
        for row in (plain, before):  # nothing upstream is steered: a state before the hook is a function of the text
            text = "".join(row.tokens).removeprefix("<bos>").strip()
            states = ode.collect_activations(
                organism, ode.ContrastSet.from_texts([text], ["leo was"]), [LAYER], "all", special_tokens=True
            )
            expected = barrier.log_ratio(states[LAYER].positive.double())
            torch.testing.assert_close(torch.tensor(row.h).double(), expected, rtol=1e-4, atol=1e-4)
        start = before.generated_from - 1
        assert before.h[:start] == pytest.approx(after.h[:start], abs=1e-4)
        end = steerer.flow.solve(steerer.field, states[LAYER].positive[start:]).end
        assert after.h[start:] == pytest.approx(barrier.log_ratio(end.double()).tolist(), abs=1e-3)


def test_colored_tokens_are_a_tidy_frame_and_a_legible_page(colored):
    found = colored[1]
    frame = found.frame()
    assert len(frame) == sum(len(row.tokens) for row in found.rows)
    assert not frame.duplicated(["prompt", "label", "position"]).any()
    assert frame.query("label == 'unsteered'")["h"].abs().max() == found.limit
    page = Checked(found._repr_html_())
    assert page.text.count("unsteered") == 1 + 3  # the scale is theirs
    assert len(repr(found)) < 100
    # brightness alone tells h, and every token can be read on its ground
    pairs = re.findall(r"background: (#\w{6}); color: (#\w{3});?", found._legend())
    grounds = [luminance(to_rgb(ground)) for ground, _ in pairs]
    assert grounds == sorted(grounds)
    for ground, ink in re.findall(r"background: (#\w{6}); color: (#\w{3})", found._repr_html_()):
        low, high = sorted([luminance(to_rgb(ground)), luminance(to_rgb(ink))])
        assert (high + 0.05) / (low + 0.05) >= 4.5


def test_the_scale_of_tokens_is_that_of_the_unsteered_text():
    """However far a steer goes: beyond the ends there is one colour, and the caption says so."""
    rows = [TokenRow(0, "unsteered", ("a", "b"), (1.0, -2.0), 1), TokenRow(0, "steered", ("a", "c"), (2.0, 90.0), 1)]
    both, alone = ColoredTokens(tuple(rows)), ColoredTokens((rows[1],))
    assert (both.limit, alone.limit) == (2.0, 90.0)
    at, beyond = re.findall(r"background: (#\w{6})", both._shaded(rows[1]))
    assert at == beyond
    assert "scale of the unsteered text; beyond it, the colour of its end" in both._legend()
    assert "scale of the first row; beyond it" in alone._legend()


def test_token_text_is_escaped():
    page = ColoredTokens((TokenRow(0, "<i>", ("<b>&", " ", "\n"), (1.0, -1.0, 0.0), 1),))._repr_html_()
    assert "<b>" not in page
    assert "<i>" not in page
    assert Checked(page).text.endswith("<i><b>&␣↵")


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda s: plot_path(random_quadratic(4, 0), ode.Flow(angle=0.1).solve(
            ode.ConstantField(torch.ones(4)), torch.ones(2, 4))), "record=True"),
        (lambda s: plot_path(random_quadratic(4, 0), ode.Flow(angle=0.1).solve(
            ode.ConstantField(torch.ones(4)), torch.ones(2, 4), record=True), row=2), "row=2"),
        (lambda s: plot_layers(pd.DataFrame({"layer": [0], "method": "a", "m": 1.0}), "m"), "m_low"),
        (lambda s: plot_layers(pd.DataFrame({"layer": [0, 0], "method": "a", "m": 1.0, "m_low": 0.0, "m_high": 2.0}),
                               "m"), "several rows"),
        (lambda s: color_tokens(s, ode.Steerer(ode.ConstantField(torch.ones(128)), ode.Flow(angle=0.1), 0),
                                ode.KernelBarrier(), ["a"]), "not calibrated"),
    ],
)  # fmt: skip
def test_bad_input_names_the_argument_and_the_value(make, word, organism, unchecked):
    with pytest.raises(ValueError, match=word):
        make(organism)


def test_example_texts_are_pairs_that_differ_in_one_word_and_neutral_prompts():
    contrast, prompts = example_texts("any-model", 800)
    assert contrast.paired
    assert len({*contrast.positive}) == len({*contrast.negative}) == 800
    for positive, negative in zip(contrast.positive, contrast.negative, strict=True):
        words = list(zip(positive.split(), negative.split(), strict=True))
        assert [a == b for a, b in words] == [True] * (len(words) - 1) + [False]
    assert len({*prompts}) == 100
    judged = {word for pair in WORDS for word in pair}
    assert not any(judged & set(prompt.split()) for prompt in prompts)
    assert example_texts("any-model", 50, seed=1)[0].digest == example_texts("any-model", 50, seed=1)[0].digest
    assert example_texts("organism", 5)[0].digest == ode.organism.contrast("valence", 5).digest
    with pytest.raises(ValueError, match="n=801"):
        example_texts("any-model", 801)
