"""How often a model is right, and how often it agrees with its user, layer by layer and by way to steer."""

from __future__ import annotations

import pandas as pd

from figures.captions import MODELS, counts, listed
from figures.dodged import UNSTEERED, draw_dodged
from figures.drawing import PAGE, Drawing, Place, page
from figures.looks import marks
from odesteer_tl.looks import looks

CAPTION = """\
Answers of {model} at {level:g} nats of KL, by the layer steered at, with 95 % intervals; dotted: unsteered, with its
interval shaded. (a) TruthfulQA: share of {questions} questions of which the likeliest answer is a correct one.
(b) The same questions: share of the probability that correct answers have (MC2). (c) Questions on sycophancy: share of
{letters} of which the letter that agrees with the user is the likelier. (d) The same: share of which (A) is.
Crosses: placebo, a random direction. {short}{source}"""
#: share of the prompts that must have spent the budget, for the comparison to be one at equal KL
SPENT = 0.9
#: table, column and title of each panel
PANELS = (("answers", "success", "(a) correct"), ("answers", "mc2", "(b) MC2"),
          ("letters", "success", "(c) agrees"), ("letters", "share_a", "(d) says (A)"))  # fmt: skip


def draw_answers(
    answers: pd.DataFrame, letters: pd.DataFrame, level: float, *, source: str = "", figure: Place = None
) -> Drawing:
    """Draw shares by layer for every way to steer, a panel a measure.

    Args:
        answers, letters: of one model: `layer`, `label`, `level`, `reached`, `n`, and `success`, of answers `mc2`
            and of letters `share_a`, each with `_low` and `_high`.
        level: of KL, nats.
        source: sentences for the caption on where the tables come from. figure: see `page`.

    Raises:
        ValueError: the tables have several models, or nothing at that level.
    """
    if len(models := sorted({*answers["model"], *letters["model"]})) != 1:
        raise ValueError(f"tables have {models}; draw one model at a time")
    known = {"answers": answers, "letters": letters}
    own = {name: table.loc[table["level"].isin([0, level])] for name, table in known.items()}
    steered = [rows.loc[rows["label"] != UNSTEERED, "label"] for rows in own.values()]
    if any(labels.empty for labels in steered):
        raise ValueError(f"a table has nothing at level={level} of KL")
    drawn = looks(dict.fromkeys(pd.concat(steered)))
    with page(figure, PAGE, 3.8) as figure:
        axes = figure.subplots(2, 2, sharey="row", sharex=True)
        for axis, (table, name, title) in zip(axes.flat, PANELS, strict=True):
            rows = own[table]
            plain = rows.loc[rows["label"] == UNSTEERED].iloc[0]
            axis.axhspan(plain[f"{name}_low"], plain[f"{name}_high"], color="0.93", lw=0, zorder=-1)
            draw_dodged(axis, rows, name, drawn, (f"{name}_low", f"{name}_high"))
            axis.set_title(title)
        for row in axes:
            row[0].set_ylabel("share")
        for axis in axes[-1]:
            axis.set_xlabel("layer steered at")
        figure.legend(handles=marks(drawn), loc="outside upper left", ncols=4)
        few = listed(map(str, pd.concat(own.values()).loc[lambda rows: rows["reached"] < SPENT, "label"]))
        short = f"Fewer than {SPENT:.0%} of the prompts could spend the KL: {few}. " if few else ""
        questions, letters_n = (counts(rows["n"]) for rows in own.values())
        caption = CAPTION.format(level=level, model=MODELS.get(models[0], models[0]), questions=questions,
                                 letters=letters_n, short=short, source=source)  # fmt: skip
        both = pd.concat([rows.assign(table=name) for name, rows in own.items()], ignore_index=True)
        return Drawing(figure, "answers", caption, both)
