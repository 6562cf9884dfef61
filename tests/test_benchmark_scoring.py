"""Answers scored whole: against one unpadded pass each, steered and not, and against generation's own positions."""

import numpy as np
import pytest
import torch

import odesteer_tl as ode
from analyses.benchmarks.context import clip_left, clipped
from analyses.benchmarks.scoring import option_scores
from odesteer_tl._tokens import text_tokens
from tests.problems import log_probability as alone

PROMPTS = ["mona met leo .", "soon the dry cabin", "leo"]
OPTIONS = [[" soon the dry cabin", " mona", " the wet cabin was near the sea ."], [" was", " mona met leo ."], [" met"]]


@pytest.fixture(scope="module")
def steerer(organism):
    return ode.fit("odesteer_kernel", organism, ode.organism.contrast("valence", n=40), layer=2, angle=0.5)


@pytest.mark.parametrize("steered", [False, True])
@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_a_score_is_the_log_probability_of_the_whole_option(organism, steerer, steered, batch_size):
    own = steerer if steered else None
    found = option_scores(organism, PROMPTS, OPTIONS, own, batch_size)
    wanted = [alone(organism, p, o, own) for p, options in zip(PROMPTS, OPTIONS, strict=True) for o in options]
    np.testing.assert_allclose(found["log_likelihood"], wanted, rtol=1e-4, atol=1e-4)
    assert found[["prompt", "option"]].to_numpy().tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [2, 0]]


def test_steering_changes_scores_and_a_strength_of_zero_does_not(organism, steerer):
    plain, moved = (option_scores(organism, PROMPTS, OPTIONS, s)["log_likelihood"] for s in (None, steerer))
    assert (plain - moved).abs().min() > 1e-3
    still = option_scores(organism, PROMPTS, OPTIONS, steerer.at(ode.Flow(angle=0.0)))["log_likelihood"]
    np.testing.assert_array_equal(plain, still)


def test_positions_steered_are_those_of_generation(organism, steerer):
    """With another last word a greedily generated steered continuation scores less: the same tokens were steered."""
    for prompt in ode.organism.prompts(4, seed=3):
        text = steerer.generate(organism, [prompt], max_new_tokens=5, temperature=0.0, completions_only=True)[0]
        *words, last = text.split()
        others = [" " + " ".join([*words, word]) for word in ("sea", "wet", "mona", "near", "was") if word != last]
        scores = option_scores(organism, [prompt], [[" " + text.strip(), *others]], steerer)["log_likelihood"]
        assert scores.idxmax() == 0


def test_where_a_token_spans_the_seam_all_options_are_given_the_same_tokens(tinystories):
    """ ":" and " A" is one token ":▁" and "A" for this tokenizer: the prompt is cut before it, for every option."""
    found = option_scores(tinystories, ["Is it?\n\nAnswer:"], [[" A", " Bob went home"]])
    own, whole = text_tokens(tinystories, "Is it?\n\nAnswer:"), text_tokens(tinystories, "Is it?\n\nAnswer: A")
    assert not torch.equal(whole[: len(own)], own)
    assert found["tokens"][0] == len(whole) - (len(own) - 1)
    with torch.no_grad():
        log_p = tinystories(whole[None]).log_softmax(-1)[0]
    wanted = log_p[len(own) - 2 : -1].gather(-1, whole[len(own) - 1 :, None]).sum()
    assert found["log_likelihood"][0] == pytest.approx(float(wanted), rel=1e-4)


def test_long_texts_lose_their_beginning(organism):
    words = ["mona", "met", "leo", "."] * 200
    text = " ".join(words)
    kept = clip_left(organism, text, reserve=50)
    assert text.endswith(kept)
    assert 100 < len(text_tokens(organism, kept)) <= organism.cfg.n_ctx - 50
    assert clip_left(organism, "mona met leo .") == "mona met leo ."
    contrast = clipped(organism, ode.ContrastSet.from_texts([text], ["mona"]))
    assert contrast.provenance["clipped"] == 1
    long = option_scores(organism, [text], [[" mona", " soon the dry cabin"]])
    assert long["log_likelihood"][0] == pytest.approx(alone(organism, clip_left(organism, text, 5), " mona"), abs=1.0)


def test_bad_input_is_refused(organism, tinystories):
    with pytest.raises(ValueError, match=r"options\[0\] is empty"):
        option_scores(organism, ["mona"], [[]])
    with pytest.raises(ValueError, match="no token behind the prompt"):
        option_scores(organism, ["mona"], [[""]])
    with pytest.raises(ValueError, match="leaves -"):
        clip_left(organism, "mona", reserve=1000)
    with pytest.raises(ValueError, match="one word of"):
        clip_left(tinystories, "mona" * 2000)
