"""What is seen of a text's first tokens, and what a predictor that learned from another concept's makes of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from operator import ne
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression

import odesteer_tl as ode
from analyses.outcomes import Outcome, TextOutcome, open_outcome
from analyses.runs import refuse_existing, save_run
from analyses.search_replay import named
from analyses.sources import read_grouped
from odesteer_tl import stats
from odesteer_tl.stats.ranking import areas

if TYPE_CHECKING:
    from analyses.early_looks import EarlyConfig

#: what is known of a candidate before it is asked, and what the first tokens of a text say
PLACE, SEEN = ["level", "depth", "depth²"], ["judged", "repeated", "apart"]
#: the lowest tenth of unsteered texts, by their mean log-likelihood, and what is below are taken for broken
BROKEN = 0.1


def looked(rows: pd.DataFrame, prompts: Sequence[str], tokenizer: Any, outcome: Outcome, first: int) -> pd.DataFrame:
    """A row a steered text of a layer study: `PLACE` and `SEEN`, in standard deviations of the study, and the targets.

    Of its first tokens: `judged` (what the outcome scores them), `repeated` (how many stood among them before) and
    `apart` (how many are others than the unsteered text's).

    Raises:
        ValueError: a text that does not begin with its prompt, or an outcome that is no judge of texts.
    """
    if not isinstance(outcome, TextOutcome):
        raise ValueError(f"outcome={outcome.name!r} judges no texts; name studies that wrote some")
    rows = rows.reset_index(drop=True)
    own, steered = [str(prompts[int(i)]) for i in rows["prompt"]], rows["layer"] >= 0
    if wrong := [text for text, of in zip(rows["text"], own, strict=True) if not text.startswith(of)]:
        raise ValueError(f"prompts are not those of the study, which has the text {wrong[0]!r}")
    behind = [text[len(of) :] for text, of in zip(rows["text"], own, strict=True)]
    tokens = pd.Series([x[:first] for x in tokenizer(behind, add_special_tokens=False)["input_ids"]])
    plain = dict(zip(rows.loc[~steered, "prompt"], tokens[~steered], strict=True))
    seen = pd.DataFrame({
        "judged": outcome.scores(own, list(map(tokenizer.decode, tokens)))["score"].to_numpy(dtype=float),
        "repeated": [len(x) - len({*x}) for x in tokens],
        "apart": [sum(map(ne, x, plain[p])) for p, x in zip(rows["prompt"], tokens, strict=True)],
        "level": np.log(rows["level"].where(steered, 1.0)), "depth": rows["layer"], "depth²": rows["layer"] ** 2,
    })[steered].astype(float)  # fmt: skip
    fluent = rows["log_likelihood"] >= rows.loc[~steered, "log_likelihood"].quantile(BROKEN)
    said = rows[["prompt", "split"]].assign(success=rows["success"].astype(bool), fluent=fluent)[steered]
    arm = rows[steered].groupby(["layer", "label", "budget", "level"]).ngroup()
    spread: Any = seen.std()
    return pd.concat([said.assign(arm=arm), (seen - seen.mean()) / spread.replace(0, 1)], axis=1).reset_index(drop=True)


def foretold(train: pd.DataFrame, test: pd.DataFrame, columns: list[str], target: str) -> NDArray[np.float64]:
    """The probability that a text succeeds, or is fluent, by what was learned elsewhere."""
    fitted = LogisticRegression(max_iter=1000).fit(train[columns], train[target])
    return np.asarray(fitted.predict_proba(test[columns])[:, 1], dtype=float)


def worth(train: pd.DataFrame, test: pd.DataFrame, share: float) -> pd.DataFrame:
    """What a `share` of a text's tokens is worth: a row a target and predictor, of a study it has not learned from.

    Returns:
        `auc` of the texts behind the test prompts, `low` and `high` (over prompts). Of candidates, by what is foretold
        on the select prompts: `rank`, the correlation with what they reach on the test prompts, and `right` with its
        interval: how often the one that does better at a test prompt is foretold to, a mean over prompts.
    """
    found: list[dict[str, Any]] = []
    asked = sorted({*test.loc[test["split"] == "select", "prompt"]})
    for target in ("success", "fluent"):
        said = {"level": test["level"] if target == "success" else -test["level"],  # what is strong is less fluent
                "level and layer, learned": foretold(train, test, PLACE, target),
                "score of the first tokens": test["judged"],
                "first tokens, learned": foretold(train, test, SEEN, target),
                "first tokens, level and layer, learned": foretold(train, test, PLACE + SEEN, target),
                "whole texts of as many tokens": test[target], "whole texts": test[target]}  # fmt: skip
        for by, x in said.items():
            table, whole = test.assign(said=np.asarray(x, dtype=float)), by.startswith("whole")
            rest = table[table["split"] == "test"]
            some = asked[: max(1, round(len(asked) * share))] if whole and by != "whole texts" else asked
            reached = rest.pivot(index="prompt", columns="arm", values=target)
            by_arm: Any = table[table["prompt"].isin(some)].groupby("arm")["said"]
            mean = by_arm.mean().loc[list(reached)].to_numpy()
            right = areas(np.broadcast_to(mean, reached.shape), reached.to_numpy(dtype=bool))
            each = stats.mean(right[~np.isnan(right)], bounds=(0.0, 1.0))
            area = None if whole else stats.auc(rest["said"], rest[target], groups=rest["prompt"])
            rank = np.corrcoef(rankdata(mean), rankdata(reached.mean()))[0, 1] if np.ptp(mean) else np.nan
            found.append({"target": target, "by": by, **({} if area is None else {"auc": area.value, "low": area.low,
                          "high": area.high}), "rank": rank, "right": each.value, "right_low": each.low,
                          "right_high": each.high, "prompts": each.n})  # fmt: skip
    return pd.DataFrame(found)


def run(config: EarlyConfig) -> None:
    """Print what each predictor is worth on each study."""
    if config.out is not None:
        refuse_existing(config.out)
    own = [json.loads((folder / "study.json").read_text())["settings"] for folder in config.studies]
    if len({its["outcome"] for its in own}) < 2:
        raise ValueError(f"studies={[*map(str, config.studies)]} have one outcome; add one of another to learn from")
    tokenizer, parts = ode.load_model(own[0]["model"]).tokenizer, list[pd.DataFrame]()
    for first in config.first:
        seen = [looked(pd.read_parquet(folder / "table.parquet"), read_grouped(str(prompts))[0], tokenizer,
                       open_outcome(its["outcome"]), first)
                for folder, prompts, its in zip(config.studies, config.prompts, own, strict=True)]  # fmt: skip
        for name, test, its in zip(named(config.studies), seen, own, strict=True):
            train = pd.concat([x for x, other in zip(seen, own, strict=True) if other["outcome"] != its["outcome"]])
            parts.append(worth(train, test, first / its["max_new_tokens"]).assign(study=name, first=first))
    found = pd.concat(parts, ignore_index=True)
    print(found.to_markdown(index=False, floatfmt=".3f"))
    if config.out is not None:
        save_run(config.out, {"early": found}, {"config": asdict(config)})
