"""The first stage: texts, splits, prompts and judge of a study, checked before any model is loaded."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import odesteer_tl as ode
from analyses.effects.settings import FRACTIONS, EffectSettings
from analyses.models import layers_of
from analyses.outcomes import Completions, Outcome, open_outcome
from analyses.sources import OPENERS, load_contrast, load_prompts, read_grouped, refuse_blank

if TYPE_CHECKING:  # a plan is checked before the model's libraries are imported
    from transformer_lens.model_bridge import TransformerBridge

#: texts a class to calibrate on (`densities.calibration.LEAST_HELD_OUT`, whose module needs torch's weight in imports)
LEAST = 40
#: pairs of a fit that is calibrated on pairs left out in turn
LEAST_CROSS = 20
#: how texts are counted, where a contrast says which are alike
OF_GROUPS = " (those of one group count once)"


@dataclass(frozen=True, eq=False)
class Given:
    """What a notebook has at hand and a command line names: each in the place of the setting of its name.

    Attributes:
        model: loaded; it cannot be sent to other processes.
        outcome: an outcome, or a callable `(prompts, texts) → scores`.
    """

    model: TransformerBridge | None = None
    contrast: ode.ContrastSet | None = None
    prompts: Sequence[str] | None = None
    outcome: Outcome | Callable[[Sequence[str], Sequence[str]], Any] | None = None


@dataclass(frozen=True, eq=False)
class Plan:
    """What a study will do, and on what; made without a model.

    Attributes:
        parts: of the contrast, in the order of `fractions`; all of it as a single one under `cross_fit`.
        prompts: to choose on, then to report on.
        settings: with the numbers of prompts that were found where they were left out.
        units: of each prompt the number of its independent unit, where prompts of the same text, of one group of their
            file, or of one group of the outcome, are one; empty where each prompt is one.
    """

    settings: EffectSettings
    contrast: ode.ContrastSet
    parts: tuple[ode.ContrastSet, ...]
    prompts: tuple[str, ...]
    outcome: Outcome
    units: tuple[int, ...] = ()

    @classmethod
    def of(cls, settings: EffectSettings, given: Given | None = None) -> Plan:
        """Read, split, count, and try the judge on one text.

        Raises:
            ValueError: something of it cannot be had, with the argument that says so.
        """
        given = given or Given()
        if given.model is None:
            layers_of(settings.model)
        contrast = given.contrast or load_contrast(settings.contrast, settings.pairs, settings.seed)
        parts = _parts(contrast, settings)
        spelled = settings.outcome if given.outcome is None else given.outcome
        outcome = open_outcome(spelled, settings.contrast, settings.threshold)
        outcome.check()
        settings, prompts, units = _prompts(settings, given, outcome, parts[-1])
        if isinstance(outcome, Completions):
            outcome.options(prompts)
        repeated = len(set(units)) < len(units)
        return cls(settings, contrast, parts, tuple(prompts), outcome, tuple(units) if repeated else ())

    @property
    def split(self) -> list[str]:
        """What each prompt is for."""
        select = self.settings.select or 0
        return ["select"] * select + ["test"] * (len(self.prompts) - select)

    def on(self, rows: Sequence[int], settings: EffectSettings) -> Plan:
        """The same of some of the prompts, by their numbers; units keep theirs."""
        prompts, units = (tuple(x[i] for i in rows) if x else () for x in (self.prompts, self.units))
        return replace(self, prompts=prompts, units=units, settings=settings)

    @property
    def writes(self) -> bool:
        """Whether texts are written at all."""
        return "text" in self.settings.measures or not isinstance(self.outcome, Completions)

    def described(self) -> dict[str, Any]:
        """Everything that determines a cell's numbers but model and cell, JSON-able."""
        # threads do not determine results beyond rounding, and the concept stands in the cells that are told of it
        found = {key: x for key, x in asdict(self.settings).items() if key not in ("threads", "concept")}
        # as it was before there were these
        found = {k: x for k, x in found.items() if k != "engine" or x}
        found = {k: x for k, x in found.items() if k != "fractions" or tuple(x) != FRACTIONS}
        # a path differs from machine to machine, what it holds does not
        found |= {key: Path(found[key]).name for key in ("model", "contrast", "prompts")}
        return {
            **found,
            **({"units": self.units} if self.units else {}),
            "measures": list(self.settings.measures),
            "outcome": self.outcome.name,
            "outcome_digest": self.outcome.digest,
            "contrast_digest": self.contrast.digest,
            "prompts_digest": hashlib.sha256(json.dumps(self.prompts).encode()).hexdigest()[:16],
        }


def _parts(contrast: ode.ContrastSet, settings: EffectSettings) -> tuple[ode.ContrastSet, ...]:
    """The contrast cut up, or whole.

    Raises:
        ValueError: too few pairs.
    """
    name = settings.contrast
    if settings.cross_fit:
        if (groups := _groups(contrast)) < LEAST_CROSS:
            raise ValueError(
                f"contrast={name!r} has {groups} texts a class{_of_groups(contrast)}; cross_fit needs {LEAST_CROSS}"
            )
        return (contrast,)
    parts = contrast.split(settings.fractions, settings.seed)
    if (held_out := _groups(parts[2])) < LEAST:
        raise ValueError(
            f"contrast={name!r} leaves {held_out} texts a class to calibrate on{_of_groups(contrast)}, and at least "
            f"{LEAST} are needed; give {math.ceil(LEAST / settings.fractions[2])} pairs or more, or say --cross-fit, "
            f"for which {LEAST_CROSS} are enough"
        )
    return parts


def _groups(contrast: ode.ContrastSet) -> int:
    """How many texts a class are none another's near copy."""
    return min(len({*contrast.positive_groups}), len({*contrast.negative_groups}))


def _of_groups(contrast: ode.ContrastSet) -> str:
    """How texts are counted, where some are alike."""
    return OF_GROUPS if _groups(contrast) < min(len(contrast.positive), len(contrast.negative)) else ""


def _prompts(
    settings: EffectSettings, given: Given, outcome: Outcome, held_out: ode.ContrastSet
) -> tuple[EffectSettings, list[str], list[int]]:
    """The settings with the numbers of prompts, the prompts to steer, and the unit of each.

    Raises:
        ValueError: fewer than are asked for, none to report on, a blank one, held-out ones where none are held out, or
            so many to choose on that prompts of one unit would be on both sides.
    """
    name, free = settings.contrast, settings.select is None and settings.test is None
    groups = list[str]()
    if given.prompts is not None:
        own, source = list(given.prompts), "prompts"
    elif settings.prompts:
        (own, groups), source = read_grouped(settings.prompts), f"prompts={settings.prompts!r}"
    elif isinstance(outcome, Completions) and outcome.prompts:
        own, source = list(outcome.prompts), f"outcome={outcome.name!r}"
    else:
        own, source = None, f"contrast={name!r}"
    settings = _counted(settings, own)
    assert settings.select is not None
    assert settings.test is not None
    n = settings.select + settings.test
    if own is None:
        if settings.cross_fit and (given.contrast is not None or Path(name).suffix):
            raise ValueError("prompts is missing: cross_fit leaves no text of the contrast out; give a file of "
                             f"prompts, or {OPENERS!r}")  # fmt: skip
        own = load_prompts(name if given.contrast is None else "given.jsonl", n, settings.seed, held_out)
    if len(own) < n:
        raise ValueError(
            f"{source} gives {len(own)} prompts to steer, but select={settings.select} and test={settings.test} ask "
            f"for {n}; lower them or give more {'pairs' if source.startswith('contrast') else 'prompts'}"
        )
    refuse_blank(own, source)
    units = _units(own[:n], groups[:n], outcome)
    order, room = _together(units, settings.select)
    if room and not free:
        raise ValueError(
            f"select={settings.select} parts prompts that are the same, of one group, or judged by the same texts, "
            f"from each other; give {settings.select - room}"
        )
    counted = replace(settings, select=settings.select - room, test=settings.test + room)
    number = {unit: i for i, unit in enumerate(dict.fromkeys(units[i] for i in order))}
    return counted, [own[i] for i in order], [number[units[i]] for i in order]


def _units(prompts: Sequence[str], groups: Sequence[str], outcome: Outcome) -> list[int]:
    """The number of each prompt's independent unit: those of one text, of one group of theirs, or of one group of the
    outcome are one, whatever chain links them.
    """
    from odesteer_tl._groups import joined  # of torch, which `--help` does without

    judged = outcome.groups_of(prompts) if isinstance(outcome, Completions) else prompts
    return list(joined(groups or judged, judged))


def _together(units: Sequence[int], select: int) -> tuple[list[int], int]:
    """The numbers of the prompts to choose on before those of the others, in their order, each unit's on one side, and
    how many are missing.

    The first `select`, unless some of these are of a unit that goes on behind them.
    """
    sizes, room, chosen = Counter(units), select, set[int]()
    for unit in dict.fromkeys(units):
        if sizes[unit] <= room:
            chosen.add(unit)
            room -= sizes[unit]
    return sorted(range(len(units)), key=lambda i: units[i] not in chosen), room


def _counted(settings: EffectSettings, own: list[str] | None) -> EffectSettings:
    """The settings with numbers of prompts: 100 and 250, or a third and the rest of one's own.

    Raises:
        ValueError: too few to report on any.
    """
    select, test = settings.select, settings.test
    if own is None:
        return replace(settings, select=100 if select is None else select, test=250 if test is None else test)
    select = (len(own) // 3 if test is None else max(len(own) - test, 0)) if select is None else select
    test = len(own) - select if test is None else test
    if test < 1:
        raise ValueError(
            f"select={select} leaves none of {len(own)} prompts to report on; lower it or give more prompts"
        )
    return replace(settings, select=select, test=test)
