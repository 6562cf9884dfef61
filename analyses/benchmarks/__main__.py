"""Command line of the benchmarks: `python -m analyses.benchmarks TASK --model … --data … --out …`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro
from transformer_lens.model_bridge import TransformerBridge

import odesteer_tl as ode
from analyses.benchmarks.caa import CAABehaviour
from analyses.benchmarks.config import Common
from analyses.benchmarks.hatecheck import load_cases, probe
from analyses.benchmarks.judges import INFO, TRUTH, RewardModel, ToxicityClassifier, YesNoJudge
from analyses.benchmarks.presets import Preset, Sampling
from analyses.benchmarks.questions import load_questions
from analyses.benchmarks.task import Task
from analyses.benchmarks.toxicity import RealToxicityPrompts, load_prompts
from analyses.benchmarks.truthfulqa import TruthfulQAChoice, TruthfulQAGeneration
from analyses.benchmarks.ultrafeedback import UltraFeedback, load_preferences
from analyses.runs import refuse_existing


@dataclass(frozen=True)
class TruthfulQAChoiceConfig(Common):
    """TruthfulQA, MC1 and MC2 from log-probabilities; data is mc_task.json or TruthfulQA.csv."""

    batch_size: int = 64

    def task(self, model: TransformerBridge) -> Task:
        questions = load_questions(self.data, self.revision, self.limit)
        return TruthfulQAChoice(questions, batch_size=self.batch_size, seed=self.seed)


@dataclass(frozen=True)
class TruthfulQAGenerationConfig(Common):
    """TruthfulQA, generation judged for truth and information; data is mc_task.json or TruthfulQA.csv."""

    truth_judge: str = "allenai/truthfulqa-truth-judge-llama2-7B"
    info_judge: str = "allenai/truthfulqa-info-judge-llama2-7B"

    def task(self, model: TransformerBridge) -> Task:
        judges = [YesNoJudge(ode.load_model(name, dtype=self.dtype, device=self.device), template)
                  for name, template in ((self.truth_judge, TRUTH), (self.info_judge, INFO))]  # fmt: skip
        questions = load_questions(self.data, self.revision, self.limit)
        return TruthfulQAGeneration(questions, judges[0], judges[1], self.sampling, seed=self.seed)


@dataclass(frozen=True)
class UltraFeedbackConfig(Common):
    """UltraFeedback, win rate against the unsteered model; data is HuggingFaceH4/ultrafeedback_binarized."""

    sampling: Sampling = field(default_factory=lambda: Sampling(max_new_tokens=128))  # the authors' length here
    reward_model: str = "Skywork/Skywork-Reward-V2-Llama-3.1-8B"
    split: str = "train_prefs"

    def task(self, model: TransformerBridge) -> Task:
        rows = load_preferences(self.data, self.revision, self.split, self.limit)
        return UltraFeedback(rows, RewardModel(self.reward_model, device=self.device), self.sampling, seed=self.seed)


@dataclass(frozen=True)
class ToxicityConfig(Common):
    """RealToxicityPrompts, toxicity by a local classifier; data is the set's own jsonl."""

    classifier: str = "s-nlp/roberta_toxicity_classifier"
    label: str = "toxic"

    def published_strengths(self, known: Preset) -> tuple[float, ...]:
        """Those of detoxification, where a preset has its own."""
        return known.detoxification or known.strengths

    def task(self, model: TransformerBridge) -> Task:
        rows = load_prompts(self.data, self.revision, self.limit, self.seed)
        classifier = ToxicityClassifier(self.classifier, self.label, device=self.device)
        return RealToxicityPrompts(rows, classifier, self.sampling, seed=self.seed)


@dataclass(frozen=True)
class CAAConfig(Common):
    """CAA's A/B questions of one behaviour; data is its generate_dataset.json, test its test_dataset_ab.json."""

    test: Path = Path("test_dataset_ab.json")
    batch_size: int = 16

    def task(self, model: TransformerBridge) -> Task:
        return CAABehaviour(self.data, self.test, self.limit, self.batch_size)


@dataclass(frozen=True)
class HateCheckConfig:
    """HateCheck as a probe task: held-out AUC of barriers at every layer; data is test_suite_cases.csv."""

    data: str
    model: str
    out: Path
    revision: str | None = None
    dtype: str = "float32"
    device: str | None = None
    resamples: int = 2000
    seed: int = 0

    def run(self) -> None:
        """Run, save and print."""
        cases = load_cases(self.data, self.revision)
        model = ode.load_model(self.model, dtype=self.dtype, device=self.device)
        result = probe(model, cases, resamples=self.resamples, seed=self.seed)
        replace(result, run={**result.run, "config": asdict(self)}).save(self.out)
        print(result)


Config = (
    Annotated[TruthfulQAChoiceConfig, tyro.conf.subcommand("truthfulqa-choice")]
    | Annotated[TruthfulQAGenerationConfig, tyro.conf.subcommand("truthfulqa-generation")]
    | Annotated[UltraFeedbackConfig, tyro.conf.subcommand("ultrafeedback")]
    | Annotated[ToxicityConfig, tyro.conf.subcommand("toxicity")]
    | Annotated[CAAConfig, tyro.conf.subcommand("caa")]
    | Annotated[HateCheckConfig, tyro.conf.subcommand("hatecheck")]
)


def main(config: Config) -> None:
    """Run one benchmark and save it."""
    refuse_existing(config.out)
    config.run()
    print(f"\n{config.out}")


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
