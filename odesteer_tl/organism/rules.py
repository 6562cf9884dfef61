"""The rules of the grammar: an automaton whose states and arcs know nothing of the latents.

No state has two arcs whose classes share a word, so a word decides the arc: a text has one parse. Nearly every state
behind the opening can emit a word of every latent: whoever predicts the next word must know all three all the time.
"""

from dataclasses import dataclass

MIN_SENTENCES, MAX_SENTENCES = 5, 8  # in a text, its opening included


@dataclass(frozen=True)
class Arc:
    """One way out of a state: the class that emits the word, its probability, and the state after the word."""

    word_class: str
    probability: float
    target: str


def _rule(*arcs: tuple[str, float, str]) -> tuple[Arc, ...]:
    return tuple(Arc(*arc) for arc in arcs)


def _noun_phrase(here: str, after: str) -> dict[str, tuple[Arc, ...]]:
    """States `here` (behind a determiner) and `here`+adjective; both leave through a noun to `after`."""
    noun = f"{here}, adjective"
    return {
        here: _rule(
            ("valence adjective", 0.20, noun),
            ("weather adjective", 0.20, noun),
            ("place adjective", 0.20, noun),
            ("adjective", 0.06, noun),
            ("noun", 0.04, after),
            ("weather noun", 0.15, after),
            ("place noun", 0.15, after),
        ),
        noun: _rule(("noun", 0.20, after), ("weather noun", 0.40, after), ("place noun", 0.40, after)),
    }


def _neutral_phrase(here: str, after: str) -> dict[str, tuple[Arc, ...]]:
    noun = f"{here}, adjective"
    return {here: _rule(("adjective", 0.5, noun), ("noun", 0.5, after)), noun: _rule(("noun", 1.0, after))}


START = "opening"  # the state before the first word
BOUNDARY = "sentence"  # the state behind a full stop: a new sentence, or the end of the text
RULES: dict[str, tuple[Arc, ...]] = {
    START: _rule(("name", 1.0, "opening verb")),
    "opening verb": _rule(("verb", 1.0, "opening determiner")),
    "opening determiner": _rule(("determiner", 1.0, "opening object")),
    **_neutral_phrase("opening object", "opening tail"),
    "opening tail": _rule(("stop", 0.5, BOUNDARY), ("preposition", 0.5, "opening place determiner")),
    "opening place determiner": _rule(("determiner", 1.0, "opening place")),
    **_neutral_phrase("opening place", "opening end"),
    "opening end": _rule(("stop", 1.0, BOUNDARY)),
    BOUNDARY: _rule(
        ("determiner", 0.40, "subject"),
        ("name", 0.22, "predicate"),
        ("time", 0.13, "late subject"),
        ("valence adverb", 0.25, "late subject"),
    ),
    "late subject": _rule(("determiner", 0.65, "subject"), ("name", 0.35, "predicate")),
    **_noun_phrase("subject", "predicate"),
    "predicate": _rule(
        ("valence adverb", 0.25, "verb"),
        ("valence verb", 0.30, "object"),
        ("verb", 0.25, "object"),
        ("copula", 0.20, "property"),
    ),
    "verb": _rule(("valence verb", 0.5, "object"), ("verb", 0.5, "object")),
    "object": _rule(("determiner", 0.80, "thing"), ("name", 0.08, "tail"), ("valence noun", 0.12, "tail")),
    **_noun_phrase("thing", "tail"),
    "property": _rule(
        ("valence adjective", 0.29, "tail"),
        ("weather adjective", 0.33, "tail"),
        ("place adjective", 0.33, "tail"),
        ("adjective", 0.05, "tail"),
    ),
    "tail": _rule(
        ("stop", 0.40, BOUNDARY),
        ("preposition", 0.30, "where"),
        ("with", 0.15, "feeling"),
        ("and", 0.15, "predicate"),
    ),
    "where": _rule(("determiner", 1.0, "location")),
    **_noun_phrase("location", "end"),
    "feeling": _rule(("valence noun", 1.0, "end")),
    "end": _rule(("stop", 0.75, BOUNDARY), ("and", 0.25, "predicate")),
}


def stop_probability(sentences: int) -> float:
    """Probability that a text ends after its `sentences`-th full stop, given that it got that far."""
    if sentences < MIN_SENTENCES:
        return 0.0
    return 1.0 / (MAX_SENTENCES - sentences + 1) if sentences < MAX_SENTENCES else 1.0
