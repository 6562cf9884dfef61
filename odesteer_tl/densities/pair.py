"""The pair p₊ and p₋: separately or jointly (tied) selected, calibrated on a split of their own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from odesteer_tl._check import require_classes
from odesteer_tl._difference import require_different
from odesteer_tl._display import Displayed
from odesteer_tl.densities.base import Density
from odesteer_tl.densities.calibration import LEAST_HELD_OUT, Fit, PairCalibration, affine_log_ratio
from odesteer_tl.densities.gaussian import Gaussian
from odesteer_tl.densities.registry import DENSITIES
from odesteer_tl.densities.selection import select_density
from odesteer_tl.densities.splits import Splits

if TYPE_CHECKING:  # a saved field may hold a density where there is no pandas
    import pandas as pd

Groups = tuple[Iterable[int], Iterable[int]]
PARTS = ("positive", "negative", "within", "background")


class DensityPair(Displayed):
    """log p₊, log p₋ and their ratio, from activations of positive and negative texts.

    Args:
        candidates: unfitted densities to choose among (`directional_candidates(n, d)` for what a barrier on the sphere
            sees); None for all ambient families that the samples can carry.
        tied: one density but for the location, chosen for both classes together: better ratios, worse log-densities
            where the covariances differ.
        folds: of the held-out choice, grouped by prompt.
    """

    def __init__(
        self, candidates: Sequence[Density] | None = None, tied: bool = False, folds: int = 5, seed: int = 0
    ) -> None:
        self.candidates = candidates
        self.tied = tied
        self.folds = folds
        self.seed = seed
        import pandas as pd

        self.restore({}, Splits(), None, pd.DataFrame())

    def restore(
        self, parts: dict[str, Density], splits: Splits, calibration: PairCalibration | None, table: pd.DataFrame
    ) -> DensityPair:
        """Take over fitted densities: p₊, p₋, and the two Gaussians of the relative Mahalanobis distance."""
        self.parts: dict[str, Density] = parts
        self.splits: Splits = splits
        self.calibration: PairCalibration | None = calibration
        self.table: pd.DataFrame = table
        return self

    def fit(
        self,
        positive: Float[Tensor, "n d"],
        negative: Float[Tensor, "m d"],
        groups: Groups,
        barrier_groups: Iterable[int] = (),
    ) -> DensityPair:
        """Choose and fit both densities.

        Args:
            groups: prompt labels of the positive and of the negative rows.
            barrier_groups: prompts the barrier was fitted on, refused here and in every later split.

        Raises:
            ValueError: as `select_density`, a prompt of the barrier is among `groups`, or both classes are the same
                activations within rounding.
        """
        require_classes(positive, negative)
        labels = [[int(g) for g in side] for side in groups]
        splits = Splits().extended("barrier", barrier_groups).extended("density", labels[0] + labels[1])
        rows = (positive.detach().cpu().double(), negative.detach().cpu().double())
        require_different(*rows)
        if self.tied:
            classes = torch.arange(2).repeat_interleave(torch.tensor([len(x) for x in rows]))
            chosen = select_density(
                torch.cat(rows), labels[0] + labels[1], self.candidates, self.folds, classes, self.seed
            )
            densities, table = chosen.densities, chosen.table.assign(side="both")
        else:
            each = [
                select_density(x, g, self.candidates, self.folds, None, self.seed)
                for x, g in zip(rows, labels, strict=True)
            ]
            densities = (each[0].density, each[1].density)
            import pandas as pd

            table = pd.concat([s.table.assign(side=k) for s, k in zip(each, PARTS, strict=False)], ignore_index=True)
        family = densities[0].gaussian
        within, background = family.fit_tied(rows)[0], family.fit_tied([torch.cat(rows)])[0]
        return self.restore(dict(zip(PARTS, (*densities, within, background), strict=True)), splits, None, table)

    def calibrate(self, positive: Float[Tensor, "n d"], negative: Float[Tensor, "m d"], groups: Groups) -> DensityPair:
        """Measure both densities and recalibrate their ratio on prompts that took no part in `fit`.

        Raises:
            ValueError: a prompt was seen by the barrier or the densities, or fewer than 40 prompts of positives.
        """
        require_classes(positive, negative)
        labels = [[int(g) for g in side] for side in groups]
        splits = self.splits.extended("calibration", labels[0] + labels[1])
        if (prompts := len({*labels[0]})) < LEAST_HELD_OUT:
            raise ValueError(f"positive has {len(positive)} rows of {prompts} prompts; a 2.5 % rank needs at least "
                             f"{LEAST_HELD_OUT} prompts")  # fmt: skip
        rows = (positive.detach().cpu().double(), negative.detach().cpu().double())
        fits = [Fit.of(density, x, self.seed, g)
                for density, x, g in zip((self.positive, self.negative), rows, labels, strict=True)]  # fmt: skip
        slope, intercept = affine_log_ratio(*(self.raw_ratio(x) for x in rows))
        held_out = self.log_positive(rows[0]).sort().values
        calibration = PairCalibration(slope, intercept, fits[0], fits[1], held_out)
        return self.restore(self.parts, splits, calibration, self.table)

    @property
    def positive(self) -> Density:
        """The density p₊."""
        return self._part("positive")

    @property
    def negative(self) -> Density:
        """The density p₋."""
        return self._part("negative")

    @property
    def calibrated(self) -> PairCalibration:
        """The calibration.

        Raises:
            ValueError: `calibrate` has not been called.
        """
        if self.calibration is None:
            raise ValueError("this pair is not calibrated; call calibrate(positive, negative, groups) on held-out data")
        return self.calibration

    def log_positive(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """log p₊(a), nats."""
        return self.positive.log_prob(a)

    def log_negative(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """log p₋(a), nats."""
        return self.negative.log_prob(a)

    def raw_ratio(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """log p₊(a) − log p₋(a) as the densities have it, nats; usually overconfident."""
        return self.log_positive(a) - self.log_negative(a)

    def log_ratio(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """The recalibrated log p₊(a)/p₋(a), nats.

        Raises:
            ValueError: `calibrate` has not been called.
        """
        return self.calibrated.slope * self.raw_ratio(a) + self.calibrated.intercept

    def relative_mahalanobis(self, a: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        """Squared Mahalanobis distance to the positives (within-class covariance) less that to all activations.

        Small where a is typical of the positives in particular (Ren et al. 2021, arXiv 2106.09022). Always of the
        activation itself, with the Gaussian family chosen for p₊ (PPCA of the same rank where that is no Gaussian).
        """
        within, background = self._part("within"), self._part("background")
        assert isinstance(within, Gaussian)
        assert isinstance(background, Gaussian)
        return within.mahalanobis(a) - background.mahalanobis(a)

    def dump(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """What `load` needs: JSON-able settings and flat tensors."""
        tensors = {f"{part}.{k}": x for part, density in self.parts.items() for k, x in density.state.items()}
        settings: dict[str, Any] = {
            "tied": self.tied, "folds": self.folds, "seed": self.seed, "splits": asdict(self.splits),
            "parts": {k: {"kind": type(x).__name__, "config": x.config()} for k, x in self.parts.items()},
            "table": self.table.to_dict("list"),
        }  # fmt: skip
        if self.calibration is not None:
            settings["calibration"] = {
                "slope": self.calibration.slope, "intercept": self.calibration.intercept,
                "positive": asdict(self.calibration.positive), "negative": asdict(self.calibration.negative),
            }  # fmt: skip
            tensors["held_out"] = self.calibration.held_out
        return settings, tensors

    @classmethod
    def load(cls, settings: dict[str, Any], tensors: dict[str, Tensor]) -> DensityPair:
        """Rebuild a pair from `dump`'s output (the candidates that were not chosen live on in the table alone)."""
        parts: dict[str, Density] = {}
        for name, saved in settings["parts"].items():
            state = {k.removeprefix(f"{name}."): x for k, x in tensors.items() if k.startswith(f"{name}.")}
            parts[name] = DENSITIES[saved["kind"]].from_config(saved["config"]).restore(state)
        calibration = None
        if "calibration" in settings:
            found = settings["calibration"]
            fits = (Fit(**found["positive"]), Fit(**found["negative"]))
            calibration = PairCalibration(found["slope"], found["intercept"], *fits, tensors["held_out"])
        splits = Splits(**{k: tuple(v) for k, v in settings["splits"].items()})
        import pandas as pd

        pair = cls(None, settings["tied"], settings["folds"], settings["seed"])
        return pair.restore(parts, splits, calibration, pd.DataFrame(settings["table"]))

    def _part(self, name: str) -> Density:
        if name not in self.parts:
            raise ValueError("this pair is not fitted; call fit(positive, negative, groups)")
        return self.parts[name]

    def _facts(self) -> dict[str, object]:
        sizes = {name: len(labels) for name, labels in asdict(self.splits).items() if labels}
        return {
            "p+": self.parts.get("positive", "not fitted"),
            "p−": self.parts.get("negative", "not fitted"),
            "tied": self.tied,
            "prompts": ", ".join(f"{n} {name}" for name, n in sizes.items()) or "none",
            "calibration": self.calibration or "none: call calibrate",
        }

    def __repr__(self) -> str:
        inside = f"positive={self.parts['positive']}, negative={self.parts['negative']}" if self.parts else "not fitted"
        return f"DensityPair({inside}, tied={self.tied}{'' if self.calibration else ', not calibrated'})"
