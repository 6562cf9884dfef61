"""Concepts to steer real models by, each a contrast, prompts and outcomes (`Concept`).

`sentiment`, `language`, `capitals` and `questions` are written here, and `sentiment_own` by the model; `truthfulness`,
`sycophancy`, `hate` and `axbench` read others' data from a path. `python -m analyses.concepts NAME` writes one as the
files that the studies take.
"""

from analyses.concepts.answers import sycophancy as sycophancy
from analyses.concepts.answers import truthfulness as truthfulness
from analyses.concepts.axbench import axbench as axbench
from analyses.concepts.concept import Concept as Concept
from analyses.concepts.hate import hate as hate
from analyses.concepts.language import language as language
from analyses.concepts.own import sentiment_own as sentiment_own
from analyses.concepts.sentiment import sentiment as sentiment
from analyses.concepts.surface import capitals as capitals
from analyses.concepts.surface import questions as questions
