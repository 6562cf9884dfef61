"""Prompts that are judged by the same texts are one independent unit: in tables, splits, races and declared pairs."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import odesteer_tl as ode
from analyses.effects import shown, tables
from analyses.effects.arms import PLACEBO
from analyses.effects.declared import enough, parted
from analyses.effects.material import Material
from analyses.effects.plan import Plan
from analyses.effects.prediction import layer_picks
from analyses.effects.saying import found
from analyses.effects.settings import EffectSettings
from analyses.evidence import contrasts
from analyses.evidence.lensing import layer_per_prompt
from analyses.evidence.predictors import RANDOM, predictors
from analyses.search import Rules
from analyses.search.replay import Grid
from analyses.sources import own_or_held_out, read_grouped, read_prompts
from analyses.studies import search_layer
from figures.captions import asked
from figures.layers import draw_layers
from odesteer_tl import stats
from tests.studies import write_concept

#: units of a study, the first half of them to choose on, and by how much an arm raises their score
N, ARMS = 40, {"caa": 0.4, "odesteer_kernel, one step": 0.9, "odesteer_kernel": 1.0}


def rows(apart: float = 0.0) -> pd.DataFrame:
    """A layer study in which each unit is judged behind two prompts, whose scores lie so far apart."""
    rng = np.random.default_rng(0)
    base = rng.normal(size=N)
    cells = [("unsteered", -1, "none", 0.0, base)]
    for label, by in ARMS.items():
        for layer in (2, 5):
            cells += [(label, layer, "kl", level, base + by * level / layer + 0.3 * rng.normal(size=N))
                      for level in (0.5, 1.0)]  # fmt: skip
    parts = []
    for label, layer, budget, level, score in cells:
        for side in (0, 1):
            own = score + (side - 0.5) * apart
            parts.append(pd.DataFrame({
                "label": label, "layer": layer, "budget": budget, "level": level, "prompt": np.arange(N) + N * side,
                "unit": np.arange(N), "split": np.where(np.arange(N) < N // 2, "select", "test"), "score": own,
                "success": own > 0, "reached": True, "angle": 0.1, "kl": 0.1,
                "probe_auc": 0.9 - 0.01 * layer}))  # fmt: skip
    return pd.concat(parts, ignore_index=True).assign(model="smollm2", concept="sentiment")


def once(table: pd.DataFrame) -> pd.DataFrame:
    """The first prompt of every unit, as an outcome without groups has them."""
    return table.query("prompt < @N").drop(columns="unit")


SUMMARIES = {
    "profile": tables.profile,
    "changes": tables.changes,
    "choices": tables.choices,
    "areas": lambda table: tables.areas(table, 2, "caa"),
    "anti_steerable": lambda table: tables.anti_steerable(table, "kl"),
    "contrasts": lambda table: tables.contrasts(table, "kl", [("odesteer_kernel", "caa")]).drop(
        columns=["p", "p_holm"]
    ),
    "layer_picks": lambda table: layer_picks(table, "odesteer_kernel", "kl", 1.0),
    "by_cell": contrasts.by_cell,
    "pooled": lambda table: contrasts.pooled([table, table]),
    "predictors": lambda table: predictors(table, pd.DataFrame(), "odesteer_kernel", 1.0),
}


@pytest.mark.parametrize("name", SUMMARIES)
def test_a_unit_that_is_asked_twice_counts_once(name):
    """Every unit's two prompts say the same: no estimate, interval or N is other than of one of them."""
    table, summary = rows(), SUMMARIES[name]
    pd.testing.assert_frame_equal(summary(table), summary(once(table)))


def test_what_units_say_is_the_mean_of_their_prompts():
    table = rows(apart=0.8)
    cell = table.query("split == 'test' and layer == 2 and level == 1.0")
    flow, caa = (cell.query("label == @label").groupby("unit")["score"].mean() for label in ("odesteer_kernel", "caa"))
    wanted = stats.paired_difference(flow, caa)
    found = contrasts.by_cell(table).query("second == 'caa' and layer == 2 and level == 1.0").iloc[0]
    assert (found.difference, found.low, found.high, found.n) == (wanted.value, wanted.low, wanted.high, N // 2)
    two = contrasts.by_cell(table.drop(columns="unit")).query("second == 'caa' and layer == 2 and level == 1.0").iloc[0]
    assert two.high - two.low < 0.8 * (found.high - found.low)
    assert two.n == N
    # of a unit whose prompts part, success is neither: the share's interval is of prompts that are alike in part
    share = tables.profile(table).query("label == 'odesteer_kernel' and layer == 2 and level == 1.0").iloc[0]
    own = cell.query("label == 'odesteer_kernel'")
    assert (share.success_low, share.n) == (stats.share(own["success"], groups=own["unit"]).low, N // 2)
    p = tables.contrasts(table, "kl", [("odesteer_kernel", "caa")]).query("layer == 2 and level == 1.0")["p"].item()
    of_units = [cell.query("label == @label").groupby("unit")["success"].mean() for label in ("odesteer_kernel", "caa")]
    assert p == pytest.approx(stats.difference_pvalue(*of_units, bounds=(0.0, 1.0)))
    assert tables.choices(table)["n"].tolist() == [N // 2] * 3
    assert (tables.choices(table)["band_low"] <= tables.choices(table)["success"]).all()
    assert "of 20 groups of 40 test prompts" in tables.headroom(table)


def test_a_layer_per_prompt_and_a_grid_are_of_units():
    table = rows(apart=0.8)
    states = pd.DataFrame(np.random.default_rng(1).normal(size=(2 * N, 4)))
    assert layer_per_prompt(table, states, "odesteer_kernel", 1.0)["n"].tolist() == [N // 2] * 2
    assert predictors(table, pd.DataFrame(), "odesteer_kernel", 1.0).set_index("picked by").loc[RANDOM, "n"] == N // 2
    grid, doubled = Grid.of(table), Grid.of(table.drop(columns="unit"))
    assert grid.select.shape == grid.test.shape == (13, N // 2)
    assert doubled.select.shape == (13, N)
    np.testing.assert_allclose(grid.select.mean(1), doubled.select.mean(1))


# --- studies of an outcome with groups


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Each of ten pairs of completions stands behind two prompts, ten apart."""
    sides = [(" the happy dog", " the sad dog"), (" the kind cat", " the cruel cat")]
    rows = [{"prompt": text, "group": f"texts {i % 10}", "positive": sides[i % 2][0], "negative": sides[i % 2][1]}
            for i, text in enumerate(ode.organism.prompts(20))]  # fmt: skip
    return write_concept(tmp_path_factory.mktemp("grouped") / "words", 24, [row["prompt"] for row in rows], rows)


def settings(folder, **changed):
    own = {"contrast": str(folder / "pairs.jsonl"), "outcome": str(folder / "words.json"), "cross_fit": True}
    return EffectSettings(**{**own, "measures": (), **changed})


def test_no_unit_is_both_chosen_on_and_reported_on(folder):
    plan = Plan.of(settings(folder, select=6, test=14))
    sides = [{unit for unit, side in zip(plan.units, plan.split, strict=True) if side == split}
             for split in ("select", "test")]  # fmt: skip
    assert [len(side) for side in sides] == [3, 7]
    assert not sides[0] & sides[1]
    assert list(plan.prompts[:6]) == [ode.organism.prompts(20)[i] for i in (0, 1, 2, 10, 11, 12)]
    with pytest.raises(ValueError, match=r"select=7 parts prompts .* give 6"):
        Plan.of(settings(folder, select=7, test=13))
    # a third that was not asked for may be one less
    left_out = Plan.of(settings(folder, test=None)).settings
    assert (left_out.select, left_out.test) == (6, 14)
    assert plan.described()["units"] == plan.units


def test_prompts_without_groups_stay_in_their_order(folder, tmp_path):
    rows = [{k: v for k, v in row.items() if k != "group"} for row in json.loads((folder / "words.json").read_text())]
    (tmp_path / "words.json").write_text(json.dumps(rows))
    plan = Plan.of(settings(folder, outcome=str(tmp_path / "words.json"), select=7, test=13))
    assert list(plan.prompts) == ode.organism.prompts(20)
    assert plan.units == ()
    assert "units" not in plan.described()


def test_a_race_asks_units_and_counts_each_once(folder, organism, tmp_path):
    own = settings(folder, select=8, test=12)
    found = search_layer(organism, own.contrast, None, own.outcome, out=tmp_path, layers=[2], methods=["caa"],
                         angle=[0.2, 0.6], kl=[], cross_fit=True, select=8, test=12,
                         rules=Rules(budget=1.0, epsilon=0.01, block=1))  # fmt: skip
    asked = found.answer.frame()["asked"]
    assert 4 >= asked.max() >= 2
    assert found.success.n == found.difference.n == 6
    kept = [pd.read_parquet(path) for path in (found.directory / "cells").iterdir()]
    pulled = pd.concat([cell for cell in kept if "success" in cell and len(cell)])
    units = Material(own).plan.units
    assert (pulled["unit"] == [units[i] for i in pulled["prompt"]]).all()
    # both prompts of a unit are asked together
    chosen_on = pulled.query("split == 'select' and level > 0")
    assert len(chosen_on) == 2 * asked[1:].sum()
    assert (chosen_on.groupby(["level", "unit"]).size() == 2).all()


# --- prompts that are made alike


def grouped(tmp_path, name, rows):
    path = tmp_path / name
    if path.suffix == ".csv":
        pd.DataFrame(rows).to_csv(path, index=False)
    else:
        path.write_text("\n".join(json.dumps(row) for row in rows))
    return str(path)


@pytest.mark.parametrize("name", ["own.csv", "own.jsonl"])
def test_prompts_of_one_group_of_their_file_are_one_unit(tmp_path, name, folder):
    rows = [{"prompt": text, "group": f"template {i // 3}"} for i, text in enumerate(ode.organism.prompts(24))]
    file = grouped(tmp_path, name, rows)
    plan = Plan.of(settings(folder, prompts=file, outcome="regex:happy", select=9, test=15))
    assert plan.units == tuple(i // 3 for i in range(24))
    assert list(plan.prompts) == [row["prompt"] for row in rows]
    # studies that would take them for 24
    with pytest.raises(ValueError, match=r"prompts=.*own.* share a group"):
        own_or_held_out(file, "own.csv", 0, None)
    alone = grouped(tmp_path, name, [{**row, "group": i} for i, row in enumerate(rows)])
    assert read_prompts(alone) == list(plan.prompts)
    file = grouped(tmp_path, name, rows)
    with pytest.raises(ValueError, match=r"select=8 parts prompts that are .* of one group.* give 6"):
        Plan.of(settings(folder, prompts=file, outcome="regex:happy", select=8, test=16))
    # a third that was not asked for may be less
    assert Plan.of(settings(folder, prompts=file, outcome="regex:happy", select=None, test=None)).settings.select == 6


def test_a_chain_of_groups_and_texts_is_one_unit(tmp_path, folder):
    """Prompts of equal text are one, and so are the groups that they stand in."""
    texts = ode.organism.prompts(10)
    rows = [{"prompt": text, "group": str(i)} for i, text in enumerate(texts)]
    rows += [{"prompt": texts[0], "group": "1"}, {"prompt": f"{texts[9]} so", "group": "2"}]
    plan = Plan.of(
        settings(folder, prompts=grouped(tmp_path, "own.csv", rows), outcome="regex:happy", select=5, test=7)
    )
    of = dict(zip(plan.prompts, plan.units, strict=True))
    assert of[texts[0]] == of[texts[1]]
    assert of[texts[2]] == of[f"{texts[9]} so"]
    assert len(set(plan.units)) == 9


def test_a_group_that_others_have_is_missed(tmp_path):
    rows = [{"prompt": "A cat", "group": "a"}, {"prompt": "A dog", "group": ""}]
    for name in ("own.csv", "own.jsonl"):
        with pytest.raises(ValueError, match=r"own\.\w+': row 2 has no 'group', which other rows have"):
            read_grouped(grouped(tmp_path, name, rows))
    # a group that is called 0 is one, too
    with pytest.raises(ValueError, match="row 2 has no 'group'"):
        read_grouped(grouped(tmp_path, "zero.jsonl", [{"prompt": "A cat", "group": 0}, {"prompt": "A dog"}]))
    # of none is said nothing
    assert read_grouped(grouped(tmp_path, "none.jsonl", [{"prompt": "A cat"}])) == (["A cat"], [])


def test_what_is_found_is_said_of_groups():
    table = rows(apart=0.8).replace({"label": {"odesteer_kernel, one step": PLACEBO}})
    lost = {"unsteered": 0.0, PLACEBO: 0.25, "odesteer_kernel": 0.5, "caa": 0.75}
    table = table.assign(log_likelihood=-1 - table["label"].map(lost))
    for rows_of, chosen_on, reported in ((table, "20 groups of 40 other prompts", "20 groups of 40 test prompts"),
                                     (once(table), "20 other prompts", "20 test prompts")):  # fmt: skip
        said = found(rows_of, tables.choices(rows_of), pd.DataFrame(), "success")
        assert f"cells on {chosen_on}" in said
        assert f"of {reported}, unsteered on" in said
        assert said.endswith("of likelihood, those of the random direction 0.25 (medians over the prompts).")


@pytest.mark.parametrize(("size", "asked"), [(1, "16 test prompts"), (2, "8 groups of 16 test prompts")])
def test_what_must_change_is_counted_in_units(size, asked):
    """Of eight units as of eight prompts: the least number whose change the test calls significant."""
    cells = [{"label": label, "layer": 2, "budget": "angle", "level": 0.2} for label in ("caa", PLACEBO)]
    units = {"units": tuple(i // size for i in range(24))} if size > 1 else {}
    said = enough(SimpleNamespace(cells=cells, settings={"select": 8, "test": 16, **units}))
    least = tables.least_changed(1, 16 // size)
    assert f", {least} of the {asked} must change" in said
    few, none = ((np.arange(16 // size) < k).astype(float) for k in (least - 1, 0))
    assert stats.difference_pvalue(few, none) >= tables.ALPHA > stats.difference_pvalue(np.r_[1, few[:-1]], none)


def test_a_study_says_beforehand_what_it_chooses_and_reports_on(tmp_path):
    file = grouped(tmp_path, "own.csv", [{"prompt": text} for text in ode.organism.prompts(30)])
    settings = {"select": 8, "test": 16}
    units = {"units": tuple(i // 2 for i in range(24))}
    assert parted(SimpleNamespace(settings=settings)) == ""
    said = "layer and strength are chosen on 8 prompts in 4 groups and reported on 16 prompts in 8 groups"
    assert parted(SimpleNamespace(settings={**settings, **units})) == said
    left = "chosen on 8 prompts and reported on 16 prompts; the last 6 of own.csv are left out"
    assert left in parted(SimpleNamespace(settings=settings), file)


def test_a_header_within_a_file_is_no_prompt_and_no_pair(tmp_path):
    """As `cat` leaves it where two .csv files are joined."""
    (tmp_path / "both.csv").write_text("prompt,group\nA cat,1\nprompt,group\nA dog,2\n")
    with pytest.raises(ValueError, match=r"both.csv: row 2 is the header once more"):
        read_grouped(str(tmp_path / "both.csv"))
    (tmp_path / "pairs.csv").write_text("positive,negative\na,b\npositive,negative\n")
    with pytest.raises(ValueError, match=r"pairs.csv: row 2 is the header once more"):
        ode.ContrastSet.from_file(tmp_path / "pairs.csv")


def test_a_band_that_says_nothing_is_dashes():
    """Of few groups whose prompts part nothing is known of all cells together."""
    table = tables.choices(rows(apart=0.8)).assign(band_low=-np.inf, band_high=np.inf)
    assert set(shown.chosen(table, tables.profile(rows()).rename(columns={"label": "method"}))["max-t band"]) == {
        "–", "[–, –]"}  # fmt: skip


def test_a_figure_of_groups_says_so(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"select": 8, "test": 16, "units": [i // 2 for i in range(24)]}))
    assert asked(tmp_path) == "groups of 16 test prompts"
    (tmp_path / "run.json").write_text(json.dumps({"select": 8, "test": 16}))
    assert asked(tmp_path) == "test prompts"
    table = tables.profile(rows()).rename(columns={"label": "method"})
    words = {"test prompts": "(share of prompts; judge: x)",
             "groups of 40 test prompts": "(share of prompts, the mean over their groups; judge: x)"}  # fmt: skip
    for counted, said in words.items():
        caption = " ".join(draw_layers(table, outcome="x", asked=counted).caption.split())
        assert f"N = 20 {counted} a point" in caption
        assert said in caption
