"""How texts are sampled, and what steers them meanwhile, as those see it who write."""

from __future__ import annotations

from typing import Protocol

import odesteer_tl as ode


class Sampling(Protocol):
    """How texts are sampled."""

    @property
    def temperature(self) -> float: ...
    @property
    def max_new_tokens(self) -> int: ...
    @property
    def seed(self) -> int: ...
    @property
    def measures(self) -> tuple[str, ...]: ...


class Drawing(Sampling, Protocol):
    """The same, with what draws them: an engine's name, or nothing for the model itself."""

    @property
    def engine(self) -> str: ...


class Steering(Protocol):
    """What steers some of the prompts, with a strength a row (`effects.steer.Steer`)."""

    @property
    def untouched(self) -> int: ...
    def steerer_for(self, rows: slice | list[int]) -> ode.Steerer | ode.Composition: ...
