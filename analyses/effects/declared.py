"""What a layer study declares before looking, and how many prompts it takes to show it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analyses.effects import tables
from analyses.effects.arms import ONE_STEP, PLACEBO, TEN_EULER_STEPS
from analyses.sources import read_grouped
from analyses.sweep import Study

#: declared before looking: does a path of many steps, or the best possible point, do more than one step, or than `caa`?
PAIRS = ((TEN_EULER_STEPS, ONE_STEP), ("odesteer_kernel", ONE_STEP), ("odesteer_certified", "odesteer_kernel"),
         ("optimal_cap", ONE_STEP), ("odesteer_kernel", "caa"), ("odesteer_kernel", PLACEBO))  # fmt: skip
#: in units of success, declared: a smaller difference does not matter
MARGIN = 0.05


def pairs(labels: Sequence[str]) -> Sequence[tuple[str, str]]:
    """The declared pairs; where none of them was run, every arm against the placebo."""
    if any({*pair} <= {*labels} for pair in PAIRS):
        return PAIRS
    return [(label, PLACEBO) for label in labels if label != PLACEBO]


def parted(study: Study, prompts: str = "") -> str:
    """On how many prompts a study chooses, on how many it reports, and how many of its file it leaves out, in words.

    Nothing where each counts by itself and none is left out.

    Args:
        prompts: the file's name; empty, where there is none.
    """
    select, test, units = study.settings["select"], study.settings["test"], study.settings.get("units")
    left = len(read_grouped(prompts)[0]) - select - test if prompts else 0
    if not units and not left:
        return ""
    sides = [f"{n} prompts" + (f" in {len({*of})} groups" if units else "")
             for n, of in ((select, (units or ())[:select]), (test, (units or ())[select:]))]  # fmt: skip
    out = f"; the last {left} of {Path(prompts).name} are left out" if left else ""
    return f"layer and strength are chosen on {sides[0]} and reported on {sides[1]}{out}"


def enough(study: Study) -> str:
    """How many of a study's test prompts must change for a difference in success to be shown, in words.

    Of prompts that are no units by themselves, how many groups. Nothing where nothing is compared.
    """
    labels = list(dict.fromkeys(str(cell["label"]) for cell in study.cells if cell["label"] != tables.UNSTEERED))
    cells = {(c["layer"], c["budget"], c["level"], c["label"]) for c in study.cells}
    compared = [pair for pair in pairs(labels) if {*pair} <= {*labels}]
    # at what other prompts choose, a method and budget each; else everywhere
    at_chosen = bool(study.settings["select"]) and PLACEBO in labels
    family = (len(labels) - 1) * len({c["budget"] for c in study.cells} - {"none"})
    if not at_chosen:
        family = sum((*at, second) in cells for first, second in compared for *at, label in cells if label == first)
    if not family:
        return ""
    select, test, units = study.settings["select"], study.settings["test"], study.settings.get("units")
    n, asked = (len(set(units[select:])), f"groups of {test} test prompts") if units else (test, "test prompts")
    least = tables.least_changed(family, n)
    what = "more success than by a random direction at the chosen cell" if at_chosen else "a difference in success"
    over = f"p below {tables.ALPHA:g}" + (f", Holm's correction over {family}" if family > 1 else "")
    if n < least:
        return f"WARNING: {n} {asked} are too few to show {what}, however large ({over}); ask more"
    return f"to show {what}, {least} of the {n} {asked} must change, all the same way ({over})"
