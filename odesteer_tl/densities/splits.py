"""The four splits of a study, by prompt: what the barrier, the densities, the calibration and the test have seen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace

from odesteer_tl._check import require_one_of


@dataclass(frozen=True)
class Splits:
    """Prompt labels (sorted, each once) of four splits that share none.

    Args:
        barrier, density, calibration, test: the prompts on which each was fitted, or is scored.

    Raises:
        ValueError: a prompt stands in two splits: what is held out of one would have been seen in the other.
    """

    barrier: tuple[int, ...] = ()
    density: tuple[int, ...] = ()
    calibration: tuple[int, ...] = ()
    test: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        owner: dict[int, str] = {}
        for name, labels in asdict(self).items():
            shared = [x for x in labels if x in owner]
            if shared:
                raise ValueError(
                    f"{name} and {owner[shared[0]]} share {len(shared)} prompt(s) (the first: {shared[:3]}); held-out "
                    "results need disjoint prompts: cut the splits by group, as ContrastSet.split does"
                )
            owner.update(dict.fromkeys(labels, name))

    def extended(self, name: str, groups: Iterable[int]) -> Splits:
        """The same with prompts added to one split (a prompt may be added again to the split it is in).

        Raises:
            ValueError: `name` is not a split, or a prompt stands in another split already.
        """
        require_one_of("name", name, [f.name for f in fields(self)])
        return replace(self, **{name: tuple(sorted({*getattr(self, name), *(int(g) for g in groups)}))})
