"""Exact judging of texts under the grammar: posteriors of the latents by Bayes, fluency, and whether a text parses.

The grammar is unambiguous and only the side of an antonym pair depends on a latent. Hence, for a text of the grammar,
    P(words, z) = structure(words) · ∏_latents ½ · ∏_{pair words w of that latent} P(side of w | z_latent),
and the posterior of a latent is a product over its pair words alone, wherever in the text they stand.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log

import pandas as pd

from odesteer_tl._check import require_texts

from .lexicon import CLASSES, LATENTS
from .rules import BOUNDARY, RULES, START, stop_probability

COLUMNS = ("valence", "agreement", "log_likelihood", "parses", "n_words")


@dataclass(frozen=True)
class _Step:
    """What a state does with a word: log-probability of arc and choice (not of the side), and the next state."""

    log_probability: float
    target: str


@dataclass(frozen=True)
class _Evidence:
    """What a word says: its latent, and the log-probability of its side if that latent is 0 or 1."""

    latent: int
    if_low: float
    if_high: float


def _evidence_table() -> dict[str, _Evidence]:
    table: dict[str, _Evidence] = {}
    for word_class in CLASSES.values():
        if word_class.latent is None:
            continue
        latent = LATENTS.index(word_class.latent)
        for choice in word_class.choices:
            likely, unlikely = log(1 - choice.noise), log(choice.noise)
            table[choice.high] = _Evidence(latent, if_low=unlikely, if_high=likely)
            table[choice.low] = _Evidence(latent, if_low=likely, if_high=unlikely)
    return table


def _step_table() -> dict[str, dict[str, _Step]]:
    return {
        state: {
            word: _Step(log(arc.probability / len(CLASSES[arc.word_class].choices)), arc.target)
            for arc in arcs
            for word in CLASSES[arc.word_class].words
        }
        for state, arcs in RULES.items()
    }


_EVIDENCE = _evidence_table()
_STEPS = _step_table()


@dataclass(frozen=True)
class Parse:
    """The longest prefix of a text that the grammar can produce.

    `n_parsed`: its length in words. `log_probability`: natural log of the probability that a text of the grammar
    begins with it, the latents summed out; 0 for the empty prefix. `sentences`: full stops in it. `at_boundary`:
    it ends with a full stop.
    """

    n_parsed: int
    log_probability: float
    sentences: int
    at_boundary: bool


def parse(words: Sequence[str]) -> Parse:
    """Follows the grammar as far as `words` allow. Never fails: what does not parse shows as a short prefix."""
    state, sentences, structure, n_parsed = START, 0, 0.0, 0
    for word in words:
        step = _STEPS[state].get(word)
        going_on = 1.0 - stop_probability(sentences) if state == BOUNDARY else 1.0
        if step is None or going_on == 0.0:
            break
        structure += step.log_probability + log(going_on)
        state = step.target
        sentences += state == BOUNDARY
        n_parsed += 1
    sides = sum(_log_marginal(low, high) for low, high in _latent_log_likelihoods(words[:n_parsed]))
    return Parse(n_parsed, structure + sides, sentences, at_boundary=n_parsed > 0 and state == BOUNDARY)


def text_log_probability(words: Sequence[str]) -> float:
    """Natural log of the probability of `words` as a *complete* text, its end included; −inf if it is not one."""
    parsed = parse(words)
    stop = stop_probability(parsed.sentences) if parsed.at_boundary else 0.0
    if parsed.n_parsed < len(words) or stop == 0.0:
        return float("-inf")
    return parsed.log_probability + log(stop)


def judge(texts: Sequence[str]) -> pd.DataFrame:
    """Judges texts, opening included (words and full stops separated by white space), one row a text.

    Columns:

    - `valence`: P(valence = 1 | text). From every pair word in the text. For a text that parses this is Bayes' rule
      under the grammar, exactly; for one that does not, the same product over the words recognised, wherever they
      stand; words outside the vocabulary say nothing. One half where no word says anything.
    - `agreement`: P(weather = place | text), in the same way.
    - `log_likelihood`: nats per word of the longest parsed prefix: log P(a text of the grammar begins with this
      prefix), latents summed out, over the prefix's length. It says nothing of what follows the prefix. NaN where
      the prefix is empty.
    - `parses`: whether the whole text is a non-empty prefix of a text of the grammar (a generation may be cut
      anywhere). An empty text does not parse.
    - `n_words`: words in the text, full stops included.

    A concept succeeds where its column exceeds one half. Raises TypeError if `texts` is a single string, ValueError if
    it holds something else than strings.

    Args:
        texts: openings with their continuations.

    Returns:
        One row a text, columns as above.
    """
    if isinstance(texts, str):
        raise TypeError("texts is a single string; pass a sequence of texts, such as [text]")
    return pd.DataFrame([_judge_one(text.split()) for text in require_texts("texts", texts)], columns=list(COLUMNS))


def _judge_one(words: list[str]) -> tuple[float, float, float, bool, int]:
    parsed = parse(words)
    valence, weather, place = (_posterior(low, high) for low, high in _latent_log_likelihoods(words))
    agreement = weather * place + (1 - weather) * (1 - place)  # the latents stay independent given the text
    per_word = parsed.log_probability / parsed.n_parsed if parsed.n_parsed else float("nan")
    return valence, agreement, per_word, 0 < len(words) == parsed.n_parsed, len(words)


def _latent_log_likelihoods(words: Sequence[str]) -> list[tuple[float, float]]:
    """For each latent the log-probability of the sides its pair words took, if it is 0 and if it is 1."""
    low, high = [0.0] * len(LATENTS), [0.0] * len(LATENTS)
    for word in words:
        evidence = _EVIDENCE.get(word)
        if evidence is not None:
            low[evidence.latent] += evidence.if_low
            high[evidence.latent] += evidence.if_high
    return list(zip(low, high, strict=True))


def _log_marginal(low: float, high: float) -> float:
    top = max(low, high)
    return top + log(0.5 * exp(low - top) + 0.5 * exp(high - top))


def _posterior(low: float, high: float) -> float:
    if high >= low:
        return 1.0 / (1.0 + exp(low - high))
    return exp(high - low) / (1.0 + exp(high - low))
