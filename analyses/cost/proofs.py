"""What a layer of certification, and of likelihood, costs in units of the writing that it cannot do without."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import odesteer_tl as ode
from analyses.barrier_certification import CertificationSettings
from analyses.certification.layer import certified_layer
from analyses.certification.material import Material as Certification
from analyses.certification.plan import Plan as CertificationPlan
from analyses.cost.material import Row, row
from analyses.likelihood.layer import studied
from analyses.likelihood.material import Material as Likelihood
from analyses.likelihood.plan import Plan as LikelihoodPlan
from analyses.likelihood.study import Settings
from analyses.prompted import Prompted
from analyses.recording import Drawing, Unsteered
from analyses.sources import load_contrast, load_prompts

#: of the studies: a middle layer, the one before it for the warm-up, and prompts
LAYER, BEFORE, PROMPTS = 15, 14, 48
#: shares that leave 24 test prompts of the stories' 240, and 72 to calibrate on
FRACTIONS = (0.2, 0.4, 0.3, 0.1)


def proof_rows() -> Iterator[Row]:
    """SmolLM2: a further layer of either study against writing its texts without steering, processor seconds."""
    model: Any = ode.load_model("smollm2")
    contrast = load_contrast("stories", 0, 0)
    prompts = load_prompts("stories", PROMPTS, 0, contrast)
    settings = CertificationSettings()
    drawing = Drawing(settings.max_new_tokens, settings.temperature)
    written = _seconds(lambda: Unsteered.of(Prompted(model, prompts), (), drawing))
    for texts in ("unsteered", "steered"):
        plan = CertificationPlan.of(CertificationSettings(texts=texts), contrast, prompts)
        material = Certification(model, plan)
        certified_layer(material, BEFORE)  # what all layers share is made with the first
        spent = _seconds(lambda: certified_layer(material, LAYER))  # noqa: B023
        yield row(f"certifying one more layer of SmolLM2, {PROMPTS} prompts, {texts} texts, against writing them",
                  "", spent, written)  # fmt: skip
    study = Settings(fractions=FRACTIONS)
    starts = list(LikelihoodPlan.of(study, contrast).parts[3].negative)
    drawing = Drawing(study.max_new_tokens, study.temperature)
    written = _seconds(lambda: Unsteered.of(Prompted(model, starts), (), drawing))
    for texts in ("unsteered", "steered"):
        settled = LikelihoodPlan.of(Settings(fractions=FRACTIONS, texts=texts), contrast)
        spent = _seconds(lambda: studied(Likelihood(model, settled, (LAYER,)), LAYER))  # noqa: B023
        what = "its 18 cells of texts" if texts == "steered" else "no other texts"
        yield row(f"likelihood of one layer of SmolLM2, {len(starts)} prompts, {what}, against writing once",
                  "", spent, written)  # fmt: skip


def _seconds(call: Callable[[], object]) -> float:
    """Processor seconds of one call: each takes long enough to be told from noise."""
    start = time.process_time()
    call()
    return time.process_time() - start
