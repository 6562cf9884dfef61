"""The studies for a notebook: one function each, of a model, a contrast, prompts and an outcome, that returns frames.

    study = layer_study(model, contrast, prompts, outcome=my_judge, layers=[8, 16, 24], methods=["caa", "odesteer"])
    study                   # its tables, in Jupyter
    study.frame(), study.rows

    certification(model, contrast, prompts, layers=[8, 16]).frame()
    likelihood(model, contrast, prompts, layers=[16]).frame()

The command lines `python -m analyses.layer_effectiveness`, `method_comparison`, `barrier_certification` and
`trajectory_likelihood` do the same, with the same checks and the same folder of results, from which either goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformer_lens.model_bridge import TransformerBridge

import odesteer_tl as ode
from analyses import barrier_certification, trajectory_likelihood
from analyses.certification.result import BarrierCertification
from analyses.certification.settings import CertificationSettings
from analyses.effects.plan import Given
from analyses.effects.running import Finished
from analyses.effects.searched import Searched
from analyses.effects.settings import EffectSettings
from analyses.layer_effectiveness import LayersConfig, run_layers, search_layers
from analyses.likelihood.study import Settings as LikelihoodSettings
from analyses.method_comparison import ComparisonConfig, run_comparison
from analyses.outcomes import Outcome
from analyses.search.rules import Rules
from odesteer_tl._renamed import renamed

if TYPE_CHECKING:
    from analyses.likelihood.running import Layers

#: as it is spelled on a command line, or as an object
OutcomeLike = str | Outcome | Callable[[Sequence[str], Sequence[str]], Any]


@renamed(arms="methods")
def layer_study(
    model: str | Path | TransformerBridge = "organism",
    contrast: str | Path | ode.ContrastSet = "valence",
    prompts: str | Path | Sequence[str] | None = None,
    outcome: OutcomeLike = "grammar",
    *,
    layers: Sequence[int] = (),
    methods: Sequence[str] = (),
    angle: Sequence[float] = LayersConfig.angle,
    kl: Sequence[float] = LayersConfig.kl,
    together: Sequence[int] = (),
    out: str | Path = LayersConfig.out,
    executor: str = "local",
    **settings: Any,
) -> Finished:
    """Which layer, how strong, and does it work there?

    Args:
        model, contrast, prompts, outcome: names and files as on the command line, or objects.
        layers: 0-based; left out, all. methods: names of `ode.METHODS` or the study's own ways to steer; left out, all
            of its own.
        angle, kl: levels of the two budgets, radians and nats; a budget that is left out is not asked, and if both are,
            the command's usual levels of each (`LayersConfig`).
        together: numbers of layers that each method also acts on at once (`LayersConfig`).
        out: the folder of results; the same call goes on from there.
        settings: of `EffectSettings`, such as `select`, `test`, `max_new_tokens`, `measures`, `cross_fit`.

    Raises:
        ValueError: whatever the study refuses, before anything is computed.
        IncompleteStudy, WillRepeat: a cell failed.
    """
    effect, given = _split(settings, model=model, contrast=contrast, prompts=prompts, outcome=outcome)
    config = LayersConfig(effect, tuple(layers), tuple(methods), tuple(angle), tuple(kl), executor, Path(out),
                          together=tuple(together))  # fmt: skip
    return run_layers(config, given)


@renamed(arms="methods")
def search_layer(
    model: str | Path | TransformerBridge = "organism",
    contrast: str | Path | ode.ContrastSet = "valence",
    prompts: str | Path | Sequence[str] | None = None,
    outcome: OutcomeLike = "grammar",
    *,
    layers: Sequence[int] = (),
    methods: Sequence[str] = (),
    angle: Sequence[float] = LayersConfig.angle,
    kl: Sequence[float] = LayersConfig.kl,
    together: Sequence[int] = (),
    per_prompt: bool = LayersConfig.per_prompt,
    rules: Rules | None = None,
    constraint: str = LayersConfig.constraint,
    looked: int | None = LayersConfig.looked,
    out: str | Path = LayersConfig.out,
    executor: str = "local",
    **settings: Any,
) -> Searched:
    """Which layer and how strong, for a part of what `layer_study` costs, and how sure that is.

    Args:
        model, contrast, prompts, outcome: names and files as on the command line, or objects.
        layers, methods, angle, kl, together: the grid that is searched, as of `layer_study`.
        per_prompt: whether a layer for every prompt is raced, too (`LayersConfig`).
        rules: of the race: `budget` (share of the grid's cost, left out: a tenth), `epsilon`, `delta`, `limit`, …
        constraint: what `rules.limit` bounds, "repetition" or "empty".
        looked: select prompts that are looked at cheaply first; left out, 10, or none where completions are asked for.
        out: the folder of results; the same call goes on from there.
        settings: of `EffectSettings`, but `measures`.

    Returns:
        `layer`, `level`, `success` on the test prompts with its interval, `tokens` against those of the `grid`, and the
        `answer` of the race with the candidates still standing, `per_prompt`, which chooses a layer for new prompts,
        where it was found to be best; `frame()` and `rounds()` say how it went.

    Raises:
        ValueError: whatever the study refuses, before anything is computed.
        IncompleteStudy, WillRepeat: a cell failed.
    """
    effect, given = _split(
        {**settings, "measures": ()}, model=model, contrast=contrast, prompts=prompts, outcome=outcome
    )
    config = LayersConfig(effect, tuple(layers), tuple(methods), tuple(angle), tuple(kl), executor, Path(out),
                          rules=rules or Rules(budget=0.1), constraint=constraint, looked=looked,
                          together=tuple(together), per_prompt=per_prompt)  # fmt: skip
    return search_layers(config, given)


def comparison(
    model: str | Path | TransformerBridge = "organism",
    contrast: str | Path | ode.ContrastSet = "valence",
    prompts: str | Path | Sequence[str] | None = None,
    outcome: OutcomeLike = "grammar",
    *,
    layer: int | None = None,
    methods: Sequence[str] = (),
    angle: Sequence[float] = ComparisonConfig.angle,
    displacement: Sequence[float] = ComparisonConfig.displacement,
    kl: Sequence[float] = ComparisonConfig.kl,
    out: str | Path = ComparisonConfig.out,
    executor: str = "local",
    **settings: Any,
) -> Finished:
    """Which method, at equal angle, displacement and KL?

    Args:
        model, contrast, prompts, outcome: names and files as on the command line, or objects.
        layer: 0-based; left out, the middle one. methods: left out, all.
        angle, displacement, kl: levels of the budgets; what is left out is not asked, and if all are, the usual ones
            (`ComparisonConfig`).
        out: the folder of results; the same call goes on from there.
        settings: of `EffectSettings`.

    Raises:
        ValueError: whatever the study refuses, before anything is computed.
        IncompleteStudy, WillRepeat: a cell failed.
    """
    usual: dict[str, Any] = {"select": 0, "passage": "text", **({} if prompts is not None else {"test": 200})}
    effect, given = _split({**usual, **settings}, model=model, contrast=contrast, prompts=prompts, outcome=outcome)
    budgets = (tuple(angle), tuple(displacement), tuple(kl))
    return run_comparison(ComparisonConfig(effect, layer, tuple(methods), *budgets, executor, Path(out)), given)


def certification(
    model: str | Path | TransformerBridge = "organism",
    contrast: str | Path | ode.ContrastSet = "valence",
    prompts: str | Path | Sequence[str] | None = None,
    *,
    layers: Sequence[int] = (),
    out: str | Path = barrier_certification.CertificationConfig.out,
    executor: str = "local",
    pairs: int = barrier_certification.CertificationConfig.pairs,
    threads: int = barrier_certification.CertificationConfig.threads,
    **settings: Any,
) -> BarrierCertification:
    """Is the barrier property true of a learned h along a method's paths, and how far can h be trusted?

    Args:
        model, contrast, prompts: names and files as on the command line, or objects; left out, 200 prompts that go
            with the contrast.
        layers: 0-based, negative ones from the end; left out, all.
        out: the folder of results; the same call goes on from there, and one with more layers computes those alone.
        settings: of `CertificationSettings`, such as `method`, `angle`, `texts`, `cross_fit`.

    Raises:
        ValueError: whatever the study refuses, before a model is loaded.
        IncompleteStudy: a layer failed.
    """
    study = barrier_certification
    named, given = _named(model=model, contrast=contrast, prompts=prompts)
    config = study.CertificationConfig(
        **named, layer=",".join(str(x) for x in layers) or "all", out=Path(out), executor=executor, pairs=pairs,
        threads=threads, settings=CertificationSettings(**_known(CertificationSettings, settings)),
    )  # fmt: skip
    return study.run_certification(config, study.Given(**given))[0]


def likelihood(
    model: str | Path | TransformerBridge = "organism",
    contrast: str | Path | ode.ContrastSet = "valence",
    prompts: str | Path | Sequence[str] | None = None,
    outcome: OutcomeLike | None = None,
    *,
    layers: Sequence[int] = (2,),
    out: str | Path = trajectory_likelihood.LikelihoodConfig.out,
    executor: str = "local",
    pairs: int = trajectory_likelihood.LikelihoodConfig.pairs,
    threads: int = trajectory_likelihood.LikelihoodConfig.threads,
    **settings: Any,
) -> Layers:
    """Does steering lead to where positive activations live, or merely off the data?

    Args:
        model, contrast, prompts: names and files as on the command line, or objects; without prompts the negative texts
            of the test split are steered.
        outcome: a judge of texts, named as on the command line or a callable `(prompts, texts) → scores`; then every
            method writes, and it is asked what a state's likelihood foretells of the text.
        layers: 0-based, negative ones from the end.
        out: the folder of results, with one of each layer's; the same call goes on from there.
        settings: of `likelihood.study.Settings`, such as `fractions`, `strengths`, `texts`.

    Raises:
        ValueError: whatever the study refuses, before a model is loaded.
        IncompleteStudy: a layer failed.
    """
    study = trajectory_likelihood
    named, given = _named(model=model, contrast=contrast, prompts=prompts, outcome=outcome)
    config = study.LikelihoodConfig(
        **named, layer=tuple(layers), out=Path(out), executor=executor, pairs=pairs, threads=threads,
        settings=LikelihoodSettings(**_known(LikelihoodSettings, settings)),
    )  # fmt: skip
    return study.run_likelihood(config, study.Given(**given))[0]


def _named(**told: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a command line names, and what is there already."""
    named: dict[str, Any] = {name: str(x) for name, x in told.items() if isinstance(x, str | Path)}
    given = {name: x for name, x in told.items() if name not in named and x is not None}
    return {**({"contrast": "given"} if "contrast" in given else {}), **named}, given


def _known(settings: type[Any], given: dict[str, Any]) -> dict[str, Any]:
    """Settings by name, lists as tuples.

    Raises:
        ValueError: one that there is none of.
    """
    unknown = sorted(set(given) - set(settings.__dataclass_fields__))
    if unknown:
        known = ", ".join(settings.__dataclass_fields__)
        raise ValueError(f"{unknown[0]}={given[unknown[0]]!r} is no setting of a study; there are {known}")
    return {name: tuple(x) if isinstance(x, list) else x for name, x in given.items()}


def _split(settings: dict[str, Any], **told: Any) -> tuple[EffectSettings, Given]:
    """What is named goes to the settings, what is there already to `Given`.

    Raises:
        ValueError: a setting that there is none of, or one out of range.
    """
    _known(EffectSettings, settings)
    named, given = _named(**told)
    # objects have a name for people; what they are is in the study's hash by their own digests
    stand_in: dict[str, Any] = dict.fromkeys(given, "given") | ({"prompts": ""} if "prompts" in given else {})
    return EffectSettings(**{**stand_in, **named, **settings}), Given(**given)
