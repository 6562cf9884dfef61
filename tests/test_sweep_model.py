"""The engine and suffix evaluation together: a layer sweep of a real model, equal to full passes with hooks."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace

import pandas as pd
import pytest
import torch

import odesteer_tl as ode
from analyses.sweep import Store, Study, require_numbers, run
from odesteer_tl.suffix import Prefix, collect_prefix
from tests.problems import padded_prompts

FIELD = ode.ConstantField(torch.randn(128, generator=torch.Generator().manual_seed(0)))


def load() -> Prefix:
    torch.set_num_threads(1)
    return collect_prefix(ode.load_model("organism"), *padded_prompts(6, 4), start=-1)


def score(prefix, config):
    """Log-probability of a token by prompt."""
    edited = ode.Flow(angle=config["angle"]).solve(FIELD, prefix.residuals[config["layer"]]).end
    found = prefix.logits(config["layer"], edited)[:, 0].log_softmax(-1)[:, 7]
    return require_numbers(pd.DataFrame({"prompt": range(len(found)), "log_prob": found.double().numpy()}), config)


@pytest.fixture(scope="module")
def study(organism):
    return Study(
        name="layers",
        function=score,
        context=load,
        settings={"model": asdict(ode.ModelIdentity.of(organism)), "seed": 1},
        version="1",
        cells=tuple({"layer": layer, "angle": angle} for layer in range(5) for angle in (0.2, 0.6)),
        group="layer",
    )


def test_a_layer_sweep_equals_full_passes_and_is_the_same_from_another_process(study, organism, tmp_path):
    assert run(study, tmp_path / "here", progress=False).complete
    tokens, mask = padded_prompts(6, 4)
    here = Store.of(study, tmp_path / "here").directory / "table.parquet"
    table = pd.read_parquet(here).set_index(["layer", "angle"])
    for (layer, angle), rows in table.groupby(level=["layer", "angle"]):
        steerer = ode.Steerer(FIELD, ode.Flow(angle=angle), layer=int(layer))
        with steerer.on(organism, prompt_length=6), torch.no_grad():
            expected = organism(tokens, attention_mask=mask)[:, -1].log_softmax(-1)[:, 7]
        torch.testing.assert_close(torch.tensor(rows.log_prob.to_numpy()), expected.double(), rtol=1e-4, atol=1e-4)
    assert run(study, tmp_path / "there", "processes:1", progress=False).complete
    there = Store.of(study, tmp_path / "there").directory / "table.parquet"
    assert there.read_bytes() == here.read_bytes()


def load_model():
    torch.set_num_threads(1)
    return ode.load_model("organism")


def by_hooks(model, config):
    """Log-probabilities of a pass with hooks that other passes of this model would share."""

    def push(x, hook):
        return x + 40 * config["angle"] * torch.ones_like(x) / x.shape[-1] ** 0.5

    with torch.no_grad(), model.hooks(fwd_hooks=[(f"blocks.{config['layer']}.hook_out", push)]):
        found = [model(padded_prompts(6, 4)[0])[:, -1].log_softmax(-1)[:, 7] for _ in range(4)][-1]
    return require_numbers(pd.DataFrame({"prompt": range(len(found)), "log_prob": found.double().numpy()}), config)


@pytest.mark.parametrize("where", ["thread pool", "dask worker"])
def test_two_threads_of_one_process_give_what_one_gives(where, study, tmp_path):
    from distributed import LocalCluster

    cells = tuple({"layer": layer, "angle": angle} for layer in range(5) for angle in (0.2, 0.4, 0.6))
    hooked = replace(study, function=by_hooks, context=load_model, cells=cells, group="")
    assert run(hooked, tmp_path / "alone", progress=False).complete
    if where == "thread pool":
        with ThreadPoolExecutor(2) as pool:
            assert run(hooked, tmp_path / "two", pool, progress=False).complete
    else:
        # a worker's threads are all that is asked about: one in this process has torch imported already
        settings = {"processes": False, "protocol": "tcp://", "dashboard_address": None, "host": "127.0.0.1"}
        with LocalCluster(n_workers=1, threads_per_worker=2, **settings) as cluster:
            address = cluster.scheduler_address.removeprefix("tcp:")
            assert run(hooked, tmp_path / "two", f"dask:{address}", progress=False).complete
    alone, two = (
        pd.read_parquet(Store.of(hooked, tmp_path / name).directory / "table.parquet") for name in ("alone", "two")
    )
    pd.testing.assert_frame_equal(alone, two)
