"""The figures of the findings on real models, drawn from tables that are kept beside the code."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from analyses.measured.__main__ import FOLDER, kept
from figures.answers import draw_answers
from figures.audit import draw_audit
from figures.audited import EFFECT, draw_audited
from figures.audited_concepts import draw_audited_concepts
from figures.certified_layers import draw_certified_layers
from figures.costs import draw_costs
from figures.detection import draw_detection
from figures.drawing import Drawing
from figures.flow import draw_flow
from figures.judged import draw_judged
from figures.layer_changes import draw_layer_changes
from figures.methods import draw_methods
from figures.peaks import draw_peaks
from figures.peaks_embedded import draw_peaks_embedded
from figures.read_agreement import draw_read_agreement
from figures.readers import draw_readers
from figures.regret import draw_regret
from figures.searches import draw_searches
from figures.sources import draw_sources
from figures.steering import draw_steering
from figures.text_frontier import draw_text_frontier

OUT = Path(__file__).parent
#: kept tables, by the figure that is drawn from them
TABLES: dict[str, tuple[str, ...]] = {
    "answers": ("evidence-answers", "evidence-letters"),
    "audit": ("audit-axbench-levels",),
    "audited": ("audit",),
    "audited_concepts": ("audit-axbench",),
    "certified_layers": ("evidence-angles", "evidence-certification"),
    "costs": ("audit",),
    "detection": ("evidence-detection",),
    "flow": ("flow-grid", "flow-plane", "flow-best", "flow-marks"),
    "judged": ("evidence-texts",),
    "layer_changes": ("evidence-layers",),
    "methods": ("methods-agreement", "methods-valence", "methods-unsteered"),
    "peaks": ("evidence-likelihood",),
    "peaks_embedded": ("likelihood-t-star", "likelihood-declared"),
    "read_agreement": ("agreement-reading", "agreement-steering"),
    "readers": ("evidence-readers",),
    "regret": ("evidence-predicted", "evidence-densities"),
    "searches": ("search-replay", "search-grids"),
    "sources": ("evidence-reads", "evidence-texts"),
    "steering": ("evidence-steering", "evidence-steering-means"),
    "text_frontier": ("evidence-frontier",),
}
#: nats of KL that the audit and the indicators were asked at
LEVEL = 0.1
#: nats of KL at which methods are compared on the embedded model
COST = 0.03
#: titles of AxBench's concepts, by the folder of their audit
AXBENCH = {
    "axbench-concept10_2b_l20-0": "(a) rental services",
    "axbench-concept10_2b_l20-3": "(b) academic papers",
    "axbench-concept10_2b_l20-4": "(c) layout of an interface",
}
#: concepts whose texts are judged: titles, and who judges
JUDGED = {
    "sentiment": ("praise", "VADER finds more positive than negative words"),
    "capitals": ("upper case", "more capitals than the median unsteered text"),
    "questions": ("a question", "a question mark"),
    "language": ("French", "a detector finds French likelier than not"),
    "hate": ("profanity", "a classifier finds profanity likelier than not"),
}
#: where a contrast toward praise comes from, by the concept's name
SOURCES = {
    "sentiment": ("written completions", "wordings"),
    "sentiment-own": ("the model's own texts", "openings"),
    "sentiment-corpus": ("a corpus", "sentences"),
}
#: radians at which the likelihood study asks what is off the data
ANGLE = 0.4
DRAWS: dict[str, Callable[..., Drawing]] = {
    "answers": partial(draw_answers, level=LEVEL),
    "audit": partial(draw_audit, measure=EFFECT, unit="nats a text"),
    "audited": partial(draw_audited, level=LEVEL, model="SmolLM2"),
    "audited_concepts": partial(draw_audited_concepts, level=LEVEL, model="SmolLM2", concepts=AXBENCH),
    "certified_layers": partial(draw_certified_layers, titles=AXBENCH),
    "costs": partial(draw_costs, level=LEVEL, model="SmolLM2"),
    "detection": draw_detection,
    "flow": draw_flow,
    "judged": partial(draw_judged, level=LEVEL, concepts=JUDGED),
    "layer_changes": draw_layer_changes,
    "methods": partial(draw_methods, level=COST),
    "peaks": partial(draw_peaks, angle=ANGLE),
    "peaks_embedded": partial(draw_peaks_embedded, angle=ANGLE, n=150),
    "read_agreement": draw_read_agreement,
    "readers": draw_readers,
    "regret": partial(draw_regret, level=LEVEL),
    "searches": draw_searches,
    "sources": partial(draw_sources, level=LEVEL, model="smollm2", sources=SOURCES),
    "steering": partial(draw_steering, level=LEVEL),
    "text_frontier": draw_text_frontier,
}
#: what a table itself does not say
TOLD = {"audit": "SmolLM2, AxBench's concept (a), rental services. ", "flow": "SmolLM2, layer 14, toward praise. "}


def draw(name: str, out: Path = OUT) -> list[Path]:
    """Draw one of `TABLES`; its caption says which kept tables it shows, and of which commits."""
    names = TABLES[name]
    firsts = [(FOLDER / f"{table}.csv").read_text().partition("\n")[0].partition("commit ")[2] for table in names]
    # what is made of kept tables names none
    said = "; ".join(f"{table}, commit {commit}" if commit else table
                     for table, commit in zip(names, firsts, strict=True))  # fmt: skip
    said = f"{TOLD.get(name, '')}Kept tables: {said}."
    return DRAWS[name](*[kept(table) for table in names], source=said).save(out)


#: by the name of its files
KEPT: dict[str, Callable[[Path], list[Path]]] = {name: partial(draw, name) for name in TABLES}
