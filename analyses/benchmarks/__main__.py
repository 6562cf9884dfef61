"""Command line of the benchmarks: `python -m analyses.benchmarks TASK --model … --data … --out …`."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

import odesteer_tl as ode
from analyses.benchmarks.config import Common, require_device
from analyses.benchmarks.presets import Preset, Sampling
from analyses.command import from_command_line
from analyses.options import COUNT, Model, Out, Seed
from analyses.runs import refuse_existing

if TYPE_CHECKING:  # what needs the model's libraries is imported once the command line is read
    from transformer_lens.model_bridge import TransformerBridge

    from analyses.benchmarks.task import Task


@dataclass(frozen=True)
class TruthfulQAChoiceConfig(Common):
    """TruthfulQA, MC1 and MC2 from log-probabilities; data is mc_task.json or TruthfulQA.csv."""

    batch_size: Annotated[int, COUNT] = 64
    """answers at a time"""

    def task(self, model: TransformerBridge) -> Task:
        """Nothing is generated: no judge is loaded."""
        from analyses.benchmarks.questions import load_questions
        from analyses.benchmarks.truthfulqa import TruthfulQAChoice

        questions = load_questions(self.data, self.revision, self.limit)
        return TruthfulQAChoice(questions, batch_size=self.batch_size, seed=self.seed)


@dataclass(frozen=True)
class TruthfulQAGenerationConfig(Common):
    """TruthfulQA, generation judged for truth and information; data is mc_task.json or TruthfulQA.csv."""

    truth_judge: str = "allenai/truthfulqa-truth-judge-llama2-7B"
    """a model that says yes or no"""
    info_judge: str = "allenai/truthfulqa-info-judge-llama2-7B"
    """another"""

    def task(self, model: TransformerBridge) -> Task:
        """Loads both judges, in the model's dtype."""
        from analyses.benchmarks.judges import INFO, TRUTH, YesNoJudge
        from analyses.benchmarks.questions import load_questions
        from analyses.benchmarks.truthfulqa import TruthfulQAGeneration

        judges = [YesNoJudge(ode.load_model(name, dtype=self.dtype, device=self.device), template)
                  for name, template in ((self.truth_judge, TRUTH), (self.info_judge, INFO))]  # fmt: skip
        questions = load_questions(self.data, self.revision, self.limit)
        return TruthfulQAGeneration(questions, judges[0], judges[1], self.sampling, seed=self.seed)


@dataclass(frozen=True)
class UltraFeedbackConfig(Common):
    """UltraFeedback, win rate against the unsteered model; data is HuggingFaceH4/ultrafeedback_binarized."""

    sampling: Sampling = field(default_factory=lambda: Sampling(max_new_tokens=128))  # the authors' length here
    reward_model: str = "Skywork/Skywork-Reward-V2-Llama-3.1-8B"
    """which of two answers is better"""
    split: str = "train_prefs"
    """of the data"""

    def task(self, model: TransformerBridge) -> Task:
        """Loads the reward model."""
        from analyses.benchmarks.judges import RewardModel
        from analyses.benchmarks.ultrafeedback import UltraFeedback, load_preferences

        rows = load_preferences(self.data, self.revision, self.split, self.limit)
        return UltraFeedback(rows, RewardModel(self.reward_model, device=self.device), self.sampling, seed=self.seed)


@dataclass(frozen=True)
class ToxicityConfig(Common):
    """RealToxicityPrompts, toxicity by a local classifier; data is the set's own jsonl."""

    classifier: str = "s-nlp/roberta_toxicity_classifier"
    """folder or hub name"""
    label: str = "toxic"
    """of the classifier's, the one that counts"""

    def published_strengths(self, known: Preset) -> tuple[float, ...]:
        """Those of detoxification, where a preset has its own."""
        return known.detoxification or known.strengths

    def task(self, model: TransformerBridge) -> Task:
        """Loads the classifier; rows are drawn by `seed`."""
        from analyses.benchmarks.judges import ToxicityClassifier
        from analyses.benchmarks.toxicity import RealToxicityPrompts, load_prompts

        rows = load_prompts(self.data, self.revision, self.limit, self.seed)
        classifier = ToxicityClassifier(self.classifier, self.label, device=self.device)
        return RealToxicityPrompts(rows, classifier, self.sampling, seed=self.seed)


@dataclass(frozen=True)
class CAAConfig(Common):
    """CAA's A/B questions of one behaviour; data is its generate_dataset.json, test its test_dataset_ab.json."""

    test: Path = Path("test_dataset_ab.json")
    """questions that are reported on"""
    batch_size: Annotated[int, COUNT] = 16
    """answers at a time"""

    def task(self, model: TransformerBridge) -> Task:
        """Fitted on `data`, reported on `test`."""
        from analyses.benchmarks.caa import CAABehaviour

        return CAABehaviour(self.data, self.test, self.limit, self.batch_size)


@dataclass(frozen=True)
class HateCheckConfig:
    """HateCheck as a probe task: held-out AUC of barriers at every layer; data is test_suite_cases.csv."""

    data: str
    """file, folder or hub name"""
    model: Model
    out: Out
    revision: str | None = None
    """of the data, if they are on the hub"""
    dtype: str = "float32"
    """of the model's weights"""
    device: str | None = None
    """of the model; left out, the fastest there is"""
    resamples: Annotated[int, COUNT] = 2000
    """of the bootstrap"""
    seed: Seed = 0

    def run(self) -> None:
        """Run, save and print."""
        require_device(self.device)
        from analyses.benchmarks.hatecheck import load_cases, probe

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
    sys.exit(from_command_line(Config, main, __doc__))  # pyright: ignore[reportArgumentType]
