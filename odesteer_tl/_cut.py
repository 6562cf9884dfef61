"""Cutting a contrast into disjoint parts along its groups, and what repeated texts do to such a cut."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from odesteer_tl._check import warn

if TYPE_CHECKING:
    from odesteer_tl.contrast import ContrastSet


def cut(contrast: ContrastSet, fractions: Sequence[float], seed: int) -> list[ContrastSet]:
    """The parts; see `ContrastSet.split`."""
    if min(fractions, default=0) <= 0 or abs(sum(fractions) - 1) > 1e-9:
        raise ValueError(f"fractions={tuple(fractions)} must be positive and sum to 1")
    labels = np.unique(np.asarray([*contrast.positive_groups, *contrast.negative_groups]))
    shuffled = np.random.default_rng(seed).permutation(labels)
    bounds = np.round(np.cumsum([0.0, *fractions]) * len(shuffled)).astype(int)
    parts: list[ContrastSet] = []
    for k in range(len(fractions)):
        keep = set(shuffled[bounds[k] : bounds[k + 1]].tolist())
        made = {"fractions": list(fractions), "seed": seed, "part": k, "groups": len(keep)}
        parts.append(_of_groups(contrast, keep, made))
    _warn_of_shares(contrast, fractions, parts)
    return parts


def repetition(contrast: ContrastSet) -> str | None:
    """What a text that stands three times or more does to the groups, for messages."""
    labels = np.asarray([*contrast.positive_groups, *contrast.negative_groups])
    texts = [*contrast.positive, *contrast.negative]
    ((text, count),) = Counter(texts).most_common(1)
    if count < 3:
        return None
    group = labels[texts.index(text)]
    return (
        f"the text {text[:60]!r} stands {count} times, and equal texts share a group with "
        f"whatever they are paired with, so that {int((labels == group).sum())} of {len(texts)} texts are one "
        "group; drop its repetitions"
    )


def one_group_rules(contrast: ContrastSet) -> bool:
    """Whether one group holds more than half of a class."""
    return any(
        2 * Counter(groups).most_common(1)[0][1] > max(len(groups), 2)
        for groups in (contrast.positive_groups, contrast.negative_groups)
    )


def _of_groups(contrast: ContrastSet, keep: set[int], made: dict[str, Any]) -> ContrastSet:
    """The texts whose group is in `keep`; `made` is what the provenance says of the cut."""
    rows = {side: [i for i, g in enumerate(getattr(contrast, f"{side}_groups")) if g in keep]
            for side in ("positive", "negative")}  # fmt: skip
    if not all(rows.values()):
        raise ValueError(
            f"fractions={made['fractions']}: part {made['part']} would hold {len(rows['positive'])} positive and "
            f"{len(rows['negative'])} negative texts; "
            f"{repetition(contrast) or 'use fewer or larger parts, or more texts'}"
        )
    columns = {f"{side}{what}": (getattr(contrast, f"{side}{what}"), at)
               for side, at in rows.items() for what in ("", "_groups", "_prompts")}  # fmt: skip
    known = {name: tuple(column[i] for i in at) for name, (column, at) in columns.items() if column is not None}
    provenance = {**contrast.provenance, "splits": [*contrast.provenance.get("splits", []), made]}
    return replace(contrast, **known, provenance=provenance)


def _warn_of_shares(contrast: ContrastSet, fractions: Sequence[float], parts: Sequence[ContrastSet]) -> None:
    """Warn where repeated texts make the parts other than asked."""
    n = [len(part.positive) + len(part.negative) for part in parts]
    shares = [x / sum(n) for x in n]
    off = max(abs(share - fraction) for share, fraction in zip(shares, fractions, strict=True))
    if off > 0.1 and one_group_rules(contrast) and (cause := repetition(contrast)):
        got = ", ".join(f"{share:.2f}" for share in shares)
        warn(f"fractions={tuple(fractions)}: the parts hold shares of {got} of the texts; {cause}")
