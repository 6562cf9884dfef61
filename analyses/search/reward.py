"""What a search is after: a number in [0, 1] a prompt."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

#: what it is called, where texts are written and where completions are asked for
SUCCESS, SHIFT = "success", "shift of the odds, 0 to 1"


def is_shift(rows: pd.DataFrame) -> bool:
    """Whether completions were asked for: a row then has the share `mc2` of those for."""
    return "mc2" in rows


def reward(rows: pd.DataFrame, plain: pd.DataFrame) -> NDArray[np.float64]:
    """What each row earned.

    Of texts it is success. Of completions it is σ(log-odds − log-odds unsteered): the share of the probability that
    those for would have, had both sides been as likely without steering: ½ if nothing is gained. Whether the likeliest
    is one for, and the share itself, tell steers apart only where the model hesitates: they stay at 0 or 1 whatever is
    done to a model that is sure.

    Args:
        rows: of a layer study: `prompt`, `success`, `score`.
        plain: the unsteered rows of the same prompts.

    Raises:
        ValueError: completions were asked for, and a prompt was not asked unsteered.
    """
    if not is_shift(rows):
        return rows["success"].to_numpy(dtype=float)
    before = dict(zip(plain["prompt"], plain["score"], strict=True))
    if missing := sorted(set(rows["prompt"]) - set(before)):
        raise ValueError(f"plain has no row of prompts {missing[:5]}, against which the odds shift; ask them unsteered")
    return np.asarray(expit(rows["score"].to_numpy(dtype=float) - [before[i] for i in rows["prompt"]]), dtype=float)
