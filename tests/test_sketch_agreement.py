"""Agreement of sketches: against the kernel it goes to one with features, and the table is what was compared."""

import pandas as pd
import pytest
import torch

import odesteer_tl as ode
from analyses.geometry import sketches
from analyses.geometry.sketches import Data, agreement, compare, directions, gaussian_classes, over_seeds
from analyses.sketch_agreement import SketchConfig


@pytest.fixture(scope="module")
def data():
    return Data(*gaussian_classes(60, 24, seed=0), torch.cat(gaussian_classes(10, 24, seed=1)))


def kernel(data: Data) -> torch.Tensor:
    return directions(ode.KernelBarrier(gamma=0.1, coef0=1.0, C=1.0), data)


def test_more_features_come_closer_to_the_kernel_and_to_each_other(data):
    tables = [pd.DataFrame(agreement(data, kernel(data), n, range(4))) for n in (50, 800, 12800)]
    means = pd.concat(tables).groupby(["against", "n_components"])["cosine"].mean()
    for against in ("kernel", "another seed"):
        few, more, many = means[against]
        assert few < more < many
        assert many > 0.98
    # two sketches err independently: they are further from each other than from what both estimate
    assert (means["another seed"] < means["kernel"]).all()


def test_rows_are_medians_of_the_cosine_of_gradients(data):
    rows = pd.DataFrame(agreement(data, kernel(data), 500, range(3)))
    assert rows.groupby("against").size().to_dict() == {"another seed": 3, "kernel": 3}
    row = rows.query("against == 'another seed' and seed == 0 and other == 2").iloc[0]
    barriers = [ode.SketchBarrier(n_components=500, seed=s).fit(data.positive, data.negative) for s in (0, 2)]
    g = [barrier.gradient(data.held_out.double()) for barrier in barriers]
    cosine = torch.cosine_similarity(*g, dim=-1)
    assert row["cosine"] == pytest.approx(float(cosine.quantile(0.5)), abs=1e-12)
    assert row["cosine_low"] <= row["cosine"] <= row["cosine_high"]
    assert row["n"] == 20


def test_classes_keep_their_distance_in_every_width():
    for d in (8, 512):
        positive, negative = gaussian_classes(20_000 // d * 8, d, seed=0)
        apart = torch.randn(d, generator=torch.Generator().manual_seed(d))
        along = (positive.mean(0) - negative.mean(0)) @ apart / apart.norm()
        assert float(along) == pytest.approx(3.0, abs=0.25)
    torch.testing.assert_close(gaussian_classes(5, 8, 1), gaussian_classes(5, 8, 1), rtol=0, atol=0)


def test_the_table_covers_sources_widths_features_and_seeds(organism):
    config = SketchConfig(widths=(8, 16), n_components=(100, 200), seeds=3, fit=20, held_out=10, contrasts=("valence",))
    table = compare(organism, config)
    assert set(zip(table["source"], table["d"], strict=True)) == {
        ("synthetic", 8), ("synthetic", 16), ("organism, valence", 128)}  # fmt: skip
    assert table.groupby(["source", "d", "n_components", "against"]).size().unique().tolist() == [3]
    assert (table["n"] == 10).all()
    means = over_seeds(table).set_index(["source", "n_components", "against", "d"])
    cell = table.query("d == 8 and n_components == 200 and against == 'kernel'")["cosine"]
    wanted = [cell.mean(), cell.min(), cell.max(), 3]
    assert means.loc[("synthetic", 200, "kernel", 8)].tolist() == pytest.approx(wanted)
    assert len(means) == 12


def test_held_out_texts_take_no_part_in_the_fit(organism, monkeypatch):
    parts = []
    collect = ode.collect_activations

    def watched(model, contrast, layers):
        parts.append({*contrast.positive, *contrast.negative})
        return collect(model, contrast, layers)

    monkeypatch.setattr(ode, "collect_activations", watched)
    ((_, data),) = sketches.of_the_organism(organism, SketchConfig(fit=30, held_out=20, contrasts=("valence",)))
    assert (len(data.positive), len(data.held_out)) == (30, 20)
    assert not parts[0] & parts[1]
