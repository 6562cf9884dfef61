"""Published figures, to be set beside ours where the same model and data are run. Nothing here was measured by us."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

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


def all_published() -> pd.DataFrame:
    """Every figure we know of, a row a preset's model, task and method.

    Returns:
        `preset`, `task`, `method`, `value`, `source`, `metric` (ours, which it is set beside) and `differs` (what was
        done otherwise). The authors' ablations have True × Info of three models; a third party
        (github.com/instant02/odesteer, report_lstmsteer.md) ran T = 5 on the authors' data and prompts, with a
        classifier not named.
    """
    table = pd.read_csv(Path(__file__).with_suffix(".csv"))
    tasks = table["task"].tolist()
    return table.assign(metric=[METRICS[task] for task in tasks], differs=[DIFFERS[task] for task in tasks])


def published(preset: str, task: str) -> pd.DataFrame:
    """What was published of a preset's model on a task; `all_published` without these two columns."""
    found = all_published().query("preset == @preset and task == @task")
    return found.drop(columns=["preset", "task"]).reset_index(drop=True)
