"""The grammar is normalised, its latents are noise-true and independent, and held-out openings stay held out."""

from collections import Counter

import pytest

from odesteer_tl.organism import contrast_texts, judge, prompts
from odesteer_tl.organism.grammar import Latents, is_held_out, sample
from odesteer_tl.organism.lexicon import CLASSES, VOCABULARY
from odesteer_tl.organism.rules import MAX_SENTENCES, MIN_SENTENCES, RULES, stop_probability


def opening_of(text: str) -> str:
    return text[: text.index(" .") + 2]


def test_arcs_of_every_state_sum_to_one_and_share_no_word() -> None:
    for state, arcs in RULES.items():
        assert sum(arc.probability for arc in arcs) == pytest.approx(1.0), state
        words = [word for arc in arcs for word in CLASSES[arc.word_class].words]
        assert len(words) == len(set(words)), state


def test_the_vocabulary_is_small_lower_case_and_has_no_word_twice() -> None:
    assert 150 <= len(VOCABULARY) == len(set(VOCABULARY)) <= 300
    assert all(word == word.lower() and (word.isalpha() or word == ".") for word in VOCABULARY)


def test_valence_words_are_wrong_twelve_times_in_a_hundred() -> None:
    highs = {c.high for k in CLASSES.values() if k.latent == "valence" for c in k.choices}
    lows = {c.low for k in CLASSES.values() if k.latent == "valence" for c in k.choices}
    counts = Counter(word for text in sample(500, seed=1, latents={"valence": 1}) for word in text.words)
    wrong, right = (sum(counts[word] for word in words) for words in (lows, highs))
    assert wrong / (wrong + right) == pytest.approx(0.12, abs=0.012)


def test_sentence_counts_are_uniform_over_their_range() -> None:
    counts = Counter(text.words.count(".") for text in sample(1000, seed=2))
    assert set(counts) == set(range(MIN_SENTENCES, MAX_SENTENCES + 1))
    assert all(count == pytest.approx(250, abs=50) for count in counts.values())
    assert stop_probability(MAX_SENTENCES) == 1.0
    assert stop_probability(MIN_SENTENCES - 1) == 0.0


def test_sampling_repeats_itself_and_follows_its_seed() -> None:
    assert sample(20, seed=3) == sample(20, seed=3)
    assert sample(20, seed=3) != sample(20, seed=4)


def test_latents_can_be_fixed_in_part_or_in_full() -> None:
    assert all(text.latents == Latents(1, 0, 1) for text in sample(20, seed=0, latents=Latents(1, 0, 1)))
    drawn = [text.latents for text in sample(200, seed=0, latents={"weather": 0})]
    assert {latents.weather for latents in drawn} == {0}
    assert len(set(drawn)) == 4
    with pytest.raises(ValueError, match="valency"):
        sample(1, seed=0, latents={"valency": 1})


def test_openings_can_be_kept_to_one_side_of_the_split() -> None:
    for openings, expected in (("train", False), ("held_out", True)):
        for text in sample(100, seed=5, openings=openings):  # pyright: ignore[reportArgumentType]
            assert is_held_out(opening_of(text.text).split()) is expected


def test_prompts_are_distinct_deterministic_neutral_and_parse() -> None:
    drawn = prompts(1000, seed=0)
    assert len(set(drawn)) == 1000
    assert drawn[:100] == prompts(100, seed=0) != prompts(100, seed=1)
    verdict = judge(drawn)
    assert verdict["parses"].all()
    assert (verdict["valence"] == 0.5).all()
    assert (verdict["agreement"] == 0.5).all()


@pytest.mark.parametrize("concept", ["valence", "agreement"])
def test_contrast_texts_never_open_like_a_prompt(concept: str) -> None:
    positive, negative = contrast_texts(concept, 200, seed=0)
    assert all(is_held_out(opening.split()) for opening in prompts(200))
    assert not any(is_held_out(opening_of(text).split()) for text in positive + negative)


@pytest.mark.parametrize("concept", ["valence", "agreement"])
def test_contrast_texts_are_paired_cut_anywhere_and_show_their_concept(concept: str) -> None:
    positive, negative = contrast_texts(concept, 250, seed=1)
    assert len(positive) == len(negative) == 250
    assert not set(positive) & set(negative)
    for one, other in zip(positive, negative, strict=True):
        assert opening_of(one) == opening_of(other)
        assert len(one.split()) == len(other.split())
    at_stop = sum(text.endswith(".") for text in positive + negative) / 500
    assert at_stop < 0.25
    yes, no = judge(positive), judge(negative)
    assert yes["parses"].all()
    assert no["parses"].all()
    assert (yes[concept] > 0.5).mean() > 0.8
    assert (no[concept] < 0.5).mean() > 0.8


def test_agreement_texts_leave_each_latent_alone_balanced() -> None:
    """Neither weather nor place may tell the classes apart alone: that would be a linear way to agreement."""
    for texts in contrast_texts("agreement", 600, seed=2):
        for high, low in (("sunny", "rainy"), ("beach", "valley")):
            counts = Counter(word for text in texts for word in text.split())
            assert counts[high] / (counts[high] + counts[low]) == pytest.approx(0.5, abs=0.1)


def test_contrast_texts_refuse_an_unknown_concept_by_name() -> None:
    with pytest.raises(ValueError, match=r"concept='truth'.*valence, agreement"):
        contrast_texts("truth")
    with pytest.raises(ValueError, match="n=0"):
        contrast_texts("valence", 0)
    with pytest.raises(ValueError, match="n=0"):
        prompts(0)
