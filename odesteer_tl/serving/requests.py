"""Requests: which steerers steer which prompt at which strength, checked against the engine, saved for its workers."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from odesteer_tl._check import warn
from odesteer_tl.composition import Composition
from odesteer_tl.identity import ModelIdentity
from odesteer_tl.serving.engine import PREFIX, Engine
from odesteer_tl.serving.hook import Saved, SteeringHook, at_strength, barrier_of, require_servable
from odesteer_tl.steerer import Steerer

#: what steers a request: a steerer, several that act together, the folder of a saved one, or nothing
Steers = Steerer | Composition | str | Path | None


@dataclass(frozen=True)
class Member:
    """One steerer of a request.

    Attributes:
        steerer: as it was given, at the strength it was saved with.
        saved: where the workers find it.
        block: the engine's block behind whose output it stands.
        strength: in the flow's own unit, in place of the steerer's; None for that.
    """

    steerer: Steerer
    saved: Saved
    block: int
    strength: float | str | None

    def hook(self, prompt_length: int, begins_special: bool, audit: Saved | None) -> SteeringHook:
        """The hook for one prompt."""
        return SteeringHook(self.saved, prompt_length, begins_special, self.strength, audit)


class Folder:
    """Steerers as folders that workers read: those that are saved stay where they are, others are saved here.

    Args:
        path: a folder that goes when the requests are done.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._known: dict[int, tuple[Steerer, Saved]] = {}

    def member(self, steerer: Steerer | str | Path) -> tuple[Steerer, Saved]:
        """A steerer and where it is saved, each saved once.

        Raises:
            ValueError: it cannot be read, or not be saved.
        """
        if isinstance(steerer, str | Path):
            saved = Saved.at(steerer)
            return saved.load(), saved
        if id(steerer) not in self._known:
            path = self.path / str(len(self._known))
            steerer.save(path)
            self._known[id(steerer)] = (steerer, Saved.at(path))
        return self._known[id(steerer)]

    def members(self, steers: Steers) -> list[tuple[Steerer, Saved]]:
        """All of one request's, in their order."""
        if steers is None:
            return []
        if isinstance(steers, str | Path) and (Path(steers) / "composition.json").exists():
            steers = Composition.load(steers)
        parts = steers.steerers if isinstance(steers, Composition) else (steers,)
        return [self.member(part) for part in parts]


@contextmanager
def shared_folder() -> Generator[Folder]:
    """A folder of this machine for the steerers of one call; those that are saved already need none."""
    with TemporaryDirectory(prefix="odesteer-") as path:
        yield Folder(path)


def one_each(name: str, given: Any, n: int) -> list[Any]:
    """One value a prompt, from one for all or from a sequence.

    Raises:
        ValueError: a sequence of another length.
    """
    if isinstance(given, Iterable) and not isinstance(given, str | bytes | Path):
        each: list[Any] = list(given)
        if len(each) != n:
            raise ValueError(f"{name} has {len(each)} entries for {n} prompts; give one, or one a prompt")
        return each
    return [given] * n


def plan(
    engine: Engine, folder: Folder, steerers: Steers | Sequence[Steers], strengths: Any, n: int
) -> list[list[Member]]:
    """The steerers of every prompt.

    Raises:
        ValueError: as many steerers or strengths as prompts were not given, a strength without a steerer to have it
            or with steerers of several units, or a steerer that cannot run on the engine.
    """
    checked: set[tuple[int, int]] = set()
    found: list[list[Member]] = []
    for i, (steers, strength) in enumerate(
        zip(one_each("steerer", steerers, n), one_each("strength", strengths, n), strict=True)
    ):
        members = folder.members(steers)
        if strength is not None and len({member.flow.unit for member, _ in members}) != 1:
            raise ValueError(
                f"strength[{i}]={strength} is in the unit of a flow, and prompt {i} has "
                f"{'steerers of several' if members else 'no steerer'}; give each its own, with steerer.at(flow)"
            )
        row: list[Member] = []
        for steerer, saved in members:
            block = engine.require_place(steerer.layer, steerer.site)
            if (id(steerer), block) not in checked:
                require_engine(steerer, engine)
                checked.add((id(steerer), block))
            row.append(Member(steerer, saved, block, _plain(steerer, strength)))
        found.append(row)
    return found


def require_engine(steerer: Steerer, engine: Engine) -> None:
    """Raise `ValueError` unless a steerer can run on the engine.

    A steerer that was fitted on a bridge is compared by sizes and precision, since an engine's weights cannot be read
    as a bridge's are; one that is bound to the engine itself by its checkpoint too.
    """
    require_servable(steerer)
    width = engine.cfg.d_model
    if steerer.field.d_model != width:
        raise ValueError(
            f"llm has d_model={width} at {steerer.hook_name!r} but this steerer's field has {steerer.field.d_model}; "
            "fit it on this model's activations"
        )
    mine, found = steerer.model, engine.identity
    if mine is None:
        return
    comparable = mine.fingerprint.startswith(PREFIX)
    for key in ("n_layers", "compatibility_mode", "dtype", *(["fingerprint"] if comparable else [])):
        if getattr(mine, key) != getattr(found, key):
            raise ValueError(
                f"llm: this steerer was made for {mine.name!r} with {key}={getattr(mine, key)!r}, but {found.name!r} "
                f"has {key}={getattr(found, key)!r}; serve the original model in that precision, fit again, or say "
                "`steerer.bound_to(llm)` if you mean to carry it over"
            )
    if not comparable and mine.name != found.name:
        _warn_of_name(mine, found)


def require_audit(folder: Folder, audit: Steerer | str | Path | bool, member: Member) -> Saved | None:
    """Where the workers find the barrier that audits a steerer; None for no audit.

    Raises:
        ValueError: the steerer that is to be its own auditor follows no barrier, or another one was fitted elsewhere.
    """
    if audit is False:
        return None
    steerer, saved = (member.steerer, member.saved) if audit is True else folder.member(audit)
    barrier_of(steerer)
    if (steerer.layer, steerer.site) != (member.steerer.layer, member.steerer.site):
        raise ValueError(
            f"audit: its barrier was fitted at {steerer.hook_name!r}, and the steerer stands at "
            f"{member.steerer.hook_name!r}, where it means nothing; pass one of that place"
        )
    if steerer.field.d_model != member.steerer.field.d_model:
        raise ValueError(
            f"audit: its barrier has width {steerer.field.d_model}, the steerer {member.steerer.field.d_model}; pass "
            "one of this model"
        )
    return saved


def _plain(steerer: Steerer, strength: Any) -> float | str | None:
    """A strength as it is sent to a worker, checked by making the flow that it is for."""
    if strength is None:
        return None
    given = strength if isinstance(strength, str) else float(strength)
    if isinstance(given, float) and not math.isfinite(given):
        raise ValueError(f"strength={strength} must be a finite number, in the flow's own unit {steerer.flow.unit!r}")
    at_strength(steerer.flow, given)
    return given


def _warn_of_name(mine: ModelIdentity, found: ModelIdentity) -> None:
    warn(
        f"llm: this steerer was made for {mine.name!r}, and {found.name!r} has its sizes and precision, but the "
        "weights of an engine cannot be compared with a bridge's; if they are one, `steerer.bound_to(llm)` says so"
    )
