"""Text generated under every arm, and every steered token of it under the densities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, get_args

import numpy as np
import pandas as pd
from tqdm.auto import tqdm
from transformer_lens.model_bridge import TransformerBridge

import odesteer_tl as ode
from analyses.likelihood.arms import ARMS, Arm, groups
from analyses.likelihood.prediction import PLACES, PREDICTORS
from analyses.likelihood.referee import Referee
from analyses.likelihood.study import Settings
from analyses.recording import Recording, record
from analyses.text_quality import text_quality
from odesteer_tl import organism

#: the true posterior of the concept for each continuation
Judge = Callable[[Sequence[str]], "np.ndarray[Any, Any]"]
UNSTEERED, POSITIVES = "unsteered", "real positives"


def exact_judge(contrast: str) -> Judge | None:
    """The organism's grammar for one of its concepts; of other texts nothing is known exactly."""
    if contrast not in get_args(organism.Concept):
        return None
    return lambda texts: organism.judge(texts)[contrast].to_numpy()


def decoded(
    model: TransformerBridge, layer: int, test: ode.ContrastSet, fields: dict[str, ode.VectorField], referee: Referee,
    s: Settings, judge: Judge | None,
) -> tuple[pd.DataFrame, pd.DataFrame]:  # fmt: skip
    """Generate from the test prompts with every arm at every strength, and from real positives; score every token."""
    rest = Arm(UNSTEERED, ARMS[0].method, "geodesic")
    cells = [(UNSTEERED, rest, 0.0, False), (POSITIVES, rest, 0.0, True)]
    cells += [(arm.label, arm, strength, False) for arm in ARMS for strength in s.strengths]
    tokens: list[pd.DataFrame] = []
    texts: list[pd.DataFrame] = []
    for label, arm, strength, positive in tqdm(cells, desc="generating", leave=False):
        side = int(not positive)
        prompts, labels = (test.positive, test.negative)[side], groups(test)[side]
        steerer = ode.Steerer(fields[arm.method], arm.flow(strength, s.step(strength)), layer)
        found = record(model, steerer, prompts, temperature=s.temperature, max_new_tokens=s.max_new_tokens,
                       seed=s.seed, batch_size=250)  # fmt: skip
        scored = referee.frame(referee.score(found.points[[0, -1]], [labels[i] for i in found.prompt.tolist()]))
        place = {"prompt": found.prompt.repeat(2).numpy(), "token": found.token.repeat(2).numpy()}
        cell = {"method": label, "strength": strength}
        scored = scored.rename(columns={"step": "state"}).assign(**place, **cell)
        tokens.append(scored)
        texts.append(_texts(prompts, found, scored).assign(**cell))
    written = pd.concat(texts, ignore_index=True)
    quality = text_quality(model, written["opening"].tolist(), written["continuation"].tolist())
    verdict = {} if judge is None else {"posterior": judge(written["continuation"].tolist())}
    return pd.concat(tokens, ignore_index=True), pd.concat([written, quality], axis=1).assign(**verdict)


def _texts(prompts: Sequence[str], found: Recording, scored: pd.DataFrame) -> pd.DataFrame:
    """One row a prompt: its continuation, and the steered states that it came from."""
    steered: pd.DataFrame = scored.loc[scored["state"] == 1]
    by_prompt: Any = steered.groupby("prompt")[[*PREDICTORS]]
    # the prompt's last token comes first
    states = [by_prompt.first().add_prefix(f"{PLACES[0]}_"), by_prompt.mean().add_prefix(f"{PLACES[1]}_")]
    continuations = [text[len(prompt) :] for text, prompt in zip(found.texts, prompts, strict=True)]
    columns = {"opening": prompts, "continuation": continuations}
    return pd.concat([pd.DataFrame({"prompt": range(len(prompts)), **columns}), *states], axis=1)
