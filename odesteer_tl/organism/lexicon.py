"""The words of the grammar, in classes; which of them carry a latent, and how noisily.

A class is either *neutral* (its words are equally likely, whatever the latents) or belongs to one latent and is made
of antonym *pairs*. A pair `(high, low)` with noise ε emits `high` with probability 1 − ε when its latent is 1 and ε
when it is 0; which pair is used never depends on the latent. So each word carries exactly `±log((1 − ε)/ε)` nats about
one latent and nothing about anything else. No word stands in two classes, which keeps every parse unambiguous.
"""

from dataclasses import dataclass
from itertools import cycle
from typing import Literal

LatentName = Literal["valence", "weather", "place"]
LATENTS: tuple[LatentName, ...] = ("valence", "weather", "place")

# Noise differs from pair to pair so that two opposite words rarely cancel exactly: a posterior of precisely one half
# would be judged a failure whatever the steering did. The mean is 12 % for valence. Weather and place have half of
# that: at 12 % a model of this size had not learned place at all by the end of its training.
NOISES: dict[LatentName, tuple[float, ...]] = {
    "valence": (0.08, 0.12, 0.16, 0.10, 0.14),
    "weather": (0.04, 0.06, 0.08, 0.05, 0.07),
    "place": (0.04, 0.06, 0.08, 0.05, 0.07),
}


@dataclass(frozen=True)
class Choice:
    """One equally likely draw from a class: a neutral word, or a pair whose latent (and noise) picks the word.

    `high` and `low` are the words for a latent of 1 and 0; for a neutral word they are the same and `noise` is 0.
    """

    high: str
    low: str
    noise: float


@dataclass(frozen=True)
class WordClass:
    """A class of words: the latent it expresses (None: neutral) and its equally likely choices."""

    latent: LatentName | None
    choices: tuple[Choice, ...]

    @property
    def words(self) -> tuple[str, ...]:
        """Every word of the class, high before low."""
        if self.latent is None:
            return tuple(choice.high for choice in self.choices)
        return tuple(word for choice in self.choices for word in (choice.high, choice.low))


def _neutral(words: str) -> WordClass:
    return WordClass(None, tuple(Choice(word, word, 0.0) for word in words.split()))


def _pairs(latent: LatentName, pairs: str) -> WordClass:
    split = (pair.split("/") for pair in pairs.split())
    return WordClass(
        latent, tuple(Choice(high, low, noise) for (high, low), noise in zip(split, cycle(NOISES[latent])))
    )


CLASSES: dict[str, WordClass] = {
    "stop": _neutral("."),
    "and": _neutral("and"),
    "with": _neutral("with"),
    "name": _neutral("anna ben clara david emma felix greta henry iris jonas karla leo mona nils olga paul"),
    "determiner": _neutral("the this that our their"),
    "time": _neutral("later today again soon meanwhile afterwards"),
    "preposition": _neutral("near behind beside under before past"),
    "copula": _neutral("was seemed looked became"),
    "adjective": _neutral("old small young round quiet plain tall narrow green spare"),
    "noun": _neutral(
        "letter table teacher child clock bottle basket visitor painter window doctor ladder "
        "book neighbor wagon bench lamp dog button stranger blanket map carpenter cat"
    ),
    "verb": _neutral("saw found watched moved carried met followed noticed described touched held passed"),
    "valence adjective": _pairs(
        "valence",
        "lovely/dreadful cheerful/gloomy kind/cruel sweet/bitter gentle/harsh "
        "charming/horrid splendid/awful pleasant/nasty joyful/miserable delightful/hateful",
    ),
    "valence adverb": _pairs(
        "valence", "gladly/sadly happily/grimly warmly/coldly kindly/cruelly proudly/bitterly eagerly/wearily"
    ),
    "valence verb": _pairs(
        "valence",
        "praised/blamed loved/hated admired/despised enjoyed/dreaded welcomed/feared "
        "thanked/scolded trusted/doubted cherished/ruined",
    ),
    "valence noun": _pairs("valence", "joy/grief hope/despair delight/sorrow peace/anger luck/misery laughter/tears"),
    "weather adjective": _pairs("weather", "sunny/rainy dry/wet clear/cloudy dusty/muddy"),
    "weather noun": _pairs("weather", "sunshine/rain parasol/umbrella sunhat/raincoat heat/storm dust/puddle"),
    "place adjective": _pairs("place", "coastal/alpine sandy/rocky salty/mossy marine/wooded"),
    "place noun": _pairs(
        "place",
        "beach/valley boat/cabin gull/eagle harbor/meadow sailor/shepherd",
    ),
}
VOCABULARY: tuple[str, ...] = tuple(word for word_class in CLASSES.values() for word in word_class.words)
