"""One steer of all prompts: an arm fitted at a layer, with a strength for every prompt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from einops import repeat
from jaxtyping import Float
from torch import Tensor

import odesteer_tl as ode
from analyses.effects.arms import Arm
from analyses.effects.fits import LayerFits
from analyses.effects.passage import Passage
from analyses.effects.writing import looks_back
from odesteer_tl.path import Path

#: what steers some of the prompts, with a strength a row
SteererFor = Callable[[slice | list[int]], ode.Steerer | ode.Composition]

#: radians at which the directions of two fits are compared
PROBE_ANGLE = 0.1


@dataclass(frozen=True, eq=False)
class Steer:
    """An arm at a layer, each prompt at its own strength.

    Args:
        strength: as `Arm.flow` takes it; of an arm on several layers one for each of them, or one for all.
        seed, half: of the fit, where another than the study's own is meant.
    """

    fits: LayerFits
    arm: Arm
    strength: Float[Tensor, "n *layers"]
    seed: int | None = None
    half: str = ""

    @property
    def layer(self) -> int:
        """The (last) block that is steered."""
        return self.fits.layer

    @property
    def direct(self) -> bool:
        """Whether the arm acts on this layer's output and one token alone: no model is needed to see what it does."""
        return not self.arm.inside and not self.fits.field(self.arm.method, self.seed, self.half).context

    @property
    def untouched(self) -> int:
        """The last block whose output is still the unsteered one before the arm's own hook; −1 if none is."""
        return self.layer if self.direct else self.arm.first(self.layer) - 1

    def steerer_for(self, rows: slice | list[int], positions: str = "generated") -> ode.Steerer | ode.Composition:
        """What steers a slice of the prompts; each prompt's strength holds at all its positions."""
        found, strength = self.fits.steerer(self.arm, self.seed, self.half), self.strength[rows]
        members = [found] if isinstance(found, ode.Steerer) else found.steerers
        each = strength.T if strength.ndim > 1 else [strength] * len(members)
        steerers = [replace(member, flow=self.arm.flow(one[:, None]), positions=positions)
                    for member, one in zip(members, each, strict=True)]  # fmt: skip
        return steerers[0] if isinstance(found, ode.Steerer) else ode.compose(steerers)

    def residuals(self, prefix: ode.Prefix) -> Float[Tensor, "n pos d"]:
        """The layer's residuals where the prefix's positions, from its start on, are steered."""
        if self.direct:
            field = self.fits.field(self.arm.method, self.seed, self.half)
            before = prefix.residuals[self.layer]
            # padding may be zero, which has no direction
            real = prefix.attention_mask[:, prefix.start :].bool()
            strength = repeat(self.strength.to(real.device), "n -> n pos", pos=real.shape[1])[real]
            end = before.clone()
            end[real] = self.arm.flow(strength).solve(field, before[real]).end
            return end
        steering = self.steerer_for(slice(None), _positions(prefix))
        return prefix.hooked(self.layer, steering.hooks(prefix.start + 1), look_back=looks_back(steering))

    def steps(self, passage: Passage) -> Float[Tensor, "steps_plus_1 n d"] | None:
        """Every point of the path from the token looked at, on the CPU, float64 where the field alone decides it.

        None where it is no path at this layer's output: of heads, or of several layers.
        """
        prefix = passage.prefix
        if self.direct:
            return self.points(passage.at(prefix.residuals[self.layer]).double().cpu())
        steering = self.steerer_for(slice(None), _positions(prefix))
        if self.arm.inside:
            return None
        assert isinstance(steering, ode.Steerer)
        seen: list[tuple[Path, Tensor]] = []
        hooks = steering.hooks(prefix.start + 1, observe=lambda path, columns: seen.append((path, columns)))
        prefix.hooked(self.layer, hooks, look_back=True)
        path, columns = seen[-1]
        assert path.points is not None
        at = torch.searchsorted(columns, passage.looked.to(columns) + prefix.start)
        return path.points[:, torch.arange(len(at)), at].double().cpu()

    def points(
        self, start: Float[Tensor, "n d"], end: Float[Tensor, "n d"] | None = None
    ) -> Float[Tensor, "steps_plus_1 n d"]:
        """The path from an activation a prompt.

        Args:
            end: where the arm leads, which is all there is of the path where it is not `direct`.
        """
        if not self.direct:
            assert end is not None
            return torch.stack([start, end])
        field = self.fits.field(self.arm.method, self.seed, self.half)
        points = self.arm.flow(self.strength).solve(field, start, record=True).points
        assert points is not None
        return points

    def of(self, rows: list[int]) -> Steer:
        """The steer of some of the prompts."""
        return replace(self, strength=self.strength[rows])

    def refitted(self, seed: int | None = None, half: str = "") -> Steer:
        """A short steer by the arm fitted with another seed or on half the texts."""
        return Steer(self.fits, self.arm, torch.full_like(self.strength, PROBE_ANGLE * self.arm.reach), seed, half)


def _positions(prefix: ode.Prefix) -> str:
    """The rule by which all of a prefix's positions from its start on are steered."""
    return "generated" if prefix.start else "all_and_bos"


def angle_between(a: Float[Tensor, "*batch d"], b: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
    """Radians between directions, exact for small ones too."""
    u, w = (x.double() / x.double().norm(dim=-1, keepdim=True) for x in (a, b))
    return 2 * torch.atan2((u - w).norm(dim=-1), (u + w).norm(dim=-1))
