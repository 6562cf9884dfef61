"""How a race for layer and strength went: what was asked, and how many candidates could still be the best."""

from __future__ import annotations

import pandas as pd

from figures.drawing import PAGE, Drawing, Place, page
from odesteer_tl.looks import BLUE

CAPTION = """\
A search among {candidates} candidates (a method at a layer and strength) for the best one, N = {n} blocks of prompts
asked. (a) A dot is a candidate asked on a block: its layer (of several together the last) against the share of the
whole grid's cost that had been spent by then, the darker the stronger; crosses: the candidate that led. (b) Candidates
that could still be the best. {answer}{source}"""
#: columns, as tables written earlier have them
FORMER = {"arm": "candidate", "round": "turn"}


def draw_race(
    race: pd.DataFrame, candidates: pd.DataFrame, *, answer: str = "", source: str = "", figure: Place = None
) -> Drawing:
    """Draw the pulls of a race by layer, and the candidates left standing, against what had been spent.

    Args:
        race: a row a pull: `turn`, `cost`, `candidate`, `layer`, `level`, `leader`, `standing`.
        candidates: a row each: `candidate`, `layer`.
        answer: what was found, for the caption. source: sentences on where the tables come from. figure: see `page`.

    Raises:
        ValueError: nothing was asked.
    """
    if race.empty:
        raise ValueError("race has no pull to draw; run the search first")
    race, candidates = (table.rename(columns=FORMER) for table in (race, candidates))
    asked = race[race["layer"].notna()]
    turns, at = race.drop_duplicates("turn"), candidates[["candidate", "layer"]]
    led = turns.merge(at, left_on="leader", right_on="candidate", suffixes=("", "_led"))
    led = led[led["layer_led"].notna()]
    rank = pd.Series(asked["level"]).rank(method="dense")
    with page(figure, PAGE, 2.5) as figure:
        left, right = figure.subplots(1, 2, width_ratios=(2, 1))
        left.scatter(asked["cost"], asked["layer"], c=rank, cmap="viridis_r", s=14, lw=0, vmin=0, vmax=rank.max() + 1)
        left.plot(led["cost"], led["layer_led"], "x", color="black", ms=5, mew=0.9)
        left.set(title="(a) asked", xlabel="share of the grid's cost", ylabel="layer", xlim=(0, None))
        left.set_yticks(sorted(set(asked["layer"].astype(int))))
        right.step(turns["cost"], turns["standing"], where="post", color=BLUE)
        right.set(title="(b) still possible", xlabel="share of the grid's cost", ylabel="candidates", xlim=(0, None),
                  ylim=(0, len(candidates) * 1.05))  # fmt: skip
        caption = CAPTION.format(candidates=len(candidates), n=len(race), answer=answer and f"{answer} ", source=source)
        return Drawing(figure, "race", caption, race)
