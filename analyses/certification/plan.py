"""The first stage: texts, splits and prompts of a certification, checked before any model is loaded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import odesteer_tl as ode
from analyses.certification.settings import LEAST, LEAST_CROSS, SPLITS, CertificationSettings
from analyses.sources import refuse_blank, require_different_texts
from odesteer_tl._words import require_texts


@dataclass(frozen=True, eq=False)
class Plan:
    """What will be certified, and on what; made without a model.

    Attributes:
        parts: of the contrast, by name of `SPLITS`; two halves alone under `cross_fit`.
        prompts: what is steered.
        concept: of the organism, whose grammar judges what was written; None where nothing does.
    """

    settings: CertificationSettings
    contrast: ode.ContrastSet
    parts: dict[str, ode.ContrastSet]
    prompts: tuple[str, ...]
    concept: str | None

    @classmethod
    def of(
        cls,
        settings: CertificationSettings,
        contrast: ode.ContrastSet,
        prompts: Sequence[str] | None = None,
        concept: str | None = None,
    ) -> Plan:
        """Split and count.

        Args:
            prompts: left out, the negative texts of the test split.

        Raises:
            ValueError: too few pairs, classes of the same texts, no prompts, or a blank one.
        """
        require_different_texts(contrast)
        pairs = min(len(contrast.positive), len(contrast.negative))
        if settings.cross_fit:
            if pairs < LEAST_CROSS:
                raise ValueError(f"contrast has {pairs} texts a class; cross_fit needs at least {LEAST_CROSS}")
            if prompts is None:
                raise ValueError("prompts is missing: cross_fit leaves no text of the contrast out; give some")
            names, shares = ["half", "other half"], (0.5, 0.5)
        else:
            if pairs < LEAST:
                raise ValueError(
                    f"contrast has {pairs} texts a class, and {LEAST} are needed to fit on two halves, calibrate and "
                    f"test; give more, or say --cross-fit, for which {LEAST_CROSS} are enough"
                )
            names, shares = list(SPLITS), tuple(SPLITS.values())
        parts = dict(zip(names, contrast.split(shares, settings.seed), strict=True))
        own = require_texts("prompts", parts["test"].negative if prompts is None else prompts)
        if not own:
            raise ValueError("prompts is empty; give at least one")
        refuse_blank(own)
        return cls(settings, contrast, parts, tuple(own), concept)

    @property
    def writes(self) -> bool:
        """Whether texts are written under steering, at each layer anew."""
        judged = self.concept is not None
        return self.settings.texts == "steered" or (self.settings.texts == "auto" and judged)

    def described(self) -> dict[str, Any]:
        """Everything that determines a layer's numbers but the model and the layer, JSON-able."""
        return {
            **{name: list(x) if isinstance(x, tuple) else x for name, x in asdict(self.settings).items()},
            "texts": "steered" if self.writes else "unsteered",
            "concept": self.concept,
            "contrast_digest": self.contrast.digest,
            "prompts_digest": hashlib.sha256(json.dumps(self.prompts).encode()).hexdigest()[:16],
        }
