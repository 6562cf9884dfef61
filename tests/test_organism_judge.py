"""The judge is exact: it agrees with enumeration of the latents, and its posteriors are calibrated."""

import math
from itertools import product

import numpy as np
import pytest

from odesteer_tl.organism.grammar import Latents, Text, sample
from odesteer_tl.organism.judge import judge, parse, text_log_probability
from odesteer_tl.organism.lexicon import CLASSES
from odesteer_tl.organism.rules import BOUNDARY, RULES, START, stop_probability


def word_probability(word: str, class_name: str, latents: Latents) -> float:
    """P(word | class, latents), straight from the definition of a class."""
    word_class = CLASSES[class_name]
    total = 0.0
    for choice in word_class.choices:
        if word_class.latent is None:
            total += word == choice.high
        else:
            high = 1 - choice.noise if getattr(latents, word_class.latent) == 1 else choice.noise
            total += high * (word == choice.high) + (1 - high) * (word == choice.low)
    return total / len(word_class.choices)


def forward_probability(words: list[str], latents: Latents) -> float:
    """P(a text begins with `words` | latents): the forward algorithm over (state, full stops), no parsing involved."""
    alive = {(START, 0): 1.0}
    for word in words:
        after: dict[tuple[str, int], float] = {}
        for (state, stops), mass in alive.items():
            going_on = 1 - stop_probability(stops) if state == BOUNDARY else 1.0
            for arc in RULES[state]:
                key = (arc.target, stops + (arc.target == BOUNDARY))
                chance = mass * going_on * arc.probability * word_probability(word, arc.word_class, latents)
                after[key] = after.get(key, 0.0) + chance
        alive = after
    return sum(alive.values())


ALL_LATENTS = [Latents(*values) for values in product((0, 1), repeat=3)]


@pytest.mark.parametrize("seed", range(4))
def test_posterior_and_likelihood_agree_with_enumeration(seed: int) -> None:
    words = list(sample(1, seed=seed)[0].words)[: 15 + 6 * seed]
    joint = {latents: forward_probability(words, latents) / 8 for latents in ALL_LATENTS}
    evidence = sum(joint.values())
    row = judge([" ".join(words)]).iloc[0]
    assert row["valence"] == pytest.approx(sum(p for z, p in joint.items() if z.valence) / evidence, rel=1e-9)
    assert row["agreement"] == pytest.approx(sum(p for z, p in joint.items() if z.agreement) / evidence, rel=1e-9)
    assert row["log_likelihood"] == pytest.approx(math.log(evidence) / len(words), rel=1e-9)
    assert row["n_words"] == len(words)


def test_next_word_probabilities_of_a_prefix_sum_to_one() -> None:
    """Over all words and the end: so the prefix probability loses nothing and invents nothing."""
    vocabulary = sorted({word for word_class in CLASSES.values() for word in word_class.words})
    words = list(sample(1, seed=9)[0].words)
    stops = [index + 1 for index, word in enumerate(words) if word == "."]
    for length in (1, 7, stops[3] + 2, stops[4], len(words)):
        prefix = words[:length]
        here = parse(prefix).log_probability
        following = [parse([*prefix, word]) for word in vocabulary]
        mass = sum(math.exp(p.log_probability - here) for p in following if p.n_parsed == length + 1)
        mass += math.exp(text_log_probability(prefix) - here)
        assert mass == pytest.approx(1.0, rel=1e-9), length


@pytest.fixture(scope="module")
def texts() -> list[Text]:
    return sample(2500, seed=11)


@pytest.mark.parametrize("column", ["valence", "agreement"])
def test_posteriors_are_calibrated_on_short_prefixes(texts: list[Text], column: str) -> None:
    """Among texts judged p, a share p has the latent: per bin within four standard errors, and in Brier score."""
    posterior = judge([" ".join(text.words[:14]) for text in texts])[column].to_numpy()
    truth = np.array([getattr(text.latents, column) for text in texts])
    bins = np.digitize(posterior, [0.05, 0.2, 0.4, 0.6, 0.8, 0.95])
    for index in np.unique(bins):
        here = bins == index
        if here.sum() < 50:
            continue
        error = np.sqrt((posterior[here] * (1 - posterior[here])).sum()) / here.sum()
        assert abs(truth[here].mean() - posterior[here].mean()) < 4 * error
    expected = (posterior * (1 - posterior)).mean()
    assert np.mean((posterior - truth) ** 2) == pytest.approx(expected, abs=0.015)


def test_every_sampled_text_parses_however_it_is_cut() -> None:
    texts = sample(150, seed=12)
    cut = [" ".join(text.words[: 1 + index % len(text.words)]) for index, text in enumerate(texts)]
    assert judge([text.text for text in texts])["parses"].all()
    assert judge(cut)["parses"].all()
    assert all(math.isfinite(text_log_probability(text.words)) for text in texts)


def test_a_broken_text_does_not_parse_but_is_still_judged_by_its_words() -> None:
    good = sample(1, seed=13, latents={"valence": 1})[0].text
    verdict = judge([good, good.replace(" .", " . .", 1), "blah " + good])
    assert verdict["parses"].tolist() == [True, False, False]
    assert verdict["valence"].tolist() == [verdict["valence"][0]] * 3
    opening = good[: good.index(" .") + 2]
    assert verdict["log_likelihood"][1] == pytest.approx(judge([opening])["log_likelihood"][0])


def test_a_text_with_too_many_sentences_does_not_parse() -> None:
    sentences = sample(1, seed=14, openings="train")[0].text.split(" . ")
    longer = [sentences[0], *sentences[1:2] * 8]
    assert judge([" . ".join(longer[:8]) + " ."])["parses"].item()
    assert not judge([" . ".join(longer[:8]) + " . the"])["parses"].item()


def test_an_empty_text_is_judged_and_does_not_parse() -> None:
    row = judge([""]).iloc[0]
    assert row["valence"] == row["agreement"] == 0.5
    assert not row["parses"]
    assert row["n_words"] == 0
    assert math.isnan(row["log_likelihood"])
    assert judge([]).columns.tolist() == ["valence", "agreement", "log_likelihood", "parses", "n_words"]


def test_a_single_string_is_refused() -> None:
    with pytest.raises(TypeError, match="sequence of texts"):
        judge("anna saw the lamp .")


def test_extreme_evidence_neither_overflows_nor_leaves_the_unit_interval() -> None:
    glad, sad = "praised " * 5000, "blamed " * 5000
    verdict = judge([glad, sad])["valence"].tolist()
    assert verdict == [1.0, 0.0]
