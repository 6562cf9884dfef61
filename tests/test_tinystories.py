"""End to end on a real pretrained model: happy and sad prompts, whole continuations scored."""

from itertools import pairwise

import pytest
import torch

import odesteer_tl as ode
from tests.problems import log_probability

NAMES = ("Lily", "Tom", "Ben", "Mia", "Sara", "Max", "Anna", "Sam", "Tim", "Lucy")
HAPPY = ("{n} was so happy. {n} smiled and laughed", "{n} loved the fun day. It was the best",
         "{n} got a nice gift and felt great joy", "{n} played with a good friend and was glad")  # fmt: skip
SAD = ("{n} was so sad. {n} cried and cried", "{n} hated the bad day. It was the worst",
       "{n} lost a nice gift and felt great pain", "{n} fell down alone and was hurt")  # fmt: skip
STARTS = ["went to the park", "saw a dog", "sat at home"]
PROMPTS = [f"One day, {n} {start}." for n in ("Jack", "Amy", "Rose") for start in STARTS]
ENDINGS = {
    "happy": (" She was very happy.", " He smiled and laughed.", " It was a good day."),
    "sad": (" She was very sad.", " He cried and cried.", " It was a bad day."),
}
LAYER = 0


@pytest.fixture(scope="module")
def contrast():
    return ode.ContrastSet.from_texts(*([t.format(n=n) for n in NAMES for t in side] for side in (HAPPY, SAD)))


@pytest.fixture(scope="module")
def steerer(tinystories, contrast):
    return ode.fit("odesteer_kernel", tinystories, contrast, layer=LAYER, angle=0.3)


def happy_log_odds(model, steerer=None):
    """Mean over prompts of log Σ p(happy endings) − log Σ p(sad endings)."""
    found = []
    for prompt in PROMPTS:
        scores = {
            mood: torch.tensor([log_probability(model, prompt, e, steerer) for e in endings]).logsumexp(0)
            for mood, endings in ENDINGS.items()
        }
        found.append(float(scores["happy"] - scores["sad"]))
    return sum(found) / len(found)


def test_odds_of_happy_endings_rise_with_the_angle(tinystories, steerer):
    angles = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
    odds = [happy_log_odds(tinystories, steerer.at(ode.Flow(angle=angle))) for angle in angles]
    assert odds[0] == pytest.approx(happy_log_odds(tinystories), abs=1e-6)
    assert all(later > earlier for earlier, later in pairwise(odds)), odds
    assert odds[-1] > odds[0] + 3, odds


def test_no_random_direction_does_as_much(tinystories, contrast):
    """After the last block. In the middle one some random directions of this angle gain as much: see the odds there as
    a rise with the angle, not as an effect above placebo."""
    method = ode.fit("odesteer_kernel", tinystories, contrast, layer=1, angle=0.3)
    placebos = [ode.fit("random", tinystories, contrast, layer=1, angle=0.3, seed=k) for k in range(8)]
    unsteered = happy_log_odds(tinystories)
    gains = [happy_log_odds(tinystories, s) - unsteered for s in [method, *placebos]]
    assert gains[0] > max(gains[1:]), gains


def test_steered_text_stays_text(tinystories, steerer):
    """At the chosen strength the unsteered model still finds the steered text likely, and words do not just repeat."""
    openings = [prompt.rstrip(".") + " and" for prompt in PROMPTS]
    texts = steerer.generate(tinystories, openings, max_new_tokens=30, temperature=0.7, completions_only=True)
    plain = ode.generate(tinystories, openings, max_new_tokens=30, temperature=0.7, completions_only=True)

    def per_token(found):
        scores = [log_probability(tinystories, p, " " + t) for p, t in zip(openings, found, strict=True)]
        lengths = [tinystories.to_tokens(t).shape[1] for t in found]
        return sum(scores) / sum(lengths)

    def distinct(found):
        return sum(len(set(t.split())) / len(t.split()) for t in found) / len(found)

    assert all(texts)
    assert per_token(texts) > per_token(plain) - 1.0
    assert distinct(texts) > 0.8 * distinct(plain)


def test_every_step_is_certified_on_held_out_prompts(tinystories, steerer):
    both = ode.ContrastSet.from_texts(PROMPTS, PROMPTS)
    a = ode.collect_activations(tinystories, both, [LAYER])[LAYER].positive
    path = steerer.flow.solve(steerer.field, a, record=True)
    assert ode.certify_path(steerer.field.barrier, path.points).certified.all()
