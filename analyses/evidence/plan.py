"""What is asked of two real models, and how it will be decided: written down before anything is run, but for what is
said here to have been added later.

Every comparison is of one prompt with itself under two ways to steer, at equal KL of the next token's distribution
from the unsteered model's. Wordings that a method was fitted on are in no prompt. Layer and strength are chosen on one
part of the prompts (`select`) and reported on the other (`test`).

Primary. Does an ODE do anything that one step does not? The kernel barrier's geodesic flow of ten steps against one
geodesic step of the same length, at every layer and level: the difference of the outcome's score, over concepts and
prompts by a bootstrap that draws concepts first and prompts within them. Equivalent, if by the paired exact test (of
successes) the difference is within ±.05, or for log-odds if the 90 % interval of the mean is within ±.25 nats. (The
verdict by Student's t over concepts, in the place of a bootstrap of so few: added here after the results, since that
bootstrap was found too narrow; the bootstrap's stand beside it.)

Secondary. The kernel barrier against the published one (as published: ten Euler steps), and against CAA, in the same
way. The kernel's held-out log loss against the published sketch's and against a linear barrier with its own
cross-validated C, in every (model, concept, layer): in how many of them it is lower, by an interval over groups that
leaves out zero, and whether a lower log loss goes with a higher score at equal KL (rank correlation over cells, with
an interval by concepts).

Certification. Of every layer, on the concept's prompts: up to which angle the published flow never falls, along how
many of its paths the barrier falls at all, and how many are proved; no share without the held-out AUC beside it.
(These angles in the place of others, more of them between 1 and 2 rad: changed here when the flow had been seen to
climb up to 1.)

Likelihood. Of five layers, with a fifth of the wordings for the barrier, a quarter for the densities, 40 % for their
calibration and 15 % to report on. What is steered are negative texts of the last part, at the position at which the
densities were fitted: the prompts of the layer study end elsewhere, and start off the data of both classes (at layer 16
of SmolLM2 their log p₊ is −10,587 nats on average, that of held-out positives −1,091; it was first run so, and this
was changed here then). Asked: where log p₊ peaks along a path (T*), how far off real positives it is there, and whether
log p₊ of the steered state goes with the score once the angle is partialled out: with the judge's score and the fluency
of the texts written behind them, within every
method and strength. Of Gemma's language and questions no steered texts are written: the tokens of the
unsteered model's own are scored instead (added here when both had been run so).

Layers. Methods are fitted on all wordings, and h is calibrated and reported on by wordings left out in turn: none of
them is in a prompt.

Texts. What the log-odds of a few words say is asked again of a judge of texts, at three layers and the middle level of
KL: 20 tokens are written behind every prompt. On questions of SmolLM2, at all ten layers and three levels, as a study
of that size was run to learn what it costs (all three levels: added here later). On sentiment, whose contrast is of
completions, this is asked once more with a contrast of the model's own texts and one of labelled sentences of a corpus,
on the same prompts.

Predictors. Of the layer with the best test score at the middle level: each indicator's regret, in score, on prompts
that it was not chosen on; a layer drawn at random beside them. Named after the first two concepts had been looked at,
and so no more than described: LAP, NBF, and a layer for every prompt (W2S) against the best for all. Named after all
regrets had been looked at: the gain in log p₊, in a study of its own, since densities take wordings from the methods
(the fractions of the likelihood study); its regret is of that study's scores, at the same layers and level. NBF is
measured in that study, too: the layer study does not record it of what is steered.

Detection. AxBench's first ten concepts of Gemma-2's layer 20, at one layer, two thirds through: the area under the ROC
curve of every score that the library has, over concepts; the published order of methods beside ours. Its set for layer
10, of which every concept has hard negatives, is asked the same at the same layers, of all scores but ReFT-r1, which
takes half an hour; concept by concept too.

Steering on AxBench. Its concepts 0, 3 and 4, without a language model that judges: by how many nats likelier a steered
model finds held-out texts of the concept (240 characters, some 50 tokens) than other texts, behind instructions that
neither answers, at equal KL of what the unsteered model itself goes on to write (the instruction's last token and seven
more), at three layers and the middle level. The pairs of ways are those above: primary, the flow against one geodesic
step; secondary, against the published barrier and against CAA; the placebo beside them. The unit is a pair of texts,
each behind two instructions: a third of the 36 is there to choose a layer on, two thirds are reported on. Equivalent,
if the 90 % interval of the mean is within ±1 nat, a fiftieth a token. These are other nats than those of single words,
so they are pooled by themselves, over concepts and models. Fluency beside it: the log-likelihood of 20 written tokens
under the unsteered model, their repetition and emptiness, and the KL on the instructions' own tokens. The other
seventeen concepts of the two sets were added here when those three had been reported on both models, and before any of
them was run: the same models, layers, level, pairs of ways and margin. The verdict on each pair is that of Student's t
over concepts, each the mean over layers and both models; over the seventeen alone, which nobody had seen, beside that
over all twenty. A concept at whose KL a random direction does as much as a method is no success of that method: in how
many cells that is so is said.

Answers and letters. TruthfulQA's questions, of which one half is fitted on, and CAA's 50 of sycophancy, asked in the
chat template; at three layers and the middle level of KL: of whole answers over the first eight tokens that are
written, of letters over the next. Success is the likeliest answer's being a correct one (MC1), or the letter that
agrees. The pairs of ways are those above. Two of them are equivalent at a layer, if by the paired exact test the
difference of success is within ±.05. Of 200 questions this can be shown where they part on up to a tenth, half of them
each way; of 33 never: even if they part on none, p is .18. So of letters an effect can be seen, and no equivalence.
Beside them: MC2, the correct answers' share of the probability; and the share of (A), as who says one letter to
everything succeeds on half of the questions, and is neither agreeing nor disagreeing. Pooled over nothing: one or two
models of a concept are no sample. SmolLM2 alone has a chat template; Gemma-3-270m, a base model, is asked TruthfulQA's
plain questions alone.

Hate. HateCheck's cases are read, of templates left out, at every layer; and with a steer toward the hateful ones 20
tokens are written of people, of whom nothing bad is asked, and judged for profanity, which is not hate: a text may
hate in clean words. Unsteered texts are hardly ever profane, so what can be shown is that a steer raises it. Both
models.

Audit of all methods, fitted and trained through the model (`analyses.method_audit`). The declared test: the mean of all
trained methods less the mean of all fitted ones, of each prompt's change of the score, at .3 rad and at .1 nats of KL
(`AUDIT`); one test a budget, by units of prompts, Holm over all declared tests of an audit. It has been what the audit
tests by itself, without an option, since commit 8811f4d. `bipo` against `curveball` is no such test: that pair was
picked after the first audit of sentiment had been looked at, and is named there alone, on the command line. When this
was declared:

- Sentiment, SmolLM2: after first results. Its audit was first reported at 700d464, before 8811f4d, and run again at
  0837348 with the test.
- AxBench's concepts 0 and 3, SmolLM2: by the code, not in this file. Both ran at 0a381d7, of which 8811f4d is an
  ancestor twelve hours older; the results were committed at 2239db0. Concept 0 with another seed, four methods: after
  these.
- AxBench's concept 4: by the code too, after the results of 0 and 3. It was running when this paragraph was written.
- Every further audit: by this paragraph.

A floor or a ceiling is said: unsteered within its interval of 0 or 1 leaves nothing to compare.
"""

from __future__ import annotations

from dataclasses import dataclass

#: radians, of paths that are certified
ANGLES = (0.1, 0.3, 0.5, 0.7, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0)
#: nats, of the next token; the middle one, at which texts are written and layers are predicted
KL = (0.03, 0.1, 0.3)
LEVEL = KL[1]
#: radians, at which the likelihood study writes
STRENGTHS = (0.2, 0.4, 0.8)
#: of wordings, for the likelihood's barrier, densities, calibration and report
FRACTIONS = (0.2, 0.25, 0.4, 0.15)
#: the paired difference of successes, and of log-odds, within which two ways to steer are equivalent
MARGIN, NATS = 0.05, 0.25
#: the same of the log-likelihoods of whole texts
TEXT_NATS = 1.0
#: of the declared test of an audit: radians, and nats of KL
AUDIT = (0.3, LEVEL)
#: AxBench's concepts are this and their number; of all together detection is asked
AXBENCH = "axbench-concept10_2b_l20"
#: the same of its set for layer 10
AXBENCH_OTHER = "axbench-concept10_2b_l10"


@dataclass(frozen=True)
class Asked:
    """What is asked of a concept.

    Attributes:
        studies: in this order.
        path: the option of the command line that names its files, where those are not ours.
        select, test: prompts to choose on, and to report on.
    """

    studies: tuple[str, ...]
    path: str = ""
    select: int = 50
    test: int = 100


#: of concepts written here, and of others by how their names begin
OWN = Asked(("certification", "readers", "lenses", "layers", "texts", "likelihood", "densities"))
#: AxBench's concepts of which more is asked than steering, and the others; two prompts a pair of texts
FIRST = tuple(f"{AXBENCH}-{number}" for number in (0, 3, 4))
LATER = tuple(
    name for name in (f"{of}-{number}" for of in (AXBENCH, AXBENCH_OTHER) for number in range(10)) if name not in FIRST
)
ASKED = {
    **dict.fromkeys(FIRST, Asked(("certification", "readers", "steering"), "axbench", 24, 48)),
    AXBENCH: Asked(("steering",), "axbench", 24, 48),
    AXBENCH_OTHER: Asked(("steering",), "axbench_other", 24, 48),
    "truthfulness": Asked(("readers", "answers"), "truthfulqa", 50, 200),
    "sycophancy": Asked(("readers", "letters"), "caa", 17, 33),
    "hate": Asked(("readers", "texts"), "hatecheck"),
    "sentiment-own": Asked(("readers", "texts")),
    "sentiment-corpus": Asked(("readers", "texts"), "corpus"),
}


def asked(concept: str) -> Asked:
    """What is asked of a concept, by its name."""
    return next((of for start, of in ASKED.items() if concept.startswith(start)), OWN)


@dataclass(frozen=True)
class Studied:
    """A model and where in it.

    Attributes:
        name: as `load_model` knows it.
        layers: of the layer study. likelihood: of the likelihood study. texts: of the study with another judge, of
            steering on AxBench, of answers and of letters. All layers are certified.
        detection: the layer at which AxBench's detection task is asked.
        concepts: with written contrasts. further: of which less is asked (`ASKED`): those read from a path, and
            sentiment once more, contrasted by what the model writes itself and by a corpus's labelled sentences.
        at_all: concepts whose texts are written at all layers of the layer study and all levels of KL.
        unsteered: concepts whose likelihood study scores the unsteered model's texts, and writes no steered ones.
    """

    name: str
    layers: tuple[int, ...]
    likelihood: tuple[int, ...]
    texts: tuple[int, ...]
    concepts: tuple[str, ...]
    detection: int
    further: tuple[str, ...] = ()
    at_all: tuple[str, ...] = ()
    unsteered: tuple[str, ...] = ()


MODELS = (
    Studied(
        "smollm2",
        (3, 6, 9, 12, 14, 16, 18, 20, 23, 26),
        (6, 12, 16, 20, 26),
        (12, 20, 26),
        ("sentiment", "capitals", "questions"),
        20,
        (*FIRST, "sentiment-own", "sentiment-corpus", "truthfulness", "sycophancy", "hate", *LATER),
        at_all=("questions",),
    ),
    Studied(
        "gemma-3-270m",
        (2, 4, 6, 8, 9, 10, 12, 14, 15, 16),
        (3, 7, 9, 12, 15),
        (9, 12, 15),
        ("sentiment", "language", "questions"),
        12,
        (*FIRST, "truthfulness", "hate", *LATER),
        unsteered=("language", "questions"),
    ),
)
#: of the layer study, as `LAYER_ARMS` names them; the placebo is always among them
ARMS = ("caa", "odesteer", "odesteer_kernel, one step", "odesteer_kernel", "optimal_cap", "on_manifold")
#: of AxBench's steering, whose cells are dear: those that are compared
AXBENCH_ARMS = ARMS[:4]
#: whose layer the indicators pick
INDICATED = "odesteer_kernel"
