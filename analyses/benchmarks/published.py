"""Published figures, to be set beside ours where the same model and data are run. Nothing here was measured by us."""

from __future__ import annotations

from itertools import product

import pandas as pd

TABLE_2 = "arXiv 2602.17560, Table 2"
#: each task's published metric under our name; the authors' True × Info is the share of answers that are both
METRICS = {"ultrafeedback": "win_rate", "truthfulqa-generation": "true_and_info", "toxicity": "toxicity"}
#: what the authors' own scripts (github.com/ZhaoHongjue/odesteer) do otherwise than we
DIFFERS = {
    "ultrafeedback": "fitted on 10,000 rows of train_prefs, 500 prompts of test_prefs; 128 tokens, no 2-gram twice; "
    "Qwen fitted through its chat template",
    "truthfulqa-generation": "fitted on every reference answer, unpaired; answers end at the next question only, "
    "with a full stop put behind; Qwen through its chat template; strength not chosen on validation questions",
    "toxicity": "Perspective API; fitted on Jigsaw; 500 prompts of toxicity above 0.5 and GPT-2 perplexity below 200",
}
_MODELS = ("odesteer-falcon-7b", "odesteer-mistral-7b", "odesteer-llama3.1-8b", "odesteer-qwen2.5-7b")
#: (win rate, True × Info, toxicity) of each model, in order
_TABLE_2 = {
    "odesteer": ((0.563, 0.422, 0.188), (0.561, 0.599, 0.109), (0.582, 0.632, 0.116), (0.545, 0.707, 0.121)),
    "unsteered": ((0.5, 0.290, 0.257), (0.5, 0.393, 0.215), (0.5, 0.450, 0.226), (0.5, 0.659, 0.194)),
    "best other": ((0.528, 0.372, 0.193), (0.546, 0.504, 0.127), (0.563, 0.570, 0.155), (0.515, 0.686, 0.156)),
}
#: True × Info of the first three models
_ABLATIONS = {"odesteer_one_step": (0.408, 0.581, 0.621), "odesteer, RK4": (0.428, 0.602, 0.633)}
#: github.com/instant02/odesteer, report_lstmsteer.md: T = 5, the authors' data and prompts, a classifier not named
_THIRD_PARTY = {"unsteered": 0.163, "caa": 0.122, "odesteer": 0.046, "odesteer_one_step": 0.040}


def published(preset: str, task: str) -> pd.DataFrame:
    """What was published of a preset's model on a task: a row a method.

    Returns:
        `method`, `value`, `source`, `metric` (ours, which it is set beside) and `differs` (what was done otherwise).
    """
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
    return table.assign(metric=METRICS.get(task), differs=DIFFERS.get(task))


def all_published() -> pd.DataFrame:
    """Every figure we know of, with its preset and task."""
    tables = [published(preset, task).assign(preset=preset, task=task) for preset, task in product(_MODELS, METRICS)]
    return pd.concat(tables, ignore_index=True)
