"""What the demo does: choose, steer, certify, draw."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pandas as pd
import torch
from tqdm.auto import tqdm
from transformer_lens.model_bridge import TransformerBridge

import odesteer_tl as ode
from analyses.behaviour import behaviour, geometry, last_activations, summary
from analyses.demo import DemoConfig
from analyses.intervals import with_intervals
from analyses.runs import code
from figures.outcomes import draw_outcomes
from figures.paths import draw_paths
from odesteer_tl import organism

METHODS = ("caa", "odesteer", "odesteer_kernel")
PARSE_LOSS = 0.05


def candidates(acts: ode.Activations, config: DemoConfig, method: str) -> list[ode.Steerer]:
    """One steerer a layer and angle; each layer's field is fitted once."""
    chosen, found = ode.METHODS[method], list[ode.Steerer]()
    for layer in config.layers:
        field = chosen.fit_activations(acts[layer], config.seed)
        for angle in config.angles:
            flow = ode.Flow(angle=angle, steps=chosen.steps, solver=chosen.solver)
            found.append(ode.Steerer(field, flow, layer, model=acts.model))
    return found


def select(
    model: TransformerBridge, prompts: list[str], options: list[ode.Steerer], config: DemoConfig
) -> tuple[ode.Steerer, list[dict[str, Any]]]:
    """The most successful option that costs little fluency on the validation prompts, and what all of them did."""

    def outcome_of(steerer: ode.Steerer | None) -> dict[str, Any]:
        return summary(behaviour(model, prompts, steerer, temperature=config.temperature, seed=config.seed))

    floor = outcome_of(None)["parses"] - PARSE_LOSS
    rows: list[dict[str, Any]] = []
    for option in options:
        rows.append({"layer": option.layer, "angle": option.flow.strength, **outcome_of(option)})
    fluent = [i for i, row in enumerate(rows) if row["parses"] >= floor] or range(len(rows))
    best = max(fluent, key=lambda i: (rows[i]["success"], rows[i]["parses"]))
    return options[best], rows


def run(config: DemoConfig) -> pd.DataFrame:
    """Everything but the pictures; writes the tables and returns the main one.

    Raises:
        ValueError: `out` holds an earlier run.
    """
    if (config.out / "table.csv").exists():
        raise ValueError(f"out={str(config.out)!r} holds an earlier run and is not overwritten; remove it or use --out")
    model = ode.load_model("organism")
    contrast = organism.contrast("valence", config.pairs, config.seed)
    drawn = organism.prompts(config.select + config.test, config.seed)
    validation, test = drawn[: config.select], drawn[config.select :]
    acts = ode.collect_activations(model, contrast, config.layers)
    chosen: dict[str, ode.Steerer | None] = {"unsteered": None}
    tried: list[dict[str, Any]] = []
    for label in tqdm(METHODS, desc="selecting on validation prompts"):
        chosen[label], rows = select(model, validation, candidates(acts, config, label), config)
        tried += [{"method": label, **row} for row in rows]

    # one h for every method's certificate: the kernel barrier of the layer at which the method steers
    judges = {layer: ode.KernelBarrier(gamma="cv").fit_activations(acts[layer])
              for layer in {s.layer for s in chosen.values() if s}}  # fmt: skip
    table: list[dict[str, Any]] = []
    texts: dict[str, list[str]] = {}
    for label, steerer in tqdm(chosen.items(), desc="steering test prompts"):
        for temperature in (config.temperature, 1.0):
            rows = behaviour(model, test, steerer, temperature=temperature, seed=config.seed + 1)
            row: dict[str, Any] = {"method": label, "temperature": temperature, **summary(rows)}
            if temperature == config.temperature:
                texts[label] = rows["text"].tolist()[:10]
            if steerer is not None:
                shape = geometry(steerer, judges[steerer.layer], last_activations(model, test, steerer.layer))
                row |= {"layer": steerer.layer, "angle_asked": steerer.flow.strength, "angle": shape["angle"].median(),
                        "norm_drift": shape["norm_ratio"].median() - 1, "certified": shape["certified"].mean(),
                        }  # fmt: skip
            table.append(row)
    config.out.mkdir(parents=True, exist_ok=True)
    result = pd.DataFrame(table)
    result.to_csv(config.out / "table.csv", index=False)
    pd.DataFrame(tried).to_csv(config.out / "selection.csv", index=False)
    (config.out / "texts.md").write_text(before_and_after(test[:10], texts))
    paths_table(chosen, judges, last_activations(model, test[:200], max(judges)), max(judges)).to_csv(
        config.out / "paths.csv", index=False
    )
    record = {"config": {k: str(v) for k, v in vars(config).items()}, "contrast": contrast.provenance,
              "model": asdict(ode.ModelIdentity.of(model)), "layer": max(judges),
              "prompts": {"validation": len(validation), "test": len(test), "drawn": "one draw, split in order"},
              **code()}  # fmt: skip
    (config.out / "run.json").write_text(json.dumps(record, indent=2))
    return result


def paths_table(
    chosen: dict[str, ode.Steerer | None], judges: dict[int, ode.KernelBarrier], a: torch.Tensor, layer: int
) -> pd.DataFrame:
    """h along the way for growing angles, for every method steering at `layer`, with the bound on what any could do."""
    q = judges[layer].quadratic
    rows: list[dict[str, Any]] = []
    for angle in torch.linspace(0, 1.2, 13).tolist():
        values = {"bound on any steering": ode.cap_bound(q, a, angle=angle).bound}
        for label, steerer in chosen.items():
            if steerer is not None and steerer.layer == layer:
                flow = ode.Flow(angle=angle, steps=steerer.flow.steps, solver=steerer.flow.solver)
                values[label] = q.value(flow.solve(steerer.field, a.double()).end)
        for label, h in values.items():
            low, middle, high = torch.quantile(h, torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)).tolist()
            rows.append({"method": label, "angle": angle, "low": low, "median": middle, "high": high, "n": len(a)})
    rows.append({"method": "ceiling", "angle": 0.0, "median": float(ode.ceiling(q)), "n": len(a)})
    return pd.DataFrame(rows)


def before_and_after(prompts: list[str], texts: dict[str, list[str]]) -> str:
    """Ten openings with what each method made of them, as Markdown; the continuation is set in bold."""
    lines = ["# Ten openings, continued\n"]
    for i, prompt in enumerate(prompts):
        lines.append(f"## {prompt}\n")
        lines += [f"- {label}: **{found[i][len(prompt) :].strip()}**" for label, found in texts.items()]
        lines.append("")
    return "\n".join(lines)


def for_reading(table: pd.DataFrame) -> str:
    """The main table as Markdown, shares with their intervals; times are left to `table.csv`."""
    shown = pd.DataFrame(
        {
            "method": table["method"],
            "temperature": table["temperature"],
            "success": with_intervals(table, "success"),
            "parses": with_intervals(table, "parses"),
            "log-lik./word": table["log_likelihood"].map("{:.2f}".format),
            "layer": table["layer"].map("{:.0f}".format, na_action="ignore"),
            "angle turned": table["angle"].map("{:.3f}".format, na_action="ignore"),
            "norm drift": table["norm_drift"].map("{:+.3f}".format, na_action="ignore"),
            "steps certified": table["certified"].map("{:.3f}".format, na_action="ignore"),
        }
    )
    return str(shown.fillna("–").to_markdown(index=False, disable_numparse=True))


def demonstrate(config: DemoConfig) -> None:
    """Run, draw, and show where things are."""
    table = run(config)
    draw_outcomes(table).save(config.out)
    draw_paths(pd.read_csv(config.out / "paths.csv")).save(config.out)
    readable = for_reading(table)
    (config.out / "table.md").write_text(readable + "\n")
    print(readable)
    print(f"\ntables, ten before/after texts and figures: {config.out}")
