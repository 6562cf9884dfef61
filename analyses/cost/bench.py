"""The groups of the bench, each a few rows."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pandas as pd
import torch
from sklearn.kernel_approximation import PolynomialCountSketch
from sklearn.linear_model import LogisticRegression
from tqdm.auto import tqdm

import odesteer_tl as ode
from analyses.bench import BenchConfig
from analyses.cost.accelerator import accelerator_rows
from analyses.cost.layer_study import layer_study_rows
from analyses.cost.material import Row, classes, decaying_classes, gpt2_small, row
from analyses.cost.methods import method_rows
from analyses.cost.published_form import REAL, published_euler
from analyses.cost.real_model import real_model_rows
from analyses.cost.suffix import suffix_rows
from analyses.cost.sweep import sweep_rows
from analyses.cost.timing import interleaved, peak_memory
from analyses.runs import code


def calls() -> Iterator[Row]:
    """A steering call against the published form: of the same barrier, and of the kernel's in its place."""
    kernel = ode.KernelBarrier(gamma=1.0, C=10.0)
    for d, kind, data, ours, targets in (
        (768, "", classes(500, 768), None, {1: "15×", 16: "20×", 256: "100×"}),
        (4096, "", classes(500, 4096), None, {1: "1.5×", 16: "2×", 256: "5×"}),
        (4096, "along a kernel, ", decaying_classes(500, 4096), kernel, {1: "4×", 16: "6×", 256: "20×"}),
    ):
        sketch = ode.SketchBarrier().fit(*data)
        field = ode.BarrierField(sketch if ours is None else ours.fit(*data))
        flow = ode.Flow(angle=0.5, steps=10, solver="euler")
        start = time.perf_counter()
        flow.solve(field, 20 * torch.randn(1, d, generator=torch.Generator().manual_seed(1)))
        seconds = time.perf_counter() - start
        yield {"what": f"first steering call, {kind}d = {d}", "target": "≤ 1 s", "ours": seconds, "ratio": seconds,
               "unit": "s"}  # fmt: skip
        for batch, target in targets.items():
            a = 20 * torch.randn(batch, d, generator=torch.Generator().manual_seed(1))
            T = 0.5 * a.norm(dim=-1, keepdim=True)
            theirs, mine = (lambda: published_euler(sketch, a, T), lambda: flow.solve(field, a).end)  # noqa: B023
            if ours is None:
                error = float((theirs() - mine()).norm() / mine().norm())
                assert error <= 1e-5, f"end points differ by {error:.1e}"
            times = interleaved(theirs, mine, rounds=9 if batch == 256 else 25)
            yield row(f"steering call, {kind}d = {d}, batch {batch}", f"≥ {target}", *times)
            if ours is not None:
                continue
            real, _ = interleaved(lambda: published_euler(sketch, a, T, fourier=REAL), mine, rounds=5)  # noqa: B023
            yield row(f"  the same, against it with real transforms, batch {batch}", "", real, times[1])
        if d == 4096:
            a = 20 * torch.randn(256, d)
            T = 0.5 * a.norm(dim=-1, keepdim=True)
            peaks = [peak_memory(lambda: published_euler(sketch, a, T)), peak_memory(lambda: flow.solve(field, a))]  # noqa: B023
            what = f"peak extra memory of a call, {kind}d = 4096, batch 256"
            yield row(what, "≥ 5×", *(p / 2**20 for p in peaks), unit="MiB")


def steps() -> Iterator[Row]:
    """What more steps cost."""
    field = ode.BarrierField(ode.SketchBarrier().fit(*classes(500, 768)))
    for batch in (1, 16, 256):
        a = 20 * torch.randn(batch, 768, generator=torch.Generator().manual_seed(1))
        many, few = (ode.Flow(angle=0.5, steps=n) for n in (1000, 10))
        times = interleaved(lambda: many.solve(field, a), lambda: few.solve(field, a), rounds=3)  # noqa: B023
        yield row(f"1000 steps against 10, d = 768, batch {batch}", "≤ 3×", *times)


def fits() -> Iterator[Row]:
    """Fitting the kernel barrier against scikit-learn on the published sketch."""
    data = classes(1000, 768)
    rows = torch.cat([x / x.norm(dim=-1, keepdim=True) for x in data]).double().numpy()
    labels = [1] * 1000 + [0] * 1000
    features = PolynomialCountSketch(gamma=0.1, degree=2, coef0=1, n_components=8000, random_state=0).fit_transform(
        rows
    )

    def reference() -> None:
        LogisticRegression(C=1.0, max_iter=10_000).fit(features, labels)

    for C in (1.0, 100.0, 10_000.0):
        ours = ode.KernelBarrier(C=C)
        theirs, mine = interleaved(reference, lambda: ours.fit(*data), rounds=3)  # noqa: B023
        line = row(
            f"kernel fit, 1000 + 1000, C = {C:g}, against the sketch's logistic regression", "≤ 2×", theirs, mine
        )
        yield {**line, "ratio": mine / theirs}
    start = time.perf_counter()
    ode.KernelBarrier(gamma="cv", C="cv").fit(*data)
    seconds = time.perf_counter() - start
    yield {"what": "5-fold cross-validation over 4 × 4 values of C and γ, 1000 + 1000", "target": "≤ 60 s",
           "ours": seconds, "ratio": seconds, "unit": "s"}  # fmt: skip


def model_runs() -> Iterator[Row]:
    """Generation and collection on a GPT-2-small shape."""
    model = gpt2_small()
    data = classes(500, 768)
    tokens = torch.randint(5, 180, (8, 32), generator=torch.Generator().manual_seed(0))
    sampling: dict[str, Any] = {"max_new_tokens": 32, "do_sample": False, "verbose": False, "stop_at_eos": False,
                                "attention_mask": torch.ones_like(tokens), "return_type": "tokens"}  # fmt: skip
    for name, barrier in (("sketch", ode.SketchBarrier()), ("kernel", ode.KernelBarrier(C=10.0))):
        steerer = ode.Steerer(ode.BarrierField(barrier.fit(*data)), ode.Flow(angle=0.3), layer=6)

        def steered(steerer: ode.Steerer = steerer) -> None:
            with steerer.on(model, prompt_length=32):
                model.generate(tokens, **sampling)

        times = interleaved(steered, lambda: model.generate(tokens, **sampling), rounds=7)
        yield row(f"generation, 124 M, batch 8, 32 + 32 tokens, {name}, steered against not", "≤ 1.03×", *times)
    texts = [" ".join(t.split()[:40]) for t in ode.organism.contrast("valence", n=32).positive]
    contrast = ode.ContrastSet.from_texts(texts[:16], texts[16:])
    ids = model.to_tokens(texts, padding_side="right")

    @torch.no_grad()
    def plain() -> None:
        model(ids, return_type="logits")

    times = interleaved(lambda: ode.collect_activations(model, contrast, "all"), plain, rounds=7)
    yield row("collecting all 12 layers against one plain forward, 32 texts", "≤ 1.3×", *times)


def certificates() -> Iterator[Row]:
    """What certifying a path costs beside making it, and how many segments a second that is."""
    barrier = ode.SketchBarrier().fit(*classes(500, 768))
    field, flow = ode.BarrierField(barrier), ode.Flow(angle=0.5, steps=10, solver="euler")
    diagonal, spectrum = barrier.quadratic.diagonal, barrier.quadratic.spectrum
    for batch in (1, 16, 256):
        a = 20 * torch.randn(batch, 768, generator=torch.Generator().manual_seed(1))
        points = flow.solve(field, a, record=True).points
        assert points is not None
        coordinates = spectrum.enter(points.double())
        certify = partial(ode.certify_path, barrier, points)
        for what, call in (
            ("recording its path", lambda: flow.solve(field, a, record=True)),  # noqa: B023
            ("steering", lambda: flow.solve(field, a)),  # noqa: B023
        ):
            certifying, making = interleaved(certify, call, rounds=9)
            yield row(f"certifying 10 steps against {what}, d = 768, batch {batch}", "≤ 5×", certifying, making)
        seconds, whole = interleaved(lambda: ode.certify_path(diagonal, coordinates), certify, rounds=9)  # noqa: B023
        for where, spent in (("in A's eigenbasis", seconds), ("rotation included", whole)):
            rate = 10 * batch / spent
            yield {"what": f"segments certified a second, d = 768, batch {batch}, {where}", "target": "≥ 50000",
                   "ours": rate, "ratio": rate, "unit": "1/s"}  # fmt: skip


def sweeps() -> Iterator[Row]:
    """Suffix evaluation against full passes, and what the engine adds."""
    yield from suffix_rows(gpt2_small())
    yield from sweep_rows()


#: "real" and "studies" need SmolLM2's package (see `make test`), "accelerator" what its name says
GROUPS: dict[str, Callable[[], Iterator[Row]]] = {
    "calls": calls, "steps": steps, "fits": fits, "models": model_runs, "certificates": certificates,
    "methods": lambda: method_rows(gpt2_small()), "sweeps": sweeps, "real": real_model_rows,
    "studies": layer_study_rows, "accelerator": accelerator_rows,
}  # fmt: skip


def run(config: BenchConfig) -> None:
    """Run the groups and print one table.

    Raises:
        ValueError: `only` stands in the name of no group.
    """
    chosen = [name for name in GROUPS if config.only in name]
    if not chosen:
        raise ValueError(f"only={config.only!r} stands in the name of no group; there are {', '.join(GROUPS)}")
    torch.set_num_threads(config.threads)
    rows: list[Row] = []
    for name in tqdm(chosen, desc="benchmarks"):
        rows += GROUPS[name]()
    table = pd.DataFrame(rows)
    config.out.mkdir(parents=True, exist_ok=True)
    # some groups alone do not replace the table of all
    file = config.out / f"bench{'-' * bool(config.only)}{config.only}.csv"
    table.to_csv(file, index=False)
    record = {"threads": config.threads, "processor": platform.processor() or platform.machine(), **code()}
    (config.out / "run.json").write_text(json.dumps(record, indent=2))
    print(table.to_string(index=False, float_format="%.4g", na_rep="–"))
    print(f"\n{config.threads} threads; ratios of medians of interleaved runs; {file}")
