"""The first stage: texts, splits and starts of a likelihood study, checked before any model is loaded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import odesteer_tl as ode
from analyses.likelihood.study import Settings
from analyses.sources import require_different_texts
from odesteer_tl._words import require_texts

SPLITS = ("barrier", "density", "calibration", "test")
#: prompts a class that a rank of 2.5 % needs (`densities.calibration.LEAST_HELD_OUT`, whose module needs more than
#: a plan does), that a density is fitted to, that the barrier's five folds need, and that intervals need
LEAST = {"barrier": 10, "density": 12, "calibration": 40, "test": 5}


@dataclass(frozen=True, eq=False)
class Plan:
    """What will be done, and on what; made without a model.

    Attributes:
        parts: of the contrast, in the order of `SPLITS`; the test part's negatives are what is steered.
        judged: the concept of the organism whose grammar judges the texts; None where nothing does.
    """

    settings: Settings
    contrast: ode.ContrastSet
    parts: tuple[ode.ContrastSet, ...]
    judged: str | None

    @classmethod
    def of(
        cls,
        settings: Settings,
        contrast: ode.ContrastSet,
        prompts: Sequence[str] | None = None,
        judged: str | None = None,
    ) -> Plan:
        """Split and count.

        Args:
            prompts: what is steered; left out, the negative texts of the test split.

        Raises:
            ValueError: too few pairs, classes of the same texts, or a prompt that is none or stands in the contrast.
        """
        require_different_texts(contrast)
        parts = contrast.split(settings.fractions, settings.seed)
        if prompts is not None and not len(prompts):
            raise ValueError("prompts is empty; give at least one")
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
                    f"held-out prompts, so nothing is cross-fitted here; give about {needed} pairs, or more than "
                    f"{fraction:g} for the {name}"
                )
        return cls(settings, contrast, (*parts[:3], _starting(parts[3], parts[:3], prompts)), judged)

    @property
    def writes(self) -> bool:
        """Whether every arm writes texts of its own."""
        return self.settings.texts == "steered" or (self.settings.texts == "auto" and self.judged is not None)

    def described(self) -> dict[str, Any]:
        """Everything that determines a layer's numbers but the model and the layer, JSON-able."""
        return {
            **{name: list(x) if isinstance(x, tuple) else x for name, x in asdict(self.settings).items()},
            "texts": "steered" if self.writes else "unsteered",
            "judged": self.judged,
            "contrast_digest": self.contrast.digest,
            "test_digest": self.parts[3].digest,
        }


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
    blank = [i for i, prompt in enumerate(prompts) if not prompt.strip()]
    if blank:
        raise ValueError(f"prompts: prompt {blank[0] + 1} is {prompts[blank[0]]!r}, which is no text; drop it")
    first = 1 + max(label for part in (*others, test) for label in (*part.positive_groups, *part.negative_groups))
    labels = {text: first + i for i, text in enumerate(dict.fromkeys(prompts))}
    # read at their last tokens, wherever completions begin
    return replace(test, negative=tuple(prompts), negative_groups=tuple(labels[text] for text in prompts),
                   positive_prompts=None, negative_prompts=None)  # fmt: skip
