"""The package's beginnings of sentences: each once, none of a mood, and what a study takes by their name."""

import odesteer_tl as ode
from analyses.effects import EffectSettings, Plan
from analyses.outcomes import open_outcome
from tests.studies import write_pairs


def test_they_are_120_each_once_and_open():
    assert len({*map(str.casefold, ode.OPENERS)}) == len(ode.OPENERS) == 120
    assert all(opener == opener.strip() and opener[-1] not in ".!?" for opener in ode.OPENERS)
    assert not any(
        ".." in opener or opener in other for opener in ode.OPENERS for other in ode.OPENERS if opener != other
    )


def test_they_have_no_mood_and_both_halves_are_alike():
    scores = open_outcome("vader").scores(ode.OPENERS, ode.OPENERS)["score"].to_numpy()
    assert abs(scores).max() < 0.5
    assert abs(scores[:60].mean()) < 0.05 > abs(scores[60:].mean())


def test_a_study_takes_them_by_name_the_first_to_choose_on(tmp_path):
    write_pairs(ode.organism.contrast("valence", 64, 0), tmp_path / "pairs.jsonl")
    own = EffectSettings(
        contrast=str(tmp_path / "pairs.jsonl"), prompts="openers", outcome="length", cross_fit=True, measures=()
    )
    plan = Plan.of(own)
    assert plan.prompts == ode.OPENERS
    assert plan.split == ["select"] * 40 + ["test"] * 80
    few = EffectSettings(**{**vars(own), "select": 20, "test": 40})
    assert Plan.of(few).prompts == ode.OPENERS[:60]
