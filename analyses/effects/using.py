"""What to do with a layer study: what it chose as lines of Python to paste, or what to ask where that does nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analyses.effects import tables
from analyses.effects.arms import PLACEBO, Arm
from analyses.effects.plan import Given
from analyses.effects.settings import EffectSettings
from analyses.sources import FILES, OPENERS, read_grouped

#: nats a token, median: texts that lost more often read otherwise, or are broken
BROKEN = 0.5
#: of the largest level asked, what to ask next; a small KL grows with the square of the strength
FURTHER = {"angle": (1.5, 2.0), "kl": (3.0, 10.0)}
#: what a path of the length to be pasted does
SPENDS = {"angle": "turns the median prompt by {:g} rad", "kl": "costs the median prompt {:g} nats of KL",
          "displacement": "moves the median prompt by {:g} of the norm"}  # fmt: skip
#: in success, how much matters
MARGIN = 0.05
#: said where the same test prompts are asked again
LOOK = "the same test prompts are looked at a second time then: say so"


def lines_to_paste(
    table: pd.DataFrame, chosen: pd.DataFrame, settings: EffectSettings, given: Given | None = None
) -> str:
    """Lines of Python that fit the best of what was chosen and write a text with it; empty where nothing was chosen.

    Where a study goes until each activation has spent the level, `ode.fit` goes a path of one length: the median of
    those that the select prompts took.

    Args:
        table: the study's rows. chosen: `tables.choices` of them.
        given: objects in the place of names; they are called as the arguments of `layer_study` are.
    """
    if not len(chosen):
        return ""
    best, given = best_choice(chosen), given or Given()
    rows = tables.of_cell(table, best)
    arm, angle = Arm.in_cell(rows.iloc[0].dropna().to_dict()), rows.query("split == 'select'")["strength"].median()
    usual = Arm.of(arm.method)
    more = "" if arm.solver == usual.solver else f", solver={arm.solver!r}"
    more += "" if arm.steps == usual.steps else f", steps={arm.steps}"
    more += f", seed={settings.seed}" if settings.seed else ""
    fits = [f"ode.fit({arm.method!r}, model, contrast, layer={layer}, angle={angle:.3g}{more})"
            for layer in arm.layers or (int(best["layer"]),)]  # fmt: skip
    # `fit` of several layers would fit each with those before it already steered; here each was fitted by itself
    joined = ",\n    ".join(fits)
    steerer = joined if len(fits) == 1 else f"ode.compose([\n    {joined},\n])"
    how = f"temperature={settings.temperature:g}, max_new_tokens={settings.max_new_tokens}"
    why = [f"# angle is the length of the path; {angle:.3g} {SPENDS[best['budget']].format(best['level'])}"]
    lines = ["import odesteer_tl as ode", "", *([] if given.model else [f"model = ode.load_model({settings.model!r})"]),
             *_contrast(settings, given), *why * (f"{angle:.3g}" != f"{best['level']:g}"), f"steerer = {steerer}",
             f"print(*steerer.generate(model, {_prompts(settings, given)}, {how}), sep='\\n')"]  # fmt: skip
    return "\n".join(lines)


def texts_to_read(table: pd.DataFrame, chosen: pd.DataFrame) -> str:
    """What the judge says of texts: the unsteered ones that succeed; then of each test prompt the unsteered text above
    the one of what was chosen, the best of it before each other method's.

    Empty where nothing was chosen or written.

    Args:
        table: the study's rows. chosen: `tables.choices` of them.
    """
    if not len(chosen) or "text" not in table:
        return ""
    test, best = table.query("split == 'test'").set_index("prompt"), best_choice(chosen)
    plain = test.query("label == @tables.UNSTEERED")
    counted = plain.loc[plain["success"].astype(bool)]
    parts = [[f"Unsteered texts that succeed: {len(counted)} of {len(plain)} test prompts.", *_judged(counted)]]
    others = [row for row in _records(chosen) if PLACEBO != row["label"] != best["label"]]
    for row in (best, *others):
        title = f"{row['label']}, layer {row['layer']} at {row['level']:g}: each test prompt, unsteered above steered."
        both = zip(_judged(plain), _judged(tables.of_cell(test, row).reindex(plain.index)), strict=True)
        parts.append([title, *("\n".join(pair) for pair in both)])
    return "\n\n\n".join("\n\n".join(part) for part in parts)


def _judged(rows: pd.DataFrame) -> list[str]:
    """The texts, a line each, behind what the judge says: yes or no, and its score where that says more."""
    scored = "score" in rows and not bool((rows["score"] == rows["success"]).all())
    return [("yes" if row["success"] else "no ") + (f" {row['score']:6.2f}" if scored else "")
            + "  " + str(row["text"]).replace("\n", "⏎") for row in _records(rows)]  # fmt: skip


def best_choice(chosen: pd.DataFrame) -> dict[str, Any]:
    """Of the choices the one that the rule by which each was chosen (`tables.RULE`) prefers, of equals the first.

    The placebo only where it is alone. `tied` counts the cells of all methods that did as well, losing as little.
    """
    own = chosen.loc[chosen["label"] != PLACEBO]
    # (nothing is lost where no texts were written, which is NaN)
    rows = _records(own if len(own) else chosen)
    best = max(rows, key=lambda row: (*_done(row), row["score_on_select"], -np.nan_to_num(row["lost"])))
    return {**best, "tied": sum(row["tied"] + 1 for row in rows if _done(row) == _done(best)) - 1}


def _done(row: Mapping[str, Any]) -> tuple[bool, float]:
    """Whether its texts lose no more than the rule allows, and its success on the select prompts."""
    return not row["lost"] > tables.LOST, row["on_select"]


def _contrast(settings: EffectSettings, given: Given) -> list[str]:
    """The texts that methods were fitted on."""
    name, drawn = settings.contrast, f"{settings.pairs}, {settings.seed}"
    if given.contrast is not None:
        found = "contrast"
    elif Path(name).suffix in FILES:
        found = f"ode.ContrastSet.from_file({name!r})"
    else:
        found = f"ode.organism.contrast({name!r}, {drawn})"
    if not settings.cross_fit:
        found += f".split({tuple(settings.fractions)}, {settings.seed})[0]"
    return [] if found == "contrast" else [f"contrast = {found}"]


def _prompts(settings: EffectSettings, given: Given) -> str:
    """Three of the prompts: one alone is chance. The first, which were chosen on: later ones may be asked yet."""
    if given.prompts is None and settings.prompts == OPENERS:
        return "ode.OPENERS[:3]"
    if given.prompts is not None or settings.prompts:
        return repr(list(given.prompts or read_grouped(settings.prompts)[0])[:3])
    return "ode.organism.prompts(3)" if settings.model == "organism" else "contrast.negative[:3]"


def advice(table: pd.DataFrame, chosen: pd.DataFrame, held: pd.DataFrame, again: str = "") -> str:
    """What to ask next where no choice is shown to do more than the unsteered model; empty where one is, or where
    prompts are too few to know.

    Args:
        table: the study's rows. chosen: `tables.choices` of them. held: `tables.at_chosen`, the unsteered model too.
        again: how to ask for larger levels too, where there are any.
    """
    test = table.query("split == 'test'")
    above = [row for row in _records(held) if row["second"] == tables.UNSTEERED]
    if not above or above[0]["n"] < tables.LEAST or any(
        row["difference"] > 0 and row["p_holm"] < tables.ALPHA for row in above
    ):  # fmt: skip
        return ""
    of = tables.measure(tables.profile(table).rename(columns={"label": "method"}))
    gain = max(row["difference"] for row in above)
    lost = _least_lost(test)
    if len(table.loc[~table["label"].isin([PLACEBO, tables.UNSTEERED])].drop_duplicates(tables.CELL)) == 1:
        found = " One cell was asked, so this is the answer to it: report it."
    elif again and (lost is None or lost < BROKEN):
        costs = (
            ""
            if lost is None
            else f" At the largest level some layer's texts lose only {max(lost, 0):.2f} nats a token."
        )
        found = f"{costs} Ask larger levels too (what is done is kept; {LOOK}):\n\n    {again}"
    elif of == "success" and gain > MARGIN and (worse := best_choice(chosen)["lost_on_test"]) >= BROKEN:
        found = (f" Its texts lose {worse:.2f} nats a token: read them, and if they are worse than unsteered ones, ask "
                 "two thirds of the strength of other prompts: docs/how-to/own-study.md, A second study.")  # fmt: skip
    elif of == "success" and gain > MARGIN:
        found = (" It may be that prompts are few: fix the layer and strength and ask fifty or a hundred new ones: "
                 "docs/how-to/own-study.md, A second study.")  # fmt: skip
    else:
        costs = (
            ""
            if lost is None
            else f" At the largest level texts lose {lost:.2f} nats a token or more, so no larger ones."
        )
        found = f"{costs} Ask other layers ({LOOK}), or change pairs and prompts: docs/how-to/choosing.md says how."
    return f"Nothing that was chosen is shown to raise {of} above the unsteered model's.{found}"


def further(asked: Mapping[str, Sequence[float]], highest: float) -> dict[str, tuple[float, ...]]:
    """By budget the levels asked and larger ones, where there are larger ones.

    Args:
        asked: levels by budget. highest: angle.
    """
    found = dict[str, tuple[float, ...]]()
    for budget, levels in asked.items():
        more = [float(f"{share * max(levels):.2g}") for share in FURTHER[budget]] if levels else []
        if more := [level for level in more if budget != "angle" or level <= highest]:
            found[budget] = (*levels, *more)
    return found


def _least_lost(test: pd.DataFrame) -> float | None:
    """The least fluency that a method loses at its largest level, among layers and budgets; None without texts."""
    top: Any = test.groupby("budget")["level"].max()
    lost = tables.fluency_lost(test, "test").items()
    of_methods = [x for (_, label, budget, level), x in lost
                  if label not in (PLACEBO, tables.UNSTEERED) and level == top[budget] and pd.notna(x)]  # fmt: skip
    return min(of_methods, default=None)


def _records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    found: Any = rows.to_dict("records")
    return found
