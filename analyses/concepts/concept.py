"""A concept: what is contrasted, what is steered, and who says whether it worked."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import odesteer_tl as ode
from analyses.outcomes import Completions
from odesteer_tl._folder import new_folder, require_free


@dataclass(frozen=True)
class Concept:
    """A contrast, prompts and outcomes that a study takes as they are, or as the files of `write`.

    Args:
        name: for people and folders.
        pairs: a row a pair, with columns `positive`, `negative`, `group` (pairs that share one stay on one side of a
            split) and, where both are completions of something, `prompt`.
        prompts: what is continued; none of them is in the pairs.
        words: completions whose log-odds say where a prompt leads, which costs no writing.
        judge: an outcome of texts, as it is spelled on a command line.
        says: what success is, and what a small model cannot be expected to do.
        provenance: where the pairs are from.
    """

    name: str
    pairs: pd.DataFrame
    prompts: tuple[str, ...]
    words: Completions
    judge: str
    says: str
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a concept whose prompts are in its pairs."""
        texts = [name for name in ("prompt", "positive", "negative") if name in self.pairs]
        begun = {text for name in texts for text in self.pairs[name]}
        if both := begun & set(self.prompts):
            raise ValueError(f"prompts: {len(both)} are also in the pairs, such as {min(both)[:60]!r}; drop them there")

    def contrast(self) -> ode.ContrastSet:
        """The pairs, each a completion of its prompt where there is one."""
        prompt = "prompt" if "prompt" in self.pairs else None
        rows = self.pairs.to_dict("records")
        source = {"source": f"concept {self.name}", **self.provenance}
        return ode.ContrastSet.from_records(rows, prompt=prompt, group="group", provenance=source)  # pyright: ignore[reportArgumentType]

    def write(self, out: Path) -> Path:
        """Write `pairs.jsonl`, `prompts.json`, `words.json` and `concept.json`, which the commands of studies read.

        Raises:
            ValueError: the folder holds something.
        """
        require_free("out", out)
        sides = {"positive": self.words.positive, "negative": self.words.negative}
        if self.words.prompts:
            columns = {"prompt": self.words.prompts, **sides}
            columns |= {"group": self.words.groups} if self.words.groups else {}
            words: Any = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        else:
            words = {side: list(texts[0]) for side, texts in sides.items()}
        about = {"name": self.name, "says": self.says, "judge": self.judge, **self.provenance}
        with new_folder(out) as part:
            self.pairs.to_json(part / "pairs.jsonl", orient="records", lines=True, force_ascii=False)
            (part / "prompts.json").write_text(json.dumps(self.prompts, indent=0, ensure_ascii=False))
            (part / "words.json").write_text(json.dumps(words, indent=1, ensure_ascii=False))
            (part / "concept.json").write_text(json.dumps(about, indent=1, ensure_ascii=False))
        return out


def wordings(name: str) -> pd.DataFrame:
    """The wordings of `wordings/NAME.csv`, a row each, with the spaces that they begin with."""
    return pd.read_csv(Path(__file__).with_name("wordings") / f"{name}.csv", dtype=str, keep_default_na=False)


def some(pairs: pd.DataFrame, n: int | None, seed: int) -> pd.DataFrame:
    """n of the pairs, drawn without repetition, of as many groups as come; or all.

    Raises:
        ValueError: n is below 1, or there are not as many.
    """
    if n is None:
        return pairs
    if not 0 < n <= len(pairs):
        raise ValueError(f"pairs={n} must be between 1 and the {len(pairs)} that there are")
    return pairs.sample(n, random_state=seed).reset_index(drop=True)


def crossed(pairs: pd.DataFrame, prompts: list[str], n: int, seed: int) -> pd.DataFrame:
    """n rows of every pair behind every prompt, drawn without repetition, as evenly over the pairs as can be.

    The group is the pair: what a method is tested on are wordings that it was not fitted on.

    Raises:
        ValueError: n is below 1, or there are not as many.
    """
    if not 0 < n <= len(pairs) * len(prompts):
        raise ValueError(
            f"pairs={n} must be between 1 and the {len(pairs) * len(prompts)} of {len(pairs)} wordings behind "
            f"{len(prompts)} prompts"
        )
    random = np.random.default_rng(seed)
    orders = [random.permutation(len(prompts)) for _ in range(len(pairs))]
    drawn = [(int(orders[pair][turn]), pair) for turn in range(len(prompts)) for pair in random.permutation(len(pairs))]
    at = pd.DataFrame(drawn[:n], columns=["prompt", "pair"])
    rows = pairs.iloc[at.pair.to_numpy()].reset_index(drop=True)
    return rows.assign(prompt=[prompts[i] for i in at.prompt], group=[f"wording {i}" for i in at.pair])
