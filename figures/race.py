"""How a race for layer and strength went: what was asked, and how many arms could still be the best."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from figures.save import PAGE, STYLE, save

CAPTION = """\
A race of {arms} arms for the best layer and strength, N = {n} blocks of prompts asked. (a) A dot is an arm asked on a
block: its layer (of several together the last) against the share of the whole grid's cost that had been spent by then,
the darker the stronger; crosses: the arm that led. (b) Arms that could still be the best. {answer}{source}"""


def draw_race(race: pd.DataFrame, arms: pd.DataFrame, out: Path, answer: str = "", source: str = "") -> list[Path]:
    """Draw the pulls of a race by layer, and the arms left standing, against what had been spent.

    Args:
        race: a row a pull: `cost`, `arm`, `layer`, `level`, `leader`, `standing`.
        arms: a row an arm: `arm`, `layer`.
        answer: what was found, for the caption. source: sentences on where the tables come from.

    Raises:
        ValueError: nothing was asked.
    """
    if race.empty:
        raise ValueError("race has no pull to draw; run the search first")
    asked = race[race["layer"].notna()]
    rounds = race.drop_duplicates("round")
    led = rounds.merge(arms[["arm", "layer"]], left_on="leader", right_on="arm", suffixes=("", "_led"))
    led = led[led["layer_led"].notna()]
    rank = pd.Series(asked["level"]).rank(method="dense")
    with plt.style.context(STYLE):
        figure, (left, right) = plt.subplots(1, 2, figsize=(PAGE, 2.5), width_ratios=(2, 1))
        left.scatter(asked["cost"], asked["layer"], c=rank, cmap="viridis_r", s=14, lw=0, vmin=0, vmax=rank.max() + 1)
        left.plot(led["cost"], led["layer_led"], "x", color="black", ms=5, mew=0.9)
        left.set(title="(a) asked", xlabel="share of the grid's cost", ylabel="layer", xlim=(0, None))
        left.set_yticks(sorted(set(asked["layer"].astype(int))))
        right.step(rounds["cost"], rounds["standing"], where="post", color="C0")
        right.set(title="(b) still possible", xlabel="share of the grid's cost", ylabel="arms", xlim=(0, None),
                  ylim=(0, len(arms) * 1.05))  # fmt: skip
        caption = CAPTION.format(arms=len(arms), n=len(race), answer=answer and f"{answer} ", source=source)
        return save(figure, out, "race", caption, race)
