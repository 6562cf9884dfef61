"""The first stage: texts, splits, prompts and judge of a study, checked before any model is loaded."""

from __future__ import annotations

import math
from dataclasses import dataclass

import odesteer_tl as ode
from analyses.effects.outcomes import Outcome, open_outcome
from analyses.effects.settings import EffectSettings
from analyses.sources import load_contrast, load_prompts
from odesteer_tl.densities.calibration import LEAST_HELD_OUT

#: shares of the contrast: methods and barrier, densities, calibration of both, the probe's report
SPLITS = (0.4, 0.3, 0.15, 0.15)


@dataclass(frozen=True, eq=False)
class Plan:
    """What a study will do, and on what; made of settings alone.

    Attributes:
        parts: of the contrast, in the order of `SPLITS`.
        prompts: to choose on, then to report on.
    """

    settings: EffectSettings
    contrast: ode.ContrastSet
    parts: tuple[ode.ContrastSet, ...]
    prompts: tuple[str, ...]
    outcome: Outcome

    @classmethod
    def of(cls, settings: EffectSettings) -> Plan:
        """Read, split and count.

        Raises:
            ValueError: too few pairs to calibrate on, too few prompts, or an unknown outcome.
        """
        contrast = load_contrast(settings.contrast, settings.pairs, settings.seed)
        parts = contrast.split(SPLITS, settings.seed)
        held_out = min(len(parts[2].positive), len(parts[2].negative))
        if held_out < LEAST_HELD_OUT:
            raise ValueError(
                f"contrast={settings.contrast!r} leaves {held_out} texts a class to calibrate on, and at least "
                f"{LEAST_HELD_OUT} are needed; give {math.ceil(LEAST_HELD_OUT / SPLITS[2])} pairs or more"
            )
        n = settings.select + settings.test
        prompts = load_prompts(settings.contrast, n, settings.seed, parts[3])
        if len(prompts) < n:
            raise ValueError(
                f"contrast={settings.contrast!r} gives {len(prompts)} prompts to steer, but select="
                f"{settings.select} and test={settings.test} ask for {n}; lower them or give more pairs"
            )
        return cls(settings, contrast, parts, tuple(prompts), open_outcome(settings.outcome, settings.contrast))

    @property
    def split(self) -> list[str]:
        """What each prompt is for."""
        return ["select"] * self.settings.select + ["test"] * self.settings.test
