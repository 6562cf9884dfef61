"""The audit of methods: what each does at equal KL, those trained through the model beside those fitted."""

from __future__ import annotations

import pandas as pd

from figures.captions import counts, listed
from figures.drawing import PAGE, Drawing, Place, page
from figures.looks import ACROSS, PLACEBO, Look, handles, highlighted
from figures.multiples import Row, draw_multiples

#: how a method is made, by marker
MARKERS = {"trained": "^", "fitted": "o"}
RANDOM = "random"
UNSTEERED = "unsteered"
NEEDED = ("method", "made", "budget", "level", "measure", "value", "low", "high", "n", "layer")
#: what can be drawn: in a caption, and on the axis
SHOWN = {
    "success": ("Success", "success"),
    "change of the score from unsteered": ("Change of the score from unsteered", "change of score"),
}
CAPTION = """\
{what} at equal KL, a line a method, layer {layers}; a column has one in colour, with its 95 % intervals, and the others
in grey. Triangles: trained through the model; circles: fitted on its activations; all learned from the same texts.
N = {n} prompts a point. In colour: {shown}. In grey throughout: {rest}.{missed}{plain} {source}"""


def draw_audit(
    table: pd.DataFrame, *, source: str = "", measure: str = "success", unit: str = "", figure: Place = None
) -> Drawing:
    """Draw success against the KL asked for, a line a method, a marker by how it is made.

    Args:
        table: as `analyses.effects.audit.audit` makes it.
        measure: of `SHOWN`: where success has no room the change of the score, of which unsteered is 0.
        unit: of the measure, if it has one.
        source: sentences for the caption on where the table comes from. figure: see `page`.

    Raises:
        ValueError: a column is missing, or there is no such measure at a level of KL.
    """
    missing = [name for name in NEEDED if name not in table]
    if missing:
        raise ValueError(f"table lacks {', '.join(missing)}; give the audit of a comparison")
    reached = table.query("budget == 'kl' and measure == 'budget reached' and value < 0.95")
    what, label = SHOWN[measure]
    label += f"\n({unit})" if unit else ""
    table = table.query("measure == @measure")
    plain, rows = table.query("method == @UNSTEERED"), table.query("budget == 'kl'")
    if not len(rows):
        raise ValueError(f"table has no {measure} at a level of KL; run the comparison with --kl")
    if measure != "success":
        plain = pd.DataFrame({"value": [0.0]})
    looks = _looks(rows)
    with page(figure, PAGE, 2.3) as figure:
        found = rows.rename(columns={"low": "value_low", "high": "value_high"})
        around = plain.rename(columns={"low": "value_low", "high": "value_high"})
        labels = ("KL from the unsteered model asked for (nats)", label)
        row = Row(found, "level", "value", labels, around, logarithmic=True)
        axes = draw_multiples(figure, [row], looks)
        figure.legend(handles=handles({RANDOM: PLACEBO, "unsteered": ACROSS}), loc="outside upper left", ncols=2)
        if measure == "success":
            axes[0][0].set_ylim(-0.03, 1.05)
        names = list(dict.fromkeys(map(str, rows["method"])))
        short = listed(str(name) for name in reached["method"])
        caption = CAPTION.format(
            what=what, layers=counts(rows["layer"]), n=counts(rows["n"]), shown=listed(looks), source=source,
            rest=listed(name for name in names if name not in looks) or "nothing",
            missed=f" Not at equal budget, since some prompts could not spend it: {short}." if short else "",
            plain=" Black, dotted: the unsteered model." if len(plain) else "",
        )  # fmt: skip
        return Drawing(figure, "audit", caption, table.query("method == @UNSTEERED or budget == 'kl'"))


def _looks(rows: pd.DataFrame) -> dict[str, Look]:
    """Known methods in their own colours, then the best trained ones; each with the marker of how it is made."""
    made: dict[str, str] = dict(zip(rows["method"], rows["made"], strict=True))
    # whatever is known comes first; of the others those that are trained
    best = {name: max(found["value"].tolist()) for name, found in rows.groupby("method", sort=False)}
    looks = highlighted({str(name): value + (made[str(name)] == "trained") for name, value in best.items()})
    return {n: look if n == RANDOM else {**look, "marker": MARKERS[made[n]]} for n, look in looks.items()}
