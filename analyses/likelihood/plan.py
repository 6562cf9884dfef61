"""The first stage: texts, splits and starts of a likelihood study, checked before any model is loaded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, get_args

import odesteer_tl as ode
from analyses.likelihood.study import Settings
from analyses.outcomes import TextOutcome, open_outcome
from analyses.sources import refuse_blank, require_different_texts
from odesteer_tl._words import require_texts

if TYPE_CHECKING:  # a plan is made before what fits anything is imported
    from analyses.likelihood.jury import Rotation

SPLITS = ("barrier", "density", "calibration", "test")
#: of groups, each left out in turn under `cross_fit`
BLOCKS = 5
#: prompts a class that a rank of 2.5 % needs (`densities.calibration.LEAST_HELD_OUT`, whose module needs more than
#: a plan does), that a density is fitted to, that the barrier's five folds need, and that intervals need
LEAST = {"barrier": 10, "density": 12, "calibration": 40, "test": 5}


@dataclass(frozen=True, eq=False)
class Plan:
    """What will be done, and on what; made without a model.

    Attributes:
        parts: of the contrast, in the order of `names`; the test part's negatives are what is steered.
        judged: what judges the texts, as `outcome_of` takes it; None where nothing does.
    """

    settings: Settings
    contrast: ode.ContrastSet
    parts: tuple[ode.ContrastSet, ...]
    judged: Any

    @classmethod
    def of(
        cls,
        settings: Settings,
        contrast: ode.ContrastSet,
        prompts: Sequence[str] | None = None,
        judged: Any = None,
    ) -> Plan:
        """Split and count.

        Args:
            prompts: what is steered; left out, the negative texts of the test split.

        Raises:
            ValueError: too few pairs, classes of the same texts, a prompt that is none or stands in the contrast, or a
                judge that fails on a text, or would have none to judge.
        """
        if (outcome := outcome_of(judged)) is not None:
            outcome.check()
            if not settings.writes(True) and judged not in get_args(ode.organism.Concept):
                raise ValueError(
                    f"outcome={outcome.name!r} judges steered texts, and with texts={settings.texts!r}, "
                    f"cross_fit={settings.cross_fit} none are written; leave it out, or ask for texts without cross_fit"
                )
        require_different_texts(contrast)
        if prompts is not None and not len(prompts):
            raise ValueError("prompts is empty; give at least one")
        if settings.cross_fit:
            *blocks, test = _blocks(settings, contrast)
            test = _starting(test, blocks, None if prompts is None else require_texts("prompts", prompts))
            if len(test.negative) < LEAST["test"]:
                raise ValueError(
                    f"prompts has {len(test.negative)}; intervals need at least {LEAST['test']}, give more"
                )
            return cls(settings, contrast, (*blocks, test), judged)
        parts = contrast.split(settings.fractions, settings.seed)
        starts = parts[3].negative if prompts is None else tuple(require_texts("prompts", prompts))
        sizes = {name: min(len({*part.positive_groups}), len({*part.negative_groups}))
                 for name, part in zip(SPLITS, parts, strict=True)}  # fmt: skip
        sizes["test"] = min(len(parts[3].positive), len(starts))
        for (name, n), fraction in zip(sizes.items(), settings.fractions, strict=True):
            if n < LEAST[name]:
                needed = max(math.ceil(least / x) for least, x in zip(LEAST.values(), settings.fractions, strict=True))
                raise ValueError(
                    f"contrast has {len(contrast.positive)} + {len(contrast.negative)} texts, of which fractions="
                    f"{settings.fractions} leave {n} for the {name}, and at least {LEAST[name]} are needed: methods, "
                    f"densities, calibration and test share no text, and a rank of 2.5 % takes {LEAST['calibration']} "
                    f"held-out prompts; give about {needed} pairs, or more than {fraction:g} for the {name}, or say "
                    f"--cross-fit, for which {LEAST['calibration'] + LEAST['test']} are enough"
                )
        return cls(settings, contrast, (*parts[:3], _starting(parts[3], parts[:3], prompts)), judged)

    @property
    def outcome(self) -> TextOutcome | None:
        """What judges the texts; made anew, since it may be nothing that can be sent to another process."""
        return outcome_of(self.judged)

    @property
    def writes(self) -> bool:
        """Whether every arm writes texts of its own."""
        return self.settings.writes(self.judged is not None)

    def rotated(self, acts: Sequence[ode.LayerActivations]) -> list[Rotation]:
        """Activations of the parts at a layer, to fit methods on, to fit densities on, and to calibrate on.

        Once; under `cross_fit` once a block, which is calibrated on: the next two are for methods, the others for
        densities.
        """
        if not self.settings.cross_fit:
            return [(acts[0], acts[1], acts[2])]
        from analyses.certification.texts import joined  # whose statistics need more than a plan does

        after = [[acts[(k + i) % BLOCKS] for i in range(BLOCKS)] for k in range(BLOCKS)]
        return [(joined(*block[1:3]), joined(*block[3:]), block[0]) for block in after]

    def described(self) -> dict[str, Any]:
        """Everything that determines a layer's numbers but the model and the layer, JSON-able."""
        settings, outcome = asdict(self.settings), self.outcome
        # an object may have any threshold; one that is spelled has its own
        given = outcome is not None and not isinstance(self.judged, str)
        if not self.settings.cross_fit:  # as it was before there was one
            del settings["cross_fit"]
        return {
            **{name: list(x) if isinstance(x, tuple) else x for name, x in settings.items()},
            "texts": "steered" if self.writes else "unsteered",
            "judged": None if outcome is None else outcome.name,
            **({"outcome_digest": outcome.digest} if outcome and outcome.digest else {}),
            **({"outcome_threshold": outcome.threshold} if outcome and given else {}),
            "contrast_digest": self.contrast.digest,
            "test_digest": self.parts[-1].digest,
        }


def outcome_of(judged: Any) -> TextOutcome | None:
    """A judge of what is written behind a prompt: `open_outcome`, but for the embedded model's own concepts.

    Args:
        judged: "valence" or "agreement", of which the grammar tells the continuation's true posterior; or an outcome as
            it is spelled on a command line, or as an object.

    Raises:
        ValueError: an unknown spelling, or completions, which are scored without a text being written.
    """
    if judged is None:
        return None
    if isinstance(judged, str) and judged in get_args(ode.organism.Concept):
        return TextOutcome(judged, lambda _, texts: ode.organism.judge(texts)[judged].to_numpy(), 0.5)
    found = open_outcome(judged)
    if not isinstance(found, TextOutcome):
        raise ValueError(f"outcome={found.name!r} scores completions, and here texts are judged; name a judge of "
                         "texts, such as vader, regex:PATTERN or FILE.py:FUNCTION")  # fmt: skip
    return found


def names(settings: Settings) -> tuple[str, ...]:
    """Of the parts of a contrast."""
    return (*(f"block {k + 1}" for k in range(BLOCKS)), "test") if settings.cross_fit else SPLITS


def _blocks(settings: Settings, contrast: ode.ContrastSet) -> tuple[ode.ContrastSet, ...]:
    """Blocks of equally many groups that are left out in turn, and the test part behind them.

    Raises:
        ValueError: fewer groups a class than a rank of 2.5 % takes, or a block lacks a class.
    """
    n = min(len({*contrast.positive_groups}), len({*contrast.negative_groups}))
    test = max(settings.fractions[3], LEAST["test"] / max(n, 1))
    needed = LEAST["calibration"] + LEAST["test"]
    if n < needed:
        raise ValueError(
            f"contrast has {n} groups of texts a class, and cross_fit takes {needed}: a rank of 2.5 % needs "
            f"{LEAST['calibration']} that are left out in turn, and {LEAST['test']} are for the test; give more pairs"
        )
    parts = contrast.split((*(((1 - test) / BLOCKS,) * BLOCKS), test), settings.seed)
    sides = [min(len({*part.positive_groups}), len({*part.negative_groups})) for part in parts]
    if sum(sides[:-1]) < LEAST["calibration"] or min(sides) < LEAST["test"]:
        raise ValueError(
            f"contrast leaves {sides} groups a class in {BLOCKS} blocks and the test; {LEAST['calibration']} in all "
            f"blocks and {LEAST['test']} in each part are needed: give more pairs"
        )
    return tuple(parts)


def _starting(
    test: ode.ContrastSet, others: Sequence[ode.ContrastSet], prompts: Sequence[str] | None
) -> ode.ContrastSet:
    """The test split, with the prompts in the place of its negatives.

    Raises:
        ValueError: a prompt is a text on which something was fitted or calibrated.
    """
    if prompts is None:
        return test
    seen = {text for part in others for text in (*part.positive, *part.negative)}
    known = [i for i, prompt in enumerate(prompts) if prompt in seen]
    if known:
        raise ValueError(
            f"prompts: prompt {known[0] + 1}, {prompts[known[0]]!r}, stands in the contrast, on which densities were "
            "fitted; leave it out of one of them"
        )
    refuse_blank(prompts)
    first = 1 + max(label for part in (*others, test) for label in (*part.positive_groups, *part.negative_groups))
    labels = {text: first + i for i, text in enumerate(dict.fromkeys(prompts))}
    # read at their last tokens, wherever completions begin
    return replace(test, negative=tuple(prompts), negative_groups=tuple(labels[text] for text in prompts),
                   positive_prompts=None, negative_prompts=None)  # fmt: skip
