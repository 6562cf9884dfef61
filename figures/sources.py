"""How well a contrast is read and how far it steers, by where its texts come from."""

from __future__ import annotations

import pandas as pd

from figures.captions import MODELS, counts, listed
from figures.dodged import UNSTEERED
from figures.drawing import PAGE, Drawing, Place, page
from figures.looks import KNOWN, Look
from figures.reading import LINEAR, draw_reading

#: barriers by their names in the table
BARRIERS = {"AUC, published": "odesteer", "AUC, linear": "linear barrier", "AUC, kernel": "odesteer_kernel"}
READS: dict[str, Look] = {
    name: LINEAR if name == "linear barrier" else KNOWN[name] for name in BARRIERS.values()
}  # fmt: skip
WAYS = ("random, geodesic", "caa", "odesteer", "odesteer_kernel, one step", "odesteer_kernel")
CAPTION = """\
{model} toward praise, by where the texts come from that methods learn from, and by layer. Above: AUC with which
three barriers, those of odesteer (the published sketch) and of odesteer_kernel and a linear one, read texts of the
same source that were left out ({groups}); dotted: ½, of one who knows nothing. Below: change of VADER's compound
score of the texts from unsteered, which is 0 (dotted), at {level:g} nats of KL, 20 tokens behind each of {n}
prompts. Bars: 95 % intervals. Crosses: placebo, a random direction, the same in all columns. {source}"""


def draw_sources(
    reads: pd.DataFrame, texts: pd.DataFrame, level: float, model: str, sources: dict[str, tuple[str, str]], *,
    source: str = "", figure: Place = None,
) -> Drawing:  # fmt: skip
    """Draw reading above and steering below, a column a source.

    Args:
        reads: `model`, `concept`, `layer`, `what` (of `BARRIERS`), `value`, `low`, `high`, `n`.
        texts: `model`, `concept`, `layer`, `label`, `level`, `change`, `low`, `high`, `n`.
        level: of KL, nats.
        model: of the tables, as they name it.
        sources: by their names among the concepts, what columns are titled, and the unit of what is read.
        source: sentences for the caption on where the tables come from. figure: see `page`.
    """
    read = reads.query("model == @model and concept in @sources and what in @BARRIERS")
    read = read.assign(label=read["what"].replace(BARRIERS))
    own = texts.query("model == @model and concept in @sources and level in [0, @level]")
    own = own.loc[own["label"].isin([*WAYS, UNSTEERED])].rename(columns={"change": "value"})
    columns = {title: (read[read["concept"] == name], own[own["concept"] == name])
               for name, (title, _) in sources.items()}  # fmt: skip
    groups = listed(f"{title}, {counts(columns[title][0]['n'])} {unit}" for title, unit in sources.values())
    with page(figure, PAGE, 4.2) as figure:
        draw_reading(figure, columns, (READS, {way: KNOWN[way] for way in WAYS}), ("AUC", "change of VADER's score"),
                     ("layer read", "layer steered at"), [0.5])  # fmt: skip
        caption = CAPTION.format(model=MODELS[model], level=level, groups=groups, n=counts(own["n"]), source=source)
        return Drawing(figure, "sources", caption, pd.concat([read, own], ignore_index=True))
