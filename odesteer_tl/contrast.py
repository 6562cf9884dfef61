"""Contrast sets: positive and negative texts, their pairing, splits and provenance."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from odesteer_tl._check import require_texts, warn
from odesteer_tl._cut import cut, one_group_rules, repetition
from odesteer_tl._display import Result, stacked, table
from odesteer_tl._folder import new_file
from odesteer_tl._groups import joined
from odesteer_tl.chats import Messages, Turns, render_chat
from odesteer_tl.records import (
    Record,
    Template,
    is_chat,
    joined_turns,
    pair_rows,
    read_hub,
    read_records,
    rendered,
    require_columns,
    rows_of,
    text_at,
)

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ContrastSet(Result):
    """Positive and negative texts, with the groups a split must not tear apart.

    Attributes:
        positive, negative: the texts of the two classes.
        positive_groups, negative_groups: one label a text; texts that share a label stay on one side of a split.
            By default equal-length classes are paired by index and identical texts are joined.
        provenance: where the texts came from and which splits were taken, as JSON-able values.
        positive_prompts, negative_prompts: how many characters at the beginning of each text are its prompt, the rest
            being the completion; None where nothing is known of that.
        prepend_bos: what reading the texts does about a BOS unless it is told otherwise: False for chats, whose
            template has written every special token; None as TransformerLens does.

    Example:
        >>> import odesteer_tl as ode
        >>> contrast = ode.ContrastSet.from_texts(["a good film", "a fine day"], ["a bad film", "a poor day"])
        >>> contrast.paired
        True
        >>> fit, test = contrast.split((0.5, 0.5), seed=0)  # a pair is never torn apart
        >>> len(fit.positive), len(test.negative)
        (1, 1)
    """

    positive: tuple[str, ...]
    negative: tuple[str, ...]
    positive_groups: tuple[int, ...]
    negative_groups: tuple[int, ...]
    provenance: dict[str, Any] = field(default_factory=dict[str, Any])
    positive_prompts: tuple[int, ...] | None = None
    negative_prompts: tuple[int, ...] | None = None
    prepend_bos: bool | None = None

    def __post_init__(self) -> None:
        for name, texts, prompts in (
            ("positive_prompts", self.positive, self.positive_prompts),
            ("negative_prompts", self.negative, self.negative_prompts),
        ):
            if prompts is None:
                continue
            if len(prompts) != len(texts):
                raise ValueError(f"{name} has {len(prompts)} lengths for {len(texts)} texts; give one a text")
            for i, (text, characters) in enumerate(zip(texts, prompts, strict=True)):
                if not 0 <= characters < len(text):
                    raise ValueError(
                        f"{name}[{i}]={characters} leaves no completion in a text of {len(text)} characters; "
                        "a prompt must be shorter than its text"
                    )
        for name, texts in (("positive", self.positive), ("negative", self.negative)):
            if not texts:
                raise ValueError(f"{name} is empty; a contrast needs at least one text on each side")
            for i, text in enumerate(texts):
                if not isinstance(text, str) or not text.strip():  # pyright: ignore[reportUnnecessaryIsInstance]
                    raise ValueError(f"{name}[{i}]={text!r} is not a non-empty string; drop the row or fix its column")

    @classmethod
    def from_texts(
        cls,
        positive: Iterable[str],
        negative: Iterable[str],
        groups: tuple[Sequence[object], Sequence[object]] | None = None,
        provenance: dict[str, Any] | None = None,
    ) -> ContrastSet:
        """Build a contrast from two collections of texts.

        Args:
            groups: labels for the positive and the negative texts (a question id, say). Left out, texts of equally
                long classes are taken as pairs by index, and of unequal classes as singletons; identical texts
                always share a group, so that a split can never leak one.

        Raises:
            ValueError: a class is empty or one string, a text is blank or no string, or `groups` does not match them.

        Warns:
            UserWarning: a text that stands many times joins most of the texts into one group.
        """
        pos, neg = tuple(require_texts("positive", positive)), tuple(require_texts("negative", negative))
        if groups is None:
            start = 0 if len(pos) == len(neg) else len(pos)
            groups = (range(len(pos)), range(start, start + len(neg)))
        if (len(groups[0]), len(groups[1])) != (len(pos), len(neg)):
            raise ValueError(
                f"groups has lengths {(len(groups[0]), len(groups[1]))} but there are {(len(pos), len(neg))} texts; "
                "give one label a text"
            )
        numbers = joined([*groups[0], *groups[1]], [*pos, *neg])
        contrast = cls(pos, neg, numbers[: len(pos)], numbers[len(pos) :], provenance or {"source": "texts"})
        if one_group_rules(contrast) and (cause := repetition(contrast)):
            warn(f"{cause}: a split keeps them together, and folds and intervals take them for one")
        return contrast

    @classmethod
    def from_completions(
        cls,
        prompts: str | Iterable[str],
        positive: Iterable[str],
        negative: Iterable[str],
        groups: tuple[Sequence[object], Sequence[object]] | None = None,
        provenance: dict[str, Any] | None = None,
    ) -> ContrastSet:
        """Build a contrast from prompts with two completions each; where a completion begins is remembered.

        A text is `prompt + completion`, with nothing put between: let one of them have the space.

        Args:
            prompts: one a row, or one for all.
            positive, negative: the completions.
            groups: as in `from_texts`; by default rows of equal prompts share a group, unless all have the same one.

        Raises:
            ValueError: there are not as many prompts and completions, a completion is blank, or see `from_texts`.

        Example:
            >>> import odesteer_tl as ode
            >>> contrast = ode.ContrastSet.from_completions(["I feel", "It was"], [" fine", " fun"], [" ill", " dull"])
            >>> contrast.negative[0], contrast.negative[0][contrast.negative_prompts[0] :]
            ('I feel ill', ' ill')
        """
        good, bad = require_texts("positive", positive), require_texts("negative", negative)
        asked = [prompts] * len(good) if isinstance(prompts, str) else require_texts("prompts", prompts)
        if not len(asked) == len(good) == len(bad):
            raise ValueError(
                f"prompts, positive and negative have {len(asked)}, {len(good)} and {len(bad)} rows; give every prompt "
                "one completion of each"
            )
        for name, rows in (("prompts", asked), ("positive", good), ("negative", bad)):
            for i, row in enumerate(rows):
                if name != "prompts" and not row.strip():
                    raise ValueError(f"{name}[{i}]={row!r} is not a text; drop the row or fix its column")
        if groups is None and len(set(asked)) > 1:
            groups = (asked, asked)
        texts = [[prompt + end for prompt, end in zip(asked, ends, strict=True)] for ends in (good, bad)]
        contrast = cls.from_texts(*texts, groups=groups, provenance=provenance or {"source": "completions"})
        lengths = tuple(len(prompt) for prompt in asked)
        return replace(contrast, positive_prompts=lengths, negative_prompts=lengths)

    @classmethod
    def from_chat(
        cls,
        model: Any,
        positive: Iterable[Messages],
        negative: Iterable[Messages],
        groups: tuple[Sequence[object], Sequence[object]] | None = None,
        provenance: dict[str, Any] | None = None,
    ) -> ContrastSet:
        """Build a contrast from chats, written as the model's own template writes them.

        A chat that ends with the assistant's turn is left open behind its content, which is the completion: its last
        token is the text's. Any other is followed by what asks for the assistant's turn. The template writes the
        special tokens, the BOS among them; none is to be added when the texts are read.

        Args:
            model: a bridge, or a tokenizer, with a chat template.
            positive, negative: lists of `{"role": …, "content": …}`.
            groups: as in `from_texts`.

        Raises:
            ValueError: there is no chat template, a chat is empty or not a list of messages, or the template does not
                write a chat as the continuation of the chat before its last turn.
        """
        sides = [[render_chat(model, chat) for chat in chats] for chats in (positive, negative)]
        texts = [[turns.text for turns in side] for side in sides]
        contrast = cls.from_texts(*texts, groups=groups, provenance=provenance or {"source": "chats"})
        starts = [_prompt_lengths(side) for side in sides]
        return replace(contrast, positive_prompts=starts[0], negative_prompts=starts[1], prepend_bos=False)

    @classmethod
    def from_records(
        cls,
        records: Iterable[Record],
        *,
        text: str | None = None,
        label: str | None = None,
        positive: object = "positive",
        negative: object = "negative",
        prompt: str | None = None,
        group: str | None = None,
        template: Template = "{text}",
        provenance: dict[str, Any] | None = None,
        model: Any = None,
    ) -> ContrastSet:
        """Build a contrast from rows, in one of two layouts.

        Labelled rows: `text` names the text column, `label` the label column, `positive` and `negative` the label's
        two values. Paired rows: leave `text` and `label` out; `positive` and `negative` name the two columns.

        Args:
            prompt: of paired rows, the column of what both completions follow (see `from_completions`).
            model: whose chat template writes message lists as texts (see `from_chat`); of a row with a prompt, prompt
                and completion are the turns of one chat, a plain text being the user's and the assistant's.
            group: a column whose equal values are kept on one side of a split; paired rows are groups anyway.
            template: how a row becomes a text: a format string over the row's columns and `{text}`, or a callable
                `(row, text) -> str`.

        Raises:
            ValueError: a column is missing, only one of `text` and `label` is given, a class is empty, or a row has
                something else than a string where its text is meant (row and column are named).
        """
        rows = rows_of(records)
        if (text is None) != (label is None):
            raise ValueError(f"text={text!r}, label={label!r}: give both (labelled rows) or neither (paired columns)")
        needed = [str(positive), str(negative)] if text is None else [text, str(label)]
        require_columns(rows, [*needed, *(name for name in (group, prompt) if name)])
        provenance = provenance or {"source": "records"}
        turns = [*needed, *([prompt] if prompt else [])]
        if text is None and any(is_chat(row[name]) for row in rows for name in turns):
            if model is None:
                raise ValueError(
                    f"column {positive!r}, {negative!r} or {prompt!r} holds message lists; pass model=, whose chat "
                    "template writes them as texts"
                )
            chats = [[joined_turns(row[prompt] if prompt else [], row[name]) for row in rows] for name in needed]
            labels = [row[group] for row in rows] if group else range(len(rows))
            return cls.from_chat(model, *chats, groups=(labels, labels), provenance=provenance)
        if prompt is not None:
            if text is not None or template != "{text}":
                raise ValueError(f"prompt={prompt!r} goes with paired columns alone, without text, label or template")
            columns = ([text_at(rows, i, name) for i in range(len(rows))] for name in (prompt, *needed))
            labels = [row[group] for row in rows] if group else None
            groups = None if labels is None else (labels, labels)
            return cls.from_completions(*columns, groups=groups, provenance=provenance)
        texts: tuple[list[str], list[str]] = ([], [])
        grouped: tuple[list[object], list[object]] = ([], [])
        for i, row in enumerate(rows):
            for side, wanted in enumerate((positive, negative)):
                if text is None or str(row[str(label)]) == str(wanted):
                    texts[side].append(rendered(rows, i, text or str(wanted), template))
                    grouped[side].append(row[group] if group else i)
        return cls.from_texts(*texts, groups=grouped, provenance=provenance)

    @classmethod
    def from_file(cls, path: str | Path, **layout: Any) -> ContrastSet:
        """Read a `.csv`, `.jsonl`, `.json` (an array of objects) or `.parquet` file.

        Args:
            layout: that of `from_records`; left out, the columns "positive" and "negative", behind "prompt" and
                grouped by "group" where there are such columns. A column may hold message lists (in CSV as JSON),
                which need `model=`.

        Raises:
            ValueError: another ending, or see `from_records`.
        """
        rows = read_records(path)
        if not layout.keys() - {"group", "model"} and rows:
            layout = {**{name: name for name in ("prompt", "group") if name in rows[0]}, **layout}
        # never the folder: paths of one machine mean nothing on another
        source = {"source": Path(path).name, "sha256": hashlib.sha256(Path(path).read_bytes()).hexdigest()}
        return cls.from_records(rows, provenance=source, **layout)

    #: the same, by the name of an ending
    from_csv = from_jsonl = from_parquet = from_file

    def to_file(self, path: str | Path) -> Path:
        """Write the pairs as `.jsonl`, a pair a line, as `from_file` and studies read them; a file there is replaced.

        Returns:
            The path.

        Raises:
            ValueError: another ending, or what such a file cannot say: texts that are no pairs, chats, or completions
                of different prompts.

        Example:
            >>> import odesteer_tl as ode, tempfile
            >>> contrast = ode.ContrastSet.from_texts(["a good film", "a fine day"], ["a bad film", "a poor day"])
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     ode.ContrastSet.from_file(contrast.to_file(f"{folder}/pairs.jsonl")).digest == contrast.digest
            True
        """
        if Path(path).suffix != ".jsonl":
            raise ValueError(f"path={str(path)!r} must end in .jsonl, which has a pair a line")
        rows = pair_rows(self)
        with new_file(path) as part:
            part.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        return Path(path)

    @classmethod
    def from_hub(cls, name: str, *, revision: str | None, split: str = "train", **layout: Any) -> ContrastSet:
        """Load a Hugging Face dataset at a pinned revision; `layout` is that of `from_records`.

        A local directory or data file is served by the same loader; only there may `revision` be None.

        Raises:
            ValueError: `name` is a hub name and `revision` is None: an unpinned data set does not reproduce.
        """
        rows, source = read_hub(name, revision, split)
        return cls.from_records(rows, provenance=source, **layout)

    def split(self, fractions: Sequence[float], seed: int = 0) -> tuple[ContrastSet, ...]:
        """Cut into disjoint parts along groups; each part's provenance records the cut.

        Args:
            fractions: positive shares, summing to 1; `(0.5, 0.2, 0.3)` gives three parts.
            seed: of the shuffle of groups.

        Raises:
            ValueError: fractions do not sum to 1, or a part would lack one of the classes.
        """
        return tuple(cut(self, fractions, seed))

    @property
    def paired(self) -> bool:
        """Whether row i of both classes belongs together."""
        return self.positive_groups == self.negative_groups

    @property
    def digest(self) -> str:
        """A hash of the texts of both classes, in order, and of where their completions begin."""
        content: list[object] = [self.positive, self.negative]
        if self.positive_prompts is not None or self.negative_prompts is not None:
            content += [self.positive_prompts, self.negative_prompts]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    def _facts(self) -> dict[str, object]:
        return {
            "positive texts": len(self.positive),
            "negative texts": len(self.negative),
            "groups": len({*self.positive_groups, *self.negative_groups}),
            "paired": self.paired,
            "first positive": self.positive[0],
            "first negative": self.negative[0],
            "provenance": self.provenance,
        }

    def frame(self) -> pd.DataFrame:
        """One row a text: its class, its number within it, its group, the length of its prompt if known, the text."""
        sides = (
            ("positive", self.positive, self.positive_groups, self.positive_prompts),
            ("negative", self.negative, self.negative_groups, self.negative_prompts),
        )
        return stacked(
            table(
                {
                    "class": side,
                    "number": range(len(texts)),
                    "group": groups,
                    "prompt_characters": [None] * len(texts) if prompts is None else prompts,
                    "text": texts,
                }
            )
            for side, texts, groups, prompts in sides
        )

    def __repr__(self) -> str:
        kind = "paired" if self.paired else "unpaired"
        return f"ContrastSet({len(self.positive)} positive, {len(self.negative)} negative, {kind}, {self.provenance})"


def _prompt_lengths(side: Sequence[Turns]) -> tuple[int, ...] | None:
    """Where the completions of one class begin, if every chat has one."""
    starts = tuple(turns.start for turns in side if turns.start is not None)
    return starts if len(starts) == len(side) else None
