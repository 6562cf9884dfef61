"""Which layer, how strong, and does it really work there? Every method at every layer, at equal angle and equal KL.

A resumable sweep: one cell a method × layer × budget × level, one tidy row a prompt. Layer and strength are chosen on
some prompts and reported on others. All arguments and files are checked, and the judge is tried on a text, before a
model is loaded; `--dry-run` says what the study would cost.
`python -m analyses.layer_effectiveness --contrast valence --out results/layers`
`python -m analyses.layer_effectiveness --model DIR --contrast pairs.jsonl --prompts own.txt --outcome words.json`
"""

from __future__ import annotations

import hashlib
import json
import shlex
import sys
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import tyro

import odesteer_tl as ode
from analyses.command import arguments, command, from_command_line
from analyses.effects.arms import chosen_arms
from analyses.effects.grid import layers_meant, levels_meant, require_study
from analyses.effects.plan import Given, Plan
from analyses.effects.settings import EffectSettings
from analyses.models import layers_of
from analyses.options import NATURAL, POSITIVE, AllLayers, Angles, AnyExecutor, Arms, DryRun, Out, Within
from analyses.search.rules import CONSTRAINTS, Rules
from analyses.sweep import Study
from odesteer_tl._words import require_one_of

if TYPE_CHECKING:  # what needs the model's libraries is imported once everything is checked
    import pandas as pd

    from analyses.effects.report import LayerReport
    from analyses.effects.running import Finished
    from analyses.effects.searched import Searched


#: levels where none is asked for
USUAL = {"angle": (0.1, 0.2, 0.4), "kl": (0.01, 0.03, 0.1)}


@dataclass(frozen=True)
class LayersConfig:
    """Settings of the layer study.

    Args:
        arms: ways to steer.
        kl: levels of the next token's KL to unsteered, nats. Of angle and kl, what is left out is not asked;
            without both, angles of 0.1, 0.2, 0.4 and levels of 0.01, 0.03, 0.1 are.
        search: look for the best layer and strength by a race in the place of the grid, of which it costs a part.
        rules: of the race.
        constraint: what `rules.limit` bounds, "repetition" (share of repeated 4-grams) or "empty".
        looked: select prompts that are looked at cheaply first; left out, 10, or none where completions are asked for.
        together: numbers of layers that each method also acts on at once, all as strong: those of `layers` that
            LayerNavigator's score of the contrast ranks highest. The label says which; they stand at the last of them.
        per_prompt: of a search, whether each method is also raced with a layer for every prompt, foretold from how the
            prompt stands unsteered (W2S), as learned from the select prompts that are looked at.
    """

    effect: tyro.conf.OmitArgPrefixes[EffectSettings] = field(default_factory=EffectSettings)
    layers: AllLayers = ()
    arms: Arms = ()
    angle: Angles = ()
    kl: Annotated[tuple[float, ...], POSITIVE] = ()
    executor: AnyExecutor = "local"
    out: Out = Path("results/layers")
    dry_run: DryRun = False
    search: bool = False
    rules: Rules = field(default_factory=lambda: Rules(budget=0.1))
    constraint: str = "repetition"
    looked: Annotated[int | None, NATURAL] = None
    together: Annotated[tuple[int, ...], Within(2)] = ()
    per_prompt: bool = False

    @property
    def budgets(self) -> dict[str, tuple[float, ...]]:
        """The levels that are asked for."""
        return levels_meant({"angle": self.angle, "kl": self.kl}, USUAL)


def check(config: LayersConfig, given: Given | None = None) -> None:
    """Refuse what cannot be done, before the model's libraries are imported.

    Raises:
        ValueError: what is wrong, by argument, value and remedy.
    """
    chosen_arms(config.arms)
    require_one_of("constraint", config.constraint, CONSTRAINTS)
    _require_together(config.together, len(config.layers))
    _require_per_prompt(config, len(config.layers))
    require_study(config.effect, config.executor, config.layers, config.budgets, given)


def layers_study(config: LayersConfig, given: Given | None = None) -> tuple[Study, tuple[int, ...]]:
    """The study and its layers.

    Raises:
        ValueError: what `check` refuses.
    """
    check(config, given)
    from analyses.effects.study import effect_study

    arms = chosen_arms(config.arms)
    model = None if given is None else given.model
    if model is None and not config.layers and layers_of(config.effect.model) is None:
        model = ode.load_model(config.effect.model)
    n = layers_of(config.effect.model) if model is None else int(model.cfg.n_layers)
    layers = layers_meant(config.effect, config.layers or range(n or 0), given)
    _require_per_prompt(config, len(layers))
    name = Path(config.effect.contrast).stem
    together = list[list[int]]()
    if config.together:
        _require_together(config.together, len(layers))
        from analyses.effects.looks import ranked

        model = ode.load_model(config.effect.model) if model is None else model
        order = ranked(model, Plan.of(config.effect, given).parts[0], layers)
        together = [order[:count] for count in config.together]
    return effect_study(name, config.effect, layers, arms, config.budgets, given=given, together=together), layers


def _require_together(together: tuple[int, ...], layers: int) -> None:
    """Raise `ValueError` for what is no number of several layers; `layers` is 0 where it is not known yet."""
    if len({*together}) < len(together) or any(count < 2 or 0 < layers < count for count in together):
        raise ValueError(f"together={list(together)} must be numbers of layers, each once, of at least 2"
                         + (f" and at most the {layers} of layers" if layers else ""))  # fmt: skip


def _require_per_prompt(config: LayersConfig, layers: int) -> None:
    """Raise `ValueError` where a prompt has nothing to choose from; `layers` is 0 where it is not known yet."""
    if config.per_prompt and layers == 1:
        raise ValueError("per_prompt=True chooses among layers, and there is 1; give several, or leave it out")
    if config.per_prompt and config.effect.engine:
        raise ValueError(f"per_prompt=True: engine={config.effect.engine!r} steers all prompts at the same layers; "
                         "leave one of them out")  # fmt: skip


def run_layers(config: LayersConfig, given: Given | None = None) -> Finished:
    """Run the study, or what is left of it, and write its report.

    Args:
        given: model, contrast, prompts or outcome as objects, in the place of what the settings name.

    Raises:
        ValueError: what `check` refuses.
        IncompleteStudy: a cell failed; its traceback is in the folder.
    """
    if config.per_prompt:
        raise ValueError(
            "per_prompt=True is for a search, which learns it from its looks; add --search, or leave it out"
        )
    study, layers = layers_study(config, given)
    from analyses.effects.report import LayerReport
    from analyses.effects.running import report_study
    from analyses.effects.using import advice, lines_to_paste, texts_to_read

    def summarised(table: pd.DataFrame, concept: str) -> LayerReport:
        report = LayerReport.of(table, concept)
        code = lines_to_paste(table, report.chosen, config.effect, given)
        reading = texts_to_read(table, report.chosen)
        asked = advice(table, report.chosen, report.held, asking_more(config, given))
        return replace(report, advice=asked, code=code, reading=reading)

    return report_study(study, config.out, config.executor, summarised, {"layers": list(layers)})


def asking_more(config: LayersConfig, given: Given | None = None) -> str:
    """The call of the same study with larger levels too, of a notebook what it adds; empty where there are none."""
    from analyses.effects.using import further

    larger: dict[str, Any] = further(config.budgets, config.effect.highest)
    if not larger:
        return ""
    if given is not None:
        return f"layer_study(…, {', '.join(f'{budget}={list(levels)}' for budget, levels in larger.items())})"
    return f"python -m analyses.layer_effectiveness {shlex.join(arguments(replace(config, **larger)))}"


def search_layers(config: LayersConfig, given: Given | None = None) -> Searched:
    """The best layer and strength by a race, which asks each candidate on few prompts at a time, as long as needed.

    The placebo is no candidate. Nothing but the outcome is measured.

    Raises:
        ValueError: what `check` refuses, or no select prompts.
        IncompleteStudy: a cell failed; its traceback is in the folder.
    """
    config = replace(config, effect=replace(config.effect, measures=()))
    study, _ = layers_study(config, given)
    from analyses.effects.searching import Search

    cells = tuple(cell for cell in study.cells if cell["method"] != "random")
    search = Search(replace(study, cells=cells), config.rules, config.constraint, config.looked, config.per_prompt)
    found = search.run(config.out, config.executor)
    settings = {**study.settings, "rules": asdict(config.rules), "constraint": config.constraint,
                "looked": config.looked, "arms": search.names,
                **({"per_prompt": True} if config.per_prompt else {})}  # fmt: skip
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
    found.save(found.directory / f"report-{digest}", settings)
    return found


def layer_effectiveness(config: LayersConfig, given: Given | None = None) -> tuple[LayerReport, Path]:
    """`run_layers`: its report and its folder, which holds `table.parquet`."""
    finished = run_layers(config, given)
    return cast("LayerReport", finished.report), finished.directory


def _brief(config: LayersConfig) -> tuple[str, Path]:
    """The study, as it is printed."""
    report, directory = layer_effectiveness(config)
    return report.brief(directory / "report"), directory


def dry_run(config: LayersConfig, given: Given | None = None) -> tuple[str, Path]:
    """What the study would cost and what it could show, and where it would go.

    Raises:
        ValueError: what `check` refuses.
    """
    study, _ = layers_study(config, given)
    from analyses.effects.declared import enough, parted
    from analyses.effects.running import said_of

    said, directory = said_of(study, config.out, config.executor)
    asked = parted(study, "" if given is not None and given.prompts is not None else config.effect.prompts)
    return "\n".join(filter(None, (said, asked, "" if config.search else enough(study)))), directory


def main(config: LayersConfig) -> int:
    """Run, write the report and print it, or say what that costs; 1 if a cell failed, 2 if something was refused."""
    if config.search and not config.dry_run:
        return command(lambda: (found := search_layers(config), found.directory))
    return command(lambda: dry_run(config) if config.dry_run else _brief(config), config.dry_run)


if __name__ == "__main__":
    sys.exit(from_command_line(LayersConfig, main, __doc__))
