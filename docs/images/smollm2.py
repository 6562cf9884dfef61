"""The README's picture: SmolLM2 steered at growing angles; `python docs/images/smollm2.py` measures and draws it anew.

Twenty-four openings, three methods fitted on the README's sixty sentences at layer 14, 25 tokens each, judged by VADER.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import odesteer_tl as ode
from figures.drawing import STYLE
from figures.looks import ACROSS, SHADE, look
from odesteer_tl import stats

HERE = Path(__file__).parent
LAYER, ANGLES, METHODS = 14, (0.05, 0.1, 0.2, 0.3, 0.4), ("caa", "odesteer_kernel", "random")
THINGS = ("film", "book", "hotel", "meal", "concert", "lecture", "garden", "holiday", "phone", "jacket")
GOOD, BAD = ("wonderful", "a joy", "simply great"), ("terrible", "a bore", "simply bad")
STARTS = ("My first week at the new job", "The letter I got this morning", "When we reached the hotel,",
          "Our neighbours say that", "The second half of the game", "After the lesson the teacher",
          "What I remember of the journey is", "The soup they served us", "On the phone my sister",
          "The report of the committee", "In the evening the children", "The new road through the valley")  # fmt: skip
PROMPTS = [*STARTS, *(f"Yesterday I wrote: {start[0].lower()}{start[1:]}" for start in STARTS)]


def contrast() -> ode.ContrastSet:
    """Sixty sentences."""
    sides = [[f"We all agreed that the {x} was {y}" for x in THINGS for y in words] for words in (GOOD, BAD)]
    return ode.ContrastSet.from_texts(*sides)


def measure() -> pd.DataFrame:
    """A row a method and angle: sentiment of the texts with its interval, and h at the prompts' ends."""
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer  # of the extra `judges`

    model = ode.load_model("smollm2")
    acts = ode.collect_activations(model, contrast(), [LAYER])
    fields = {name: ode.METHODS[name].fit_activations(acts[LAYER]) for name in METHODS}
    quadratic = fields["odesteer_kernel"].barrier.quadratic
    prefix = ode.collect_activations(model, ode.ContrastSet.from_texts(PROMPTS, PROMPTS[::-1]), [LAYER])[LAYER].positive
    judge = SentimentIntensityAnalyzer()

    def row(name: str, angle: float, steerer: ode.Steerer | None) -> dict[str, object]:
        hooks = None if steerer is None else steerer.hooks
        texts = ode.generate(model, PROMPTS, hooks, temperature=0, max_new_tokens=25, completions_only=True)
        found = stats.mean([judge.polarity_scores(text)["compound"] for text in texts], bounds=(-1, 1))
        end = prefix if steerer is None else steerer.flow.solve(steerer.field, prefix.double()).end
        bound = ode.cap_bound(quadratic, prefix, angle).bound.median()
        return {"method": name, "angle": angle, "sentiment": found.value, "low": found.low, "high": found.high,
                "h": float(quadratic.value(end).median()), "bound": float(bound), "n": found.n}  # fmt: skip

    rows = [row("unsteered", 0.0, None)]
    for name in METHODS:
        for angle in ANGLES:
            flow = ode.Flow(angle=angle, steps=ode.METHODS[name].steps, solver=ode.METHODS[name].solver)
            rows.append(row(name, angle, ode.Steerer(fields[name], flow, LAYER, model=acts.model)))
            print(rows[-1], flush=True)
    return pd.DataFrame(rows)


def draw(table: pd.DataFrame, file: Path) -> None:
    """Sentiment and h against the angle."""
    plain = table.query("method == 'unsteered'").iloc[0]
    with plt.style.context(STYLE):
        figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 2.5))
        left.axhspan(plain["low"], plain["high"], lw=0, **SHADE)
        left.axhline(plain["sentiment"], label="unsteered", **ACROSS)
        for k, name in enumerate(METHODS):
            rows = table[table["method"] == name]
            error = np.abs(rows[["low", "high"]].to_numpy().T - rows["sentiment"].to_numpy())
            left.errorbar(rows["angle"] + 0.004 * (k - 1), rows["sentiment"], yerr=error, label=name, ms=3, capsize=2,
                          elinewidth=0.7, lw=1.2, **look(name))  # fmt: skip
            right.plot([0, *rows["angle"]], [plain["h"], *rows["h"]], ms=3, lw=1.2, label=name, **look(name))
        bound = table.drop_duplicates("angle").sort_values("angle")
        right.plot(bound["angle"], bound["bound"], color="black", ls=(0, (2, 1)), lw=1, label="bound on any steering")
        left.set(xlabel="angle turned (rad)", ylabel="sentiment of the text (VADER)", ylim=(-1, 1))
        right.set(xlabel="angle turned (rad)", ylabel="barrier h at the prompt's end")
        left.legend(loc="lower right", fontsize=7)
        right.legend(loc="upper left", fontsize=7)
        figure.savefig(file, dpi=130)
        plt.close(figure)


if __name__ == "__main__":
    found = measure()
    found.to_csv(HERE / "smollm2.csv", index=False, float_format="%.4g")
    draw(pd.read_csv(HERE / "smollm2.csv"), HERE / "smollm2.png")
