"""Published figures, to be set beside ours where the same model and data are run. Nothing here was measured by us."""

from __future__ import annotations

from itertools import product

import pandas as pd

TABLE_2 = "arXiv 2602.17560, Table 2"
#: the tasks' names and their published metric
METRICS = {"ultrafeedback": "win_rate", "truthfulqa-generation": "true×info", "toxicity": "toxicity"}
_MODELS = ("odesteer-falcon-7b", "odesteer-mistral-7b", "odesteer-llama3.1-8b", "odesteer-qwen2.5-7b")
#: (win rate, true×info, toxicity) of each model, in order
_TABLE_2 = {
    "odesteer": ((0.563, 0.422, 0.188), (0.561, 0.599, 0.109), (0.582, 0.632, 0.116), (0.545, 0.707, 0.121)),
    "unsteered": ((0.5, 0.290, 0.257), (0.5, 0.393, 0.215), (0.5, 0.450, 0.226), (0.5, 0.659, 0.194)),
    "best other": ((0.528, 0.372, 0.193), (0.546, 0.504, 0.127), (0.563, 0.570, 0.155), (0.515, 0.686, 0.156)),
}
#: true×info of the first three models
_ABLATIONS = {"odesteer_one_step": (0.408, 0.581, 0.621), "odesteer, RK4": (0.428, 0.602, 0.633)}
_THIRD_PARTY = {"unsteered": 0.163, "caa": 0.122, "odesteer": 0.046, "odesteer_one_step": 0.040}


def published(preset: str, task: str) -> pd.DataFrame:
    """What was published of a preset's model on a task: a row a method, `method`, `metric`, `value`, `source`."""
    rows: list[dict[str, str | float]] = []
    if task in METRICS and preset in _MODELS:
        column, model = list(METRICS).index(task), _MODELS.index(preset)
        rows = [{"method": m, "value": figures[model][column], "source": TABLE_2} for m, figures in _TABLE_2.items()]
        if task == "truthfulqa-generation" and model < 3:
            rows += [{"method": m, "value": figures[model], "source": "arXiv 2602.17560, ablations"}
                     for m, figures in _ABLATIONS.items()]  # fmt: skip
        if (task, preset) == ("toxicity", "odesteer-llama3.1-8b"):
            rows += [{"method": m, "value": value, "source": "a third party, local toxicity classifier"}
                     for m, value in _THIRD_PARTY.items()]  # fmt: skip
    table = pd.DataFrame(rows, columns=pd.Index(["method", "value", "source"]))
    return table.assign(metric=METRICS.get(task))


def all_published() -> pd.DataFrame:
    """Every figure we know of, with its preset and task."""
    tables = [published(preset, task).assign(preset=preset, task=task) for preset, task in product(_MODELS, METRICS)]
    return pd.concat(tables, ignore_index=True)
