"""Text generated under every arm, and every steered token of it under the densities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm.auto import tqdm
from transformer_lens.model_bridge import TransformerBridge

import odesteer_tl as ode
from analyses.effects.writing import Written
from analyses.likelihood.arms import POSITIVES, UNSTEERED
from analyses.likelihood.jury import Fields, Jury
from analyses.likelihood.prediction import PLACES, PREDICTORS
from analyses.likelihood.study import Settings
from analyses.outcomes import TextOutcome
from analyses.prompted import Prompted
from analyses.recording import Drawing, Recording, Unsteered, recorded
from analyses.text_quality import diversity

#: where tokens stand before and after a rotation's fields have moved them
Points = Callable[[Fields], Tensor]
#: prompts a pass, and tokens steered together
BATCH, BLOCK = 250, 1024


@dataclass(frozen=True, eq=False)
class Starts:
    """What is written from: the prompts steered and real positives, each up to its last token once for all layers."""

    prompts: Prompted
    positives: Prompted
    groups: tuple[tuple[int, ...], tuple[int, ...]]
    drawing: Drawing

    @classmethod
    def of(cls, model: TransformerBridge, test: ode.ContrastSet, s: Settings) -> Starts:
        """Of the test split."""
        prompts, positives = Prompted(model, list(test.negative), BATCH), Prompted(model, list(test.positive), BATCH)
        drawing = Drawing(s.max_new_tokens, s.temperature, s.seed)
        return cls(prompts, positives, (test.negative_groups, test.positive_groups), drawing)

    def unsteered(self, layers: Sequence[int]) -> tuple[Unsteered, Unsteered]:
        """The texts that the unsteered model writes behind both, with their states at `layers`."""
        return (Unsteered.of(self.prompts, layers, self.drawing), Unsteered.of(self.positives, layers, self.drawing))


def decoded(
    starts: Starts, plain: tuple[Unsteered, Unsteered], layer: int, jury: Jury, s: Settings, steered: bool,
    outcome: TextOutcome | None,
) -> tuple[pd.DataFrame, pd.DataFrame]:  # fmt: skip
    """Every steered token under the densities, and the texts it came from.

    Args:
        plain: what the unsteered model wrote behind the prompts and behind the real positives.
        steered: whether every arm writes at every strength; otherwise the unsteered texts' tokens are what is steered.
            A jury of several members has no text of its own.
        outcome: what judges the texts.
    """
    tokens: list[pd.DataFrame] = []
    texts: list[pd.DataFrame] = []

    def keep(found: Recording, label: str, strength: float, positive: bool, points: Points | None = None) -> None:
        labels = starts.groups[int(positive)]
        here = [labels[i] for i in found.prompt.tolist()]
        scored = jury.frame(jury.score((lambda _: found.points) if points is None else points, here))
        place = {"prompt": found.prompt.repeat(2).numpy(), "token": found.token.repeat(2).numpy()}
        cell = {"method": label, "strength": strength}
        tokens.append(scored.rename(columns={"step": "state"}).assign(**place, **cell))
        if found.written:
            side = starts.positives if positive else starts.prompts
            texts.append(_texts(side.prompts, found.written, tokens[-1]).assign(**cell))

    for label, own, positive in ((UNSTEERED, plain[0], False), (POSITIVES, plain[1], True)):
        states = own.states[layer]
        keep(Recording(torch.stack([states, states]), own.prompt, own.token, own.written), label, 0.0, positive)
    cells = [(arm, strength) for arm in jury.arms for strength in s.strengths]
    for arm, strength in tqdm(cells, desc="generating", leave=False, disable=not steered):
        flow = arm.flow(strength, s.step(strength))
        if steered:
            (member,) = jury.members
            steerer = ode.Steerer(member[0][arm.method], flow, layer)
            keep(Recording.joined(recorded(starts.prompts, steerer, starts.drawing, Recording.ends, compared=True)),
                 arm.label, strength, False)  # fmt: skip
        else:
            states = plain[0].states[layer]

            def moved(
                fields: Fields, flow: ode.Flow = flow, method: str = arm.method, states: Tensor = states
            ) -> Tensor:
                ends = [flow.solve(fields[method], states[rows]).end for rows in plain[0].blocks(BLOCK)]
                return torch.stack([states, torch.cat(ends)])

            still = Recording(torch.stack([states, states]), plain[0].prompt, plain[0].token, ())
            keep(still, arm.label, strength, False, moved)
    written = pd.concat(texts, ignore_index=True)
    return pd.concat(tokens, ignore_index=True), written if outcome is None else judged(outcome, written)


def judged(outcome: TextOutcome, texts: pd.DataFrame) -> pd.DataFrame:
    """The texts with `score` and `success`; a score without a threshold is held against the unsteered texts' median."""
    found = outcome.scores(texts["opening"].tolist(), texts["continuation"].tolist())
    if "success" not in found:
        plain = found.loc[(texts["method"] == UNSTEERED).to_numpy(), "score"]
        found["success"] = found["score"] > (plain.median() if outcome.threshold is None else outcome.threshold)
    return texts.assign(score=found["score"].to_numpy(), success=found["success"].to_numpy())


def _texts(prompts: Sequence[str], written: Sequence[Written], scored: pd.DataFrame) -> pd.DataFrame:
    """One row a prompt: its continuation, how good it is, and the steered states that it came from."""
    steered: pd.DataFrame = scored.loc[scored["state"] == 1]
    grouped: Any = steered.groupby("prompt")
    by_prompt = grouped[[*PREDICTORS]]
    # the prompt's last token comes first
    states = [
        grouped["group"].first(),
        by_prompt.first().add_prefix(f"{PLACES[0]}_"),
        by_prompt.mean().add_prefix(f"{PLACES[1]}_"),
    ]
    continuations = [text for part in written for text in part.continuations]
    columns = {"opening": prompts, "continuation": continuations}
    quality = diversity(continuations).assign(log_likelihood=np.concatenate([_likelihood(x) for x in written]))
    quality = quality.assign(perplexity=np.exp(-quality["log_likelihood"]))
    return pd.concat([pd.DataFrame({"prompt": range(len(prompts)), **columns}), *states, quality], axis=1)


def _likelihood(written: Written) -> NDArray[np.float64]:
    """Of each continuation under the unsteered model, nats a token; NaN of an empty one."""
    sums = torch.where(written.kept, written.log_likelihood, 0.0).sum(1).numpy()
    counts = written.kept.sum(1).numpy()
    return np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)
