"""A study of one's own: what is refused before a model is loaded, and from files to a finished report, small."""

import json
import re
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import numpy as np
import pandas as pd
import pytest

import odesteer_tl as ode
from analyses.command import from_command_line
from analyses.effects import EffectSettings, Given, Plan, arms, saying
from analyses.effects.arms import LAYER_ARMS, Arm, chosen_arms, compared_arms
from analyses.effects.report import LOST, OVERLAP, USE, LayerReport
from analyses.effects.shown import at_chosen, chosen, differences
from analyses.effects.tables import ALPHA, RULE, choices, headroom, least_changed
from analyses.effects.using import advice, best_choice, further, lines_to_paste, texts_to_read
from analyses.intervals import with_interval
from analyses.layer_effectiveness import (
    LayersConfig,
    asking_more,
    check,
    dry_run,
    layer_effectiveness,
    layers_study,
)
from analyses.layer_effectiveness import main as layers_main
from analyses.method_audit import AuditConfig
from analyses.method_comparison import ComparisonConfig, method_comparison
from analyses.models import layers_of
from analyses.search.rules import Rules
from analyses.sources import load_contrast, read_prompts
from analyses.studies import comparison, layer_study, search_layer
from analyses.sweep import WillRepeat
from figures.layers import draw_layers
from odesteer_tl.stats import difference_pvalue, holm
from tests.studies import refused, write_pairs

WORDS = {"positive": [" the happy dog", " a kind girl"], "negative": [" the sad dog", " a mean girl"]}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """64 pairs, 9 prompts and completions, as people bring them; with a byte order mark and a blank last line."""
    folder = tmp_path_factory.mktemp("own")
    write_pairs(ode.organism.contrast("valence", 64, 0), folder / "pairs.jsonl", "utf-8-sig")
    (folder / "prompts.txt").write_text("\n".join(ode.organism.prompts(9)) + "\n", encoding="utf-8")
    (folder / "words.json").write_text(json.dumps(WORDS))
    return folder


def own(files, **changed):
    """The settings of a small study on these files."""
    given = {"contrast": str(files / "pairs.jsonl"), "prompts": str(files / "prompts.txt"),
             "outcome": str(files / "words.json"), "cross_fit": True, "measures": (), "max_new_tokens": 3}  # fmt: skip
    return EffectSettings(**{**given, **changed})


def test_from_64_pairs_prompts_and_words_to_a_finished_report(files, tmp_path, capsys):
    """With the documented command; then a level and an arm more, which recomputes no finished cell."""
    config = LayersConfig(own(files), layers=(1, 3), arms=("caa",), angle=(0.2,), kl=(), out=tmp_path)
    assert "5 cells, about" in dry_run(config)[0]
    assert layers_main(replace(config, dry_run=True)) == 0
    assert "nothing is written; it would go to " in capsys.readouterr().out
    assert not list(tmp_path.iterdir())  # a dry run writes nothing
    assert layers_main(config) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(("Unsteered succeeds on", "WARNING: Unsteered"))
    assert "| unsteered" in printed.out
    assert "| random, geodesic" in printed.out
    # of the study's own pairs none was run, and each way is held against the placebo
    (written,) = tmp_path.glob("*/report/report.md")
    assert "| angle    | caa     | random, geodesic |" in written.read_text(encoding="utf-8")
    assert f"Every table: {written}\n" in printed.out
    assert "5 cells, about" in printed.err
    assert "tokens a second measured" in printed.err
    assert "peak memory" in printed.err
    # the lines with which it ends steer by what was chosen
    pasted = dedent(printed.out.split(f"{USE}\n\n")[1].split("\n\nEvery table")[0])
    exec(compile(pasted, "pasted", "exec"), {})
    prompts = (files / "prompts.txt").read_text(encoding="utf-8").splitlines()[:3]
    for prompt, text in zip(prompts, capsys.readouterr().out.splitlines(), strict=True):
        assert text.startswith(prompt)
    (directory,) = tmp_path.iterdir()
    rows = pd.read_parquet(directory / "table.parquet")
    assert "text" not in rows  # nothing was written: completions were asked for
    assert rows.groupby("label")["prompt"].count().to_dict() == {"unsteered": 9, "caa": 18, "random, geodesic": 18}
    assert rows["split"].value_counts().to_dict() == {"test": 30, "select": 15}
    before = {path: path.stat().st_mtime_ns for path in (directory / "cells").iterdir()}
    more = LayersConfig(own(files), layers=(1, 3), arms=("caa", "odesteer_kernel"), angle=(0.2,), kl=(), out=tmp_path)
    assert "2 cells of 7" in dry_run(more)[0]
    report, same = layer_effectiveness(more)
    assert same == directory
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert set(report.layers["method"]) == {"unsteered", "random, geodesic", "caa", "odesteer_kernel"}
    assert dry_run(more)[0].splitlines()[0] == "nothing is left to be done"


PAGES = Path(__file__).parents[1] / "docs" / "how-to"
PAGE, JUDGES, REPORT, QUICKSTART = (
    (PAGES / f"{name}.md").read_text(encoding="utf-8")
    for name in ("own-study", "judges", "study-report", "../quickstart")
)


def documented_calls(page: str = PAGE) -> list[list[str]]:
    """The arguments of each of a page's studies."""
    blocks = [part.split("```")[0] for part in page.split("```bash\n")[1:] if "analyses.layer_effectiveness" in part]
    calls = [shlex.split(block.replace("\\\n", " ")) for block in blocks]
    return [call[call.index("analyses.layer_effectiveness") + 1 :] for call in calls]


def documented(page: str, mark: str) -> str:
    """The first block of Python on a page in which `mark` stands."""
    return next(code for part in page.split("```python\n")[1:] if mark in (code := part.split("```")[0]))


def test_the_documented_files_make_the_studies_whose_cells_the_pages_count(tmp_path, monkeypatch):
    """The pages' scripts, word for word; the commands take what they write, without a model being loaded."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ode, "load_model", lambda *_: pytest.fail("a model was loaded"))
    exec(compile(documented(QUICKSTART, "pairs.jsonl"), "pairs.py", "exec"), {})
    assert len((tmp_path / "pairs.jsonl").read_text().splitlines()) == 30
    (tmp_path / "judge.py").write_text(documented(PAGE, "def praises"))
    plans: list[LayersConfig] = []
    first, second = documented_calls(PAGE)
    for call in (first, second):
        assert from_command_line(LayersConfig, plans.append, None, call) == 0
    study, layers = layers_study(plans[0])
    assert f"{len(study.cells)} cells, about" in PAGE
    assert layers == plans[0].layers
    once_more, _ = layers_study(plans[1])
    assert {cell["label"] for cell in once_more.cells} == {"unsteered", "caa", "random, geodesic"}
    assert len(once_more.cells) == 3  # one layer at one strength: nothing is chosen
    looked, asked = (Plan.of(plan.effect) for plan in plans)
    assert not {*looked.prompts} & {*asked.prompts[asked.split.index("test") :]}  # nobody has looked at those
    exec(compile(documented(JUDGES, "words.json"), "words.py", "exec"), {})
    assert from_command_line(LayersConfig, plans.append, None, *documented_calls(JUDGES)) == 0
    study, _ = layers_study(plans[2])
    assert len(study.cells) == 3 * 3 * 2 + 1  # "three layers and three angles", with the placebo
    assert f"\nLayer and level chosen on other prompts: {RULE}. {LOST}\n" in REPORT
    assert len(re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL).split()) <= 700


def test_what_the_page_shows_is_what_a_study_prints():
    """Each line that it shows, up to its numbers, in the words of today's report."""
    table = pd.concat([chosen_table(), *(cell.replace({"budget": "kl"}, "angle").assign(
        split=split, prompt=lambda rows, more=more: rows["prompt"] + more, log_likelihood=-1.2) for split, more in
        (("test", 0), ("select", 10)) for cell in (plain(10, 1, arms.PLACEBO, layer).assign(level=level)
                                                  for layer in (8, 14) for level in (0.3, 0.6)))])  # fmt: skip
    said = LayerReport.of(table.assign(score=table["success"].astype(float)), "own")
    sentences = re.split(r"(?<=[.:]) (?=[A-Z])", PAGE.split("Found: ")[1].split("```")[0].strip())
    found = re.split(r"(?<=[.:]) (?=[A-Z])", said.found.removeprefix("Found: "))
    assert [words(sentence) for sentence in sentences] == [words(sentence) for sentence in found]


def words(sentence):
    """Those of a sentence, without numbers, and whether something was shown."""
    plain = re.sub(r"[-+]?\d[\d.,]*|\[[^]]*\]|p [<=] ?|is (?:not )?shown to", "", sentence)
    return re.findall(r"[A-Za-z]+", plain)


def test_the_documented_command_on_a_real_model(smollm2, tmp_path, monkeypatch, capsys):
    """docs/how-to/own-study.md word for word, with a smaller grid: from three files to a report and its figure."""
    from analyses import concepts

    concept = concepts.sentiment(64)
    folder = concept.write(tmp_path / "sentiment")
    (folder / "prompts.txt").write_text("\n".join(concept.prompts[:12]), encoding="utf-8")
    changed = {"--model": ["smollm2"], "--layer": ["12", "20"], "--methods": ["caa"], "--angle": [], "--kl": ["0.1"],
               "--select": ["4"], "--test": ["8"],
               **{f"--{name}": [str(folder / file)] for name, file in
                  (("contrast", "pairs.jsonl"), ("prompts", "prompts.txt"), ("outcome", "words.json"))}}  # fmt: skip
    call, taken = list[str](), False
    for word in documented_calls()[0]:
        taken = word in changed if word.startswith("--") else taken
        call += [word, *changed[word]] if word in changed else [] if taken or word == "--dry-run" else [word]
    monkeypatch.setattr(sys, "argv", ["layer_effectiveness", *call, "--out", str(tmp_path / "layers")])
    assert from_command_line(LayersConfig, layers_main, None) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(("Unsteered succeeds on", "WARNING: Unsteered"))
    for line in ("| unsteered", "| random, geodesic", "| caa"):
        assert printed.out.count(line) >= 2
    assert "5 cells, about" in printed.err
    (directory,) = (tmp_path / "layers").iterdir()
    rows = pd.read_parquet(directory / "table.parquet")
    spent = rows.query("label != 'unsteered'")
    assert spent["reached"].all()
    scores = rows.groupby(["label", "layer"])["score"].mean()
    assert (scores["caa"] > scores["random, geodesic"] + 0.5).all()
    assert (scores["caa"] > scores["unsteered"].iloc[0] + 0.5).all()
    draw_layers(pd.read_parquet(directory / "report" / "layers.parquet")).save(tmp_path)
    assert "unsteered" in (tmp_path / "layers_caption.txt").read_text(encoding="utf-8")


def test_a_judge_of_ones_own_in_a_notebook(files, organism, tmp_path):
    """Objects in the place of names: model, contrast, prompts and a callable; fluency stands beside its score."""
    contrast, prompts = load_contrast(str(files / "pairs.jsonl"), 0, 0), read_prompts(str(files / "prompts.txt"))

    def letters(prompts, texts):
        return np.array([float(len(text)) for text in texts])

    found = layer_study(organism, contrast, prompts, letters, layers=[2], methods=["caa"], angle=[0.3], kl=[0.03],
                        out=tmp_path, cross_fit=True, measures=("geometry",), max_new_tokens=3)  # fmt: skip
    assert found.rows["score"].tolist() == [len(t.removeprefix(p)) for t, p in
                                            zip(found.rows["text"], prompts * 5, strict=True)]  # fmt: skip
    assert {"log_likelihood", "repetition", "empty"} <= set(found.rows)
    plain = found.rows.query("label == 'unsteered'")
    assert plain["success"].mean() <= 0.5 < 1  # held against the median of the unsteered texts
    assert {"probe_auc", "probe_auc_low", "probe_auc_high", "certified"} <= set(found.frame())
    assert (found.frame()["probe_auc_low"].dropna() <= found.frame()["probe_auc"].dropna()).all()
    html = found._repr_html_()
    assert "unsteered" in html
    assert "Fluency, at the same level" in str(found)
    again = layer_study(organism, contrast, prompts, letters, layers=[2], methods=["caa"], angle=[0.3], kl=[0.03],
                        out=tmp_path, cross_fit=True, measures=("geometry",), max_new_tokens=3)  # fmt: skip
    pd.testing.assert_frame_equal(again.rows, found.rows)


def test_a_judge_that_breaks_on_texts_ends_the_study_at_the_first(files, tmp_path):
    calls = []

    def breaks(prompts, texts):
        calls.append(len(texts))
        return [1.0] if len(texts) == 1 else 1 / 0

    with pytest.raises(WillRepeat, match="failed on written texts: division by zero"):
        layer_study("organism", files / "pairs.jsonl", files / "prompts.txt", breaks, layers=[2], methods=["caa"],
                    angle=[0.3], kl=[], out=tmp_path, cross_fit=True, measures=(), max_new_tokens=2)  # fmt: skip
    assert calls.count(9) == 1


def test_methods_without_the_declared_ones_and_one_budget_make_a_report(files, tmp_path):
    """An early version ended in the report, after all cells were done."""
    effect = own(files, select=0, outcome="length", measures=("geometry", "text"))
    config = ComparisonConfig(effect, layer=2, methods=("repe",), angle=(0.2,), displacement=(), kl=(), out=tmp_path)
    report, _ = method_comparison(config)
    assert next(iter(report.for_paper().index)) == "unsteered"
    assert {"repe", "random", "odesteer_kernel, ten Euler steps"} <= set(report.for_paper().index)
    assert report.methods["p_holm"].isna().all()  # nothing to compare with was run
    assert "AUC of h" in report.for_paper()
    assert str(report).startswith(("Unsteered succeeds", "WARNING"))


BAD_ROWS = {
    "no key": ('{"positive": "a", "negative": "b"}\n{"positive": "c"}', "row 2 has no 'negative'"),
    "no JSON": ('{"positive": "a"', "is no JSON"),
    "no text": ('{"positive": "a", "negative": 3}', "row 1 has negative=3, which is no text"),
    "blank": ('{"positive": " ", "negative": "b"}', "row 1 has positive=' '"),
    "no rows": ("", "is no JSON|holds no rows"),
    "no object": ("[1, 2]", "row 1 has no 'positive'"),
}


@pytest.mark.parametrize("kind", BAD_ROWS)
def test_a_contrast_that_is_none_names_its_row(tmp_path, kind):
    content, says = BAD_ROWS[kind]
    (tmp_path / "pairs.jsonl").write_text(content)
    with pytest.raises(ValueError, match=says) as error:
        load_contrast(str(tmp_path / "pairs.jsonl"), 0, 0)
    assert "\n" not in str(error.value)


def test_of_angle_and_kl_what_is_left_out_is_not_asked(tmp_path):
    assert LayersConfig(angle=(0.2,)).budgets == {"angle": (0.2,), "kl": ()}
    assert LayersConfig(kl=(0.2,)).budgets == {"angle": (), "kl": (0.2,)}
    assert LayersConfig().budgets == {"angle": (0.1, 0.2, 0.4), "kl": (0.01, 0.03, 0.1)}
    levels = AuditConfig(tmp_path, angle=(0.2,)).comparison()
    assert (levels.angle, levels.displacement, levels.kl) == ((0.2,), (), ())
    assert AuditConfig(tmp_path).comparison().kl == (0.03, 0.1, 0.3)


WRONG = {
    "layer": ({"layers": (30,)}, {}, "has 0 to 4"), "negative layer": ({"layers": (-6,)}, {}, "layers=.-6. are none"),
    "layer twice": ({"layers": (4, -1)}, {}, "names one twice"),
    "level": ({"kl": (0.0,)}, {}, "positive levels"), "far": ({"angle": (2.0,)}, {}, "above highest"),
    "executor": ({"executor": "procesess:2"}, {}, "is unknown; use local"),
    "model": ({}, {"model": "./smolm2"}, "is no folder"), "deep model": ({}, {"model": "a/b/c"}, "is no folder"),
    "contrast": ({}, {"contrast": "valance"}, "give valence, agreement"),
    "file": ({}, {"contrast": "pears.jsonl"}, "is no file"), "prompts": ({}, {"prompts": "p.txt"}, "is no file"),
    "ending": ({}, {"prompts": "p.doc"}, "must end in .txt"), "outcome": ({}, {"outcome": "wrds.json"}, "is no file"),
    "judge": ({}, {"outcome": "loudness"}, "is unknown; use one of"),
    "split": ({}, {"cross_fit": False}, "267 pairs or"),
    "many": ({}, {"test": 500, "select": 3}, "gives 9 prompts to steer"),
    "none": ({}, {"select": 9}, "leaves none of 9"),
    "threshold": ({}, {"threshold": 0.5}, "says itself what a success is"),
    "no prompts": ({}, {"prompts": ""}, "prompts is missing"),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_wrong_is_refused_without_a_model(files, monkeypatch, kind):
    more, changed, says = WRONG[kind]
    refused(lambda: check(LayersConfig(own(files, **changed), **more)), says, monkeypatch)


@pytest.mark.parametrize(("changed", "says"), [
    ({"passage": "all"}, "passage='all'"), ({"measures": ("texts",)}, "measures='texts'"), ({"test": 0}, "test=0"),
    ({"max_new_tokens": 0}, "max_new_tokens=0"), ({"temperature": -1.0}, "temperature=-1"),
    ({"highest": 0.0}, "highest=0"),
    ({"cross_fit": True}, "leave 'likelihood' out"), ({"threads": 0}, "threads=0"),
])  # fmt: skip
def test_settings_out_of_range_are_refused(changed, says):
    with pytest.raises(ValueError, match=says):
        EffectSettings(**changed)


def test_the_documented_ways_to_steer_are_the_studys_own():
    documented = (PAGES / "study-options.md").read_text(encoding="utf-8").split("## Methods")[1]
    rows = [row.replace("`", "").strip("| ").split(" | ") for row in documented.splitlines() if row.startswith("| `")]
    assert [Arm(label, method, solver, int(steps)) for label, method, solver, steps in rows] == list(LAYER_ARMS)


def test_an_unknown_arm_or_setting_is_refused_by_name(files, tmp_path):
    with pytest.raises(ValueError, match=r"methods=\['CAT'\] are none; choose from 'random, geodesic', caa"):
        layer_effectiveness(LayersConfig(own(files), layers=(1,), arms=("CAT",), out=tmp_path))
    for study in (layer_study, search_layer):
        with (
            pytest.warns(DeprecationWarning, match="arms= is the former name of methods") as told,
            pytest.raises(ValueError, match=r"methods=\['CAT'\] are none"),
        ):
            study(arms=["CAT"], out=tmp_path)
        assert told[0].filename == __file__
    with pytest.raises(ValueError, match=r"arms=\['caa'\] beside methods=.*give methods alone"):
        layer_study(methods=["caa"], arms=["caa"], out=tmp_path)
    with pytest.raises(ValueError, match="layer=1 is no setting of a study"):
        layer_study(layer=1, out=tmp_path)
    with pytest.raises(ValueError, match=r"methods=\['caa', 'caa'\] names one twice"):
        comparison(methods=["caa", "caa"], out=tmp_path)
    assert not list(tmp_path.iterdir())


def test_arms_are_had_by_one_kind_of_name_in_both_studies():
    names = ["pid", "odesteer_kernel", "odesteer_kernel, ten Euler steps"]
    assert [arm.label for arm in chosen_arms(names)] == ["random, geodesic", *names]
    compared = [arm.label for arm in compared_arms(names)]
    assert compared == [*names, "random", "odesteer_kernel, one step", "pid, layers in turn"]
    assert {arm.method for arm in compared_arms(())} == set(ode.METHODS)
    assert chosen_arms(()) == LAYER_ARMS


def test_numbers_of_prompts_of_ones_own_are_a_third_and_the_rest(files):
    plan = Plan.of(own(files))
    assert (plan.settings.select, plan.settings.test, plan.split.count("test")) == (3, 6, 6)
    assert Plan.of(own(files, select=2, test=3)).split == ["select"] * 2 + ["test"] * 3
    assert len(Plan.of(own(files), Given(prompts=["a b", "c d", "e f", "g h"])).prompts) == 4
    assert layers_of("organism") == 5
    assert layers_of("gpt2") is None


def plain(n, successes, label="unsteered", layer=-1):
    return pd.DataFrame({"prompt": range(n), "split": "test", "label": label, "layer": layer, "budget": "kl",
                         "level": 0.1, "success": np.arange(n) < successes})  # fmt: skip


@pytest.mark.parametrize(("successes", "says"), [
    (50, "Unsteered succeeds on 0.500"), (100, "^WARNING: Unsteered .*, the ceiling: only what lowers"),
    (0, "^Unsteered .*, the floor: only what raises"), (97, "ceiling"), (3, "floor"), (90, r"^[^,]*, [^,]*prompts\.$"),
])  # fmt: skip
def test_an_outcome_without_room_is_named_first(successes, says):
    assert re.search(says, headroom(plain(100, successes)))
    both = pd.concat([plain(100, 50), plain(100, 100, "caa", 1), plain(100, 99, "odesteer_kernel", 1)])
    assert "every method is at the ceiling: success does not tell them apart; take other prompts" in headroom(both)
    low = pd.concat([plain(100, 2), plain(100, 1, "caa", 1)])
    assert headroom(low).endswith("every method is at the floor too: success does not tell them apart.")
    assert "every method" not in headroom(pd.concat([both, plain(100, 60, "random, geodesic", 1)]))
    # 5 of 40 are near the floor, and more than none: p = .026; of 3 that is not shown
    told = pd.concat([plain(40, 0), plain(40, 5, "caa", 1)])
    assert headroom(told) == (
        "Unsteered succeeds on 0.000 [0.000, 0.088] of 40 test prompts, the floor: only what raises that can be seen."
    )
    assert "every method is at the floor" in headroom(pd.concat([plain(40, 0), plain(40, 3, "caa", 1)]))


def test_an_end_of_an_interval_that_is_0_has_no_minus():
    assert with_interval(-0.0001, -0.0004, 0.25) == "0.000 [0.000, 0.250]"
    assert with_interval(0.25, -0.0004, 0.5, "+.3f") == "+0.250 [+0.000, +0.500]"
    assert with_interval(-0.25, -0.5, float("inf"), ".2f") == "-0.25 [-0.50, –]"


def test_a_report_names_its_level_and_only_what_was_measured():
    """A change that does not vary has no interval; nothing parses where nothing says so."""
    steered = [plain(10, 6, "caa", layer).assign(level=level) for layer in (1, 3) for level in (0.1, 0.3)]
    table = pd.concat([plain(10, 2).assign(score=0.0), *(cell.assign(score=0.125) for cell in steered)])
    table = pd.concat([table, table.assign(split="select", prompt=table["prompt"] + 10)], ignore_index=True)
    said = str(LayerReport.of(table, "own"))
    assert "Success by layer, at each KL, on the test prompts (" in said
    assert "Success by layer, at angle 0.1 rad, on the test prompts (" in str(
        LayerReport.of(table[table["level"] == 0.1].replace({"budget": "kl"}, "angle"), "own")
    )
    assert "0.125 [–, –]" in said
    assert "inf" not in said
    assert "success, on test" in said
    # what is chosen is said where it is shown, and the score has its interval for the figure
    assert f"chosen on other prompts: {RULE}" in said
    assert {"score_low", "score_high"} <= set(LayerReport.of(table, "own").layers)
    assert "parses" not in said
    assert "success and parses, on test" in str(LayerReport.of(table.assign(parses=True, kl=0.1), "own"))


@pytest.mark.parametrize("levels", [(0.1,), (0.1, 0.3), (0.1, 0.2, 0.3), (0.1, 0.2, 0.3, 0.4)])
def test_each_strength_that_was_asked_has_its_row_in_every_table_by_layer(levels):
    """Up to three; of more, the middle one stands for them, and the title says of which."""
    steered = [plain(10, 4 + k + layer, "caa", layer).assign(level=level, log_likelihood=-1.0 - level)
               for layer in (1, 3) for k, level in enumerate(levels)]  # fmt: skip
    table = pd.concat([plain(10, 2).assign(log_likelihood=-1.0), *steered]).assign(repetition=0.0, empty=0.0)
    table = table.assign(score=table["success"].astype(float))
    report = LayerReport.of(table, "own")
    shown = {title: found for title, found in {**report._by_layer(), **report._further()}.items() if len(found)}
    parts = [found for title, found in shown.items() if title.startswith(("Success by", "Change of", "Fluency, at"))]
    assert len(parts) == 3
    seen = levels if len(levels) < 4 else (0.3,)
    for found in parts:
        assert list(found.index) == ["unsteered", *["caa"] * len(seen)]
        assert ("KL" in found) == (len(seen) > 1)
        if len(seen) > 1:
            assert found["KL"].tolist() == ["–", *map("{:g}".format, seen)]
    (profile, fluency, change) = parts
    successes = [f"{(4 + levels.index(level) + 3) / 10:.3f}" for level in seen]
    assert [cell.split()[0] for cell in profile["layer 3"]] == ["0.200", *successes]
    assert [cell.split()[0] for cell in change["layer 3"][1:]] == [f"{float(x) - 0.2:.3f}" for x in successes]
    assert fluency["layer 1"].tolist() == [-1.0, *[-1.0 - level for level in seen]]
    among = f" (of the levels {', '.join(map(str, levels))})" if len(levels) == 4 else ""
    at = "at each KL" if len(seen) > 1 else f"at KL {seen[0]} nats{among}"
    assert f"Success by layer, {at}, on the test prompts ({OVERLAP})" in shown
    for title in (title for title in shown if title.startswith(("Success by", "Change of", "Fluency"))):
        assert ", on the test prompts" in title  # what was lost is of the others


def chosen_table(lost=0.25, successes=((4, 6), (5, 3)), level=0.3, n=10):
    """Two layers × two levels of one method, on as many select as test prompts, with what its texts lose."""
    cells = []
    for layer, row in ((8, successes[0]), (14, successes[1])):
        for k, good in enumerate(row, start=1):
            likelihood = -1.0 - lost * k - layer / 100
            cells.append(plain(n, good, "caa", layer).assign(level=level * k, log_likelihood=likelihood))
    table = pd.concat([plain(n, 1).assign(log_likelihood=-1.0), *cells]).replace({"budget": "kl"}, "angle")
    table = table.assign(repetition=0.0, empty=0.0, method="caa", solver="euler", steps=1, score=table["success"] * 1.0,
                         strength=lambda rows: rows["level"] * 1.1)  # fmt: skip
    return pd.concat([table.assign(split="select", prompt=table["prompt"] + n), table], ignore_index=True)


def test_the_choice_and_the_next_layer_say_their_strength_and_what_they_lose():
    """On the select prompts, as the median over prompts of what each text loses."""
    found = LayerReport.of(chosen_table(), "own")
    (row,) = found.chosen.to_dict("records")
    assert (row["layer"], row["level"], row["next_layer"], row["next_level"]) == (8, 0.6, 14, 0.3)
    assert (row["lost"], row["next_lost"]) == pytest.approx((0.58, 0.39))
    table = chosen(found.chosen, found.layers)
    shown = table.loc["caa"]
    assert (shown["lost on select"], shown["next on select"]) == ("0.58", "0.500, layer 14 at 0.3, lost 0.39")
    assert table.loc["unsteered", "lost on select"] == "–"
    assert not [name for name in table if "aside" in name]  # nothing better loses more than it may
    table = chosen_table()
    table.loc[(table["prompt"] == 10) & (table["layer"] == 8), "log_likelihood"] = -99.0  # one text is no median
    assert choices(table)["lost"].tolist() == pytest.approx([0.58])
    unwritten = LayerReport.of(table.drop(columns="log_likelihood"), "own")
    assert "lost on select" not in chosen(unwritten.chosen, unwritten.layers)  # nothing was written
    assert (LOST in str(found), LOST in str(unwritten)) == (True, False)


def test_of_equals_the_one_that_loses_least_is_chosen_and_what_is_broken_only_where_all_is():
    """By what texts lose on the select prompts: at layers 8 and 14 .33 and .58, and .39 and .64."""
    even = chosen_table(successes=((5, 5), (5, 5)))
    assert choices(even)[["layer", "level", "tied"]].iloc[0].tolist() == [8, 0.3, 3]
    even.loc[(even["layer"] == 8) & (even["level"] == 0.3), "log_likelihood"] -= 0.3
    assert choices(even)[["layer", "level", "next_layer", "next_level"]].iloc[0].tolist() == [14, 0.3, 8, 0.6]
    broken = chosen_table(successes=((9, 10), (3, 10)), lost=0.9)  # .98, 1.88; 1.04, 1.94
    assert choices(broken)[["layer", "level"]].iloc[0].tolist() == [8, 0.3]
    # what the rule has left out does not count as doing as well: of these one, at .98, loses little enough
    alike = chosen_table(successes=((9, 9), (9, 9)), lost=0.9)
    assert choices(alike)[["layer", "level", "tied"]].iloc[0].tolist() == [8, 0.3, 0]
    found = LayerReport.of(broken, "own")
    (aside,) = chosen(found.chosen, found.layers).loc[["caa"]].filter(like="set aside").to_numpy().ravel()
    assert aside == "1.000, layer 8 at 0.6, lost 1.88"  # of two that do better the one that loses less
    every = chosen_table(successes=((9, 10), (3, 10)), lost=2.0)
    assert choices(every)[["layer", "level", "tied"]].iloc[0].tolist() == [8, 0.6, 1]
    assert choices(every.drop(columns="log_likelihood"))[["layer", "level"]].iloc[0].tolist() == [8, 0.6]


def test_under_the_choice_stands_what_it_does_more_than_unsteered_and_than_the_placebo_at_the_same_cell():
    """Layer 8 at 0.6: 6 of 10 test prompts against 2; four that part, and Holm over four differences."""
    placebo = [plain(10, 2, "random, geodesic", layer).assign(level=level) for layer in (8, 14) for level in (0.3, 0.6)]
    table = pd.concat([chosen_table(), *(cell.replace({"budget": "kl"}, "angle").assign(split="test")
                                         for cell in placebo)], ignore_index=True)  # fmt: skip
    table = pd.concat([table, table.query("label == 'random, geodesic'").assign(
        split="select", prompt=lambda rows: rows["prompt"] + 10)], ignore_index=True)  # fmt: skip
    table["score"] = table["success"].astype(float)
    found = LayerReport.of(table, "own")
    (declared,) = found.contrasts.query("layer == 8 and level == 0.6").to_dict("records")
    above, row = at_chosen(found.held).reset_index().to_dict("records")
    assert (row["method"], row["cell"], row["p"], row["N"]) == ("caa", "layer 8 at 0.6", f"{declared['p']:.3f}", 10)
    assert (row["less"], row["more"]) == (arms.PLACEBO, "not shown")  # p is above .05
    assert (above["less"], above["more"], above["cell"]) == ("unsteered", "yes", row["cell"])
    shown = f"+0.400 [{declared['low']:+.3f}, {declared['high']:+.3f}]"
    assert row["difference"] == shown
    # of four declared differences the least; but other prompts chose the cell, which is one
    assert declared["p_holm"] == pytest.approx(min(1.0, 4 * declared["p"]))
    said = found.found
    assert said.startswith(
        "Found: caa at layer 8 and 0.6 rad, chosen among 4 cells on 10 other prompts, succeeds on 0.600"
    )
    assert ", unsteered on 0.100. " in said
    p = f"p = {declared['p']:.3f} (exact unconditional test of pairs)."
    assert f"; it is not shown to do more than the random direction there: {shown}, {p}" in said
    p = difference_pvalue(*(np.arange(10.0) < k for k in (6, 1)))
    assert above["p"] == f"{p:.3f}" == "0.026"
    assert f" It is shown to do more than the unsteered model: {above['difference']}, p = 0.026; it is not " in said
    assert said.endswith("Its texts lose 0.58 nats a token of likelihood (medians over the prompts).")
    assert said in str(found)
    assert said in found._repr_html_()
    for tied, how in ((1, "1 other did"), (3, "3 others did")):
        told = saying.found(table, choices(table).assign(tied=tied), found.held, "success")
        assert f"on 10 other prompts ({how} as well there), succeeds on 0.600" in told
    parsed = LayerReport.of(table.assign(parses=table["label"] != "unsteered", kl=0.1), "own").found
    assert " succeeds and parses on 0.600" in parsed
    assert ", unsteered on 0.000. It is shown to do more than the unsteered model: +0.600 [" in parsed
    assert "random direction" not in LayerReport.of(chosen_table(), "own").found  # no placebo, nothing to say
    # measured at another cell alone: nothing is said of this one
    elsewhere = found.held.assign(layer=14)
    assert " It " not in saying.found(table, choices(table), elsewhere, "success")


@pytest.mark.parametrize("declared", [1, 6, 24, 400])
def test_a_dry_run_says_how_many_prompts_must_change_for_a_difference_to_be_shown(declared, files, tmp_path):
    """Against Holm's correction of the test's own p value: so many that all change are significant, one fewer are not.
    Of what other prompts choose only the choices count; else two methods against the placebo at two layers are four."""
    least = least_changed(declared, 40)
    for k, significant in ((least, True), (least - 1, False)):
        p = difference_pvalue(np.arange(40) < k, np.zeros(40))
        assert (holm(np.array([p, *[1.0] * (declared - 1)]))[0] < ALPHA) == significant
    asked = LayersConfig(own(files, outcome="length"), layers=(1, 3), arms=("caa", "pca"), angle=(0.2,), kl=(),
                         out=tmp_path)  # fmt: skip
    said = dry_run(replace(asked, arms=("caa",)))[0].splitlines()[-1]
    assert said.startswith("to show more success than by a random direction at the chosen cell, 5 of the 6 test")
    assert said.endswith(" (p below 0.05)")
    for two in (asked, replace(asked, arms=("caa",), kl=(0.1,))):  # methods, and budgets: each has its chosen cell
        assert "\nWARNING: 6 test prompts are too few to show more success" in (said := dry_run(two)[0])
        assert "Holm's correction over 2); ask more" in said
    unchosen = replace(asked, effect=replace(asked.effect, select=0))
    said = dry_run(unchosen)[0]
    assert "to show a difference in success, " in said
    assert said.endswith("(p below 0.05, Holm's correction over 4)")


def test_declared_differences_say_which_are_significant_unless_they_are_many():
    cells = [(layer, level) for layer in (8, 14) for level in (0.3, 0.5)]
    table = pd.DataFrame(cells, columns=["layer", "level"]).assign(
        budget="angle", first="caa", second="random, geodesic", difference=0.5, equivalent=False, n=16,
        p_holm=[0.01, 0.2, 0.03, 0.04])  # fmt: skip
    assert differences(table)["where"].tolist() == ["layer 8 at 0.3; layer 14 at 0.3, 0.5"]
    many = pd.concat([table.assign(layer=table["layer"] + k, p_holm=0.01) for k in (0, 1)])
    assert differences(many)[["significant", "where"]].to_numpy().tolist() == [[8, "–"]]
    assert differences(table.assign(p_holm=1.0))["where"].tolist() == ["–"]


def test_a_choice_of_other_prompts_needs_no_correction_for_what_it_was_chosen_among():
    """Twelve cells in which nothing differs: at the one that others choose p is below .05 in at most 5 % of studies;
    at the best on the same prompts in far more."""
    rng, at_chosen, at_best = np.random.default_rng(0), 0, 0
    studies, n, cells = 2000, 40, 12
    for _ in range(studies):
        select, test, placebo = (rng.random((k, cells)) < 0.4 for k in (n, n, n))
        fair, naive = int(select.mean(0).argmax()), int((test.mean(0) - placebo.mean(0)).argmax())
        p = [difference_pvalue(*(x[:, cell].astype(float) for x in (test, placebo))) for cell in (fair, naive)]
        at_chosen, at_best = at_chosen + (p[0] < 0.05), at_best + (p[1] < 0.05)
    assert at_chosen / studies <= 0.05
    assert at_best / studies > 0.15


def test_texts_to_read_are_those_the_judge_counted_and_both_of_each_test_prompt():
    table = chosen_table()
    table["text"] = [f"{row.label} {row.layer} {row.level}\n{row.prompt}" for row in table.itertuples()]
    test = table.query("split == 'test'")
    plain, chosen = (test.query(query).set_index("prompt") for query in
                     ("label == 'unsteered'", "label == 'caa' and layer == 8 and level == 0.6"))  # fmt: skip

    def judged(cell, prompt):
        return f"{'yes' if cell['success'][prompt] else 'no '}  {cell['text'][prompt]}".replace("\n", "⏎")

    pairs = [f"{judged(plain, prompt)}\n{judged(chosen, prompt)}" for prompt in plain.index]
    (first, counted), (title, *found) = (x.split("\n\n") for x in texts_to_read(table, choices(table)).split("\n\n\n"))
    assert (first, counted) == ("Unsteered texts that succeed: 1 of 10 test prompts.", judged(plain, 0))
    assert title == "caa, layer 8 at 0.6: each test prompt, unsteered above steered."
    assert found == pairs
    none = table.assign(success=table["success"] & (table["label"] != "unsteered"))
    assert texts_to_read(none, choices(table)).startswith(
        "Unsteered texts that succeed: 0 of 10 test prompts.\n\n\ncaa"
    )
    # of several methods each with what was chosen of it, of the placebo nothing
    more = [table.query("label == 'caa'").assign(label=label, text="another") for label in ("odesteer", arms.PLACEBO)]
    two = pd.concat([table, *more], ignore_index=True)
    _, of_caa, of_odesteer = texts_to_read(two, choices(two)).split("\n\n\n")
    assert of_caa.split("\n\n")[1:] == pairs
    assert of_odesteer.count("another") == len(pairs)
    # a score says more than yes and no
    assert "no    0.25  unsteered" in texts_to_read(table.assign(score=0.25), choices(table))
    assert texts_to_read(table.drop(columns="text"), choices(table)) == ""
    assert texts_to_read(table, pd.DataFrame()) == ""


def test_between_methods_the_rule_of_each_decides_and_a_tie_is_said():
    """As much success of two methods: the one whose texts lose less, though it stands second."""
    table = chosen_table(successes=((5, 4), (1, 1)))
    second = table.query("label == 'caa'").assign(label="odesteer", method="odesteer")
    both = pd.concat([table, second.assign(log_likelihood=second["log_likelihood"] + 0.1)], ignore_index=True)
    best = best_choice(choices(both))
    assert (best["label"], best["layer"], best["level"], best["tied"]) == ("odesteer", 8, 0.3, 1)
    found = LayerReport.of(both, "own").found
    assert found.startswith(
        "Found: odesteer at layer 8 and 0.3 rad, chosen among 8 cells on 10 other prompts (1 other did"
    )
    assert best_choice(choices(pd.concat([table, second.assign(score=0.0)])))["label"] == "caa"
    # what loses too much is no equal
    broken = best_choice(choices(pd.concat([table, second.assign(log_likelihood=-9.0)])))
    assert (broken["label"], broken["tied"]) == ("caa", 0)
    assert best_choice(choices(both.drop(columns="log_likelihood")))["tied"] == 1


def test_of_several_methods_it_is_said_whether_one_does_more_than_another():
    rows = pd.DataFrame([("angle", "odesteer_kernel", "caa", 8, -0.35, -0.1, 0.05, 0, "–", 0),
                         ("angle", "caa", "random, geodesic", 8, 0.1, 0.5, 0.9, 8, "–", 0)],
                        columns=["budget", "first", "second", "cells", "least", "median", "most", "significant",
                                 "where", "equivalent"])  # fmt: skip
    methods = ["caa", "odesteer_kernel"]
    said = saying.between(rows, methods)
    assert said.endswith("odesteer_kernel less caa is shown in none of 8 cells, from -0.350 to +0.050.")
    one = saying.between(rows.assign(significant=1, where="layer 8 at 0.3"), methods)
    assert "is shown in 1 of 8 cells (layer 8 at 0.3), from" in one
    assert saying.between(rows, ["caa"]) == ""
    assert "no comparison is declared" in saying.between(rows.iloc[1:], ["caa", "odesteer"])


def test_of_the_other_layers_the_next_is_chosen_by_the_declared_rule():
    """Equals in success: the one with the higher score."""
    table = chosen_table(successes=((9, 3), (5, 5)))
    table.loc[(table["layer"] == 14) & (table["level"] == 0.6), "score"] += 0.5
    assert choices(table)[["next_layer", "next_level"]].iloc[0].tolist() == [14, 0.6]


def test_a_report_says_what_to_ask_next_only_where_nothing_was_raised():
    again = "python -m … --angle 0.3 0.6 0.9 1.2"

    def told(table, again=again):
        return advice(table, choices(table), LayerReport.of(table, "own").held, again)

    def said(**how):
        return told(chosen_table(**how))

    assert said(successes=((10, 10), (9, 9))) == ""
    weak = said(successes=((1, 1), (1, 1)), lost=0.1)
    assert "is shown to raise success above the unsteered model's. At the largest level some layer's texts" in weak
    assert "lose only 0.28" in weak
    assert "looked at a second time then: say so" in weak
    assert weak.endswith("\n    python -m … --angle 0.3 0.6 0.9 1.2")
    assert "lose 0.58 nats a token or more, so no larger ones. Ask other layers" in said(successes=((1, 1), (1, 1)))
    weak = chosen_table(successes=((2, 4), (1, 1)))
    one = weak[weak["label"].eq("unsteered") | (weak["layer"].eq(8) & weak["level"].eq(0.3))]
    assert told(one).endswith("One cell was asked, so this is the answer to it: report it.")
    few = "prompts are few: fix the layer and strength and ask fifty or a hundred new ones"
    assert few in said(successes=((4, 2), (1, 1)))  # the chosen one's lose .33
    worse = said(successes=((2, 4), (1, 1)))
    assert "the unsteered model's. Its texts lose 0.58 nats a token: read them" in worse
    assert "two thirds of the strength of other prompts" in worse
    assert few not in worse
    assert "other layers" in said(successes=((0, 0), (0, 0)))  # fewer than unsteered is no success
    table = chosen_table(successes=((1, 1), (1, 1)))
    texts = table.drop(columns="log_likelihood")
    assert "the unsteered model's. Ask larger levels too" in told(texts)
    assert "Ask other layers" in told(table, "")
    assert said(successes=((1, 1), (1, 1)), n=4) == ""  # of so few nothing is known
    assert advice(table, choices(table), pd.DataFrame(), again) == ""
    placebo = table.replace({"label": {"caa": "random, geodesic"}})
    assert told(placebo) == ""


def test_larger_levels_are_asked_beside_those_that_were_up_to_the_highest_angle():
    assert further({"angle": (0.3, 0.1), "kl": ()}, 1.2) == {"angle": (0.3, 0.1, 0.45, 0.6)}
    assert further({"angle": (0.8,), "kl": (0.1, 0.03)}, 1.2) == {"angle": (0.8, 1.2), "kl": (0.1, 0.03, 0.3, 1.0)}
    assert further({"angle": (1.2,), "kl": ()}, 1.2) == {}


@pytest.mark.parametrize(("rows", "says"), [
    ({}, "layer=8, angle=0.66)"),
    ({"solver": "geodesic", "steps": 10, "method": "odesteer_kernel"}, "layer=8, angle=0.66)"),
    ({"solver": "euler", "steps": 7, "method": "odesteer_kernel"}, "layer=8, angle=0.66, solver='euler', steps=7)"),
    ({"layers": "2+8"}, "ode.compose([\n    ode.fit('caa', model, contrast, layer=2, angle=0.66),\n    ode.fit('caa', "
                        "model, contrast, layer=8, angle=0.66),\n])"),
])  # fmt: skip
def test_what_was_chosen_stands_as_lines_to_paste(files, rows, says):
    table = chosen_table()
    for name, value in rows.items():
        table.loc[table["label"] == "caa", name] = value
    lines = lines_to_paste(table, choices(table), own(files, model="smollm2"))
    compile(lines, "pasted", "exec")
    assert "model = ode.load_model('smollm2')\n" in lines
    assert f"contrast = ode.ContrastSet.from_file({str(files / 'pairs.jsonl')!r})\n" in lines
    assert says in lines
    split = lines_to_paste(
        table, choices(table), own(files, cross_fit=False), Given(contrast=ode.ContrastSet.from_texts(["a"], ["b"]))
    )
    assert "contrast = contrast.split((0.4, 0.3, 0.15, 0.15), 0)[0]\n" in split
    assert lines_to_paste(table, pd.DataFrame(), own(files)) == ""
    assert "# angle is the length of the path; 0.66 turns the median prompt by 0.6 rad\nsteerer = " in lines
    opened = lines_to_paste(table, choices(table), own(files, prompts="openers"))
    assert opened.endswith("(model, ode.OPENERS[:3], temperature=0.7, max_new_tokens=3), sep='\\n')")
    # of two methods the one whose texts hold, though the other's succeed more often
    broken = chosen_table(successes=((10, 10), (10, 10)), lost=2.0).replace({"label": {"caa": "more"}})
    both = pd.concat([choices(broken), choices(chosen_table())], ignore_index=True)
    assert "layer=8, angle=0.66" in lines_to_paste(chosen_table(), both, own(files, model="smollm2"))


def test_the_command_that_is_advised_is_read_as_the_same_study_with_more_levels(files, tmp_path):
    """Every setting that was given comes back from the printed line, paths with spaces and negative layers too."""
    effect = own(files, prompts=str(tmp_path / "my prompts.txt"), measures=("text", "cost"), temperature=0.0, select=3)
    config = LayersConfig(effect, layers=(1, -1), arms=("caa", "random, geodesic"), angle=(0.2,), kl=(), out=tmp_path,
                          rules=Rules(budget=0.2), together=(2,))  # fmt: skip
    words = shlex.split(asking_more(config))
    assert words[:3] == ["python", "-m", "analyses.layer_effectiveness"]
    plans: list[LayersConfig] = []
    assert from_command_line(LayersConfig, plans.append, None, words[3:]) == 0
    assert plans == [replace(config, angle=(0.2, 0.3, 0.4))]
    assert asking_more(config, Given()) == "layer_study(…, angle=[0.2, 0.3, 0.4])"
    assert asking_more(replace(config, angle=(1.2,))) == ""


def test_a_report_leaves_out_what_says_nothing():
    """Scores that are the success, tables of zeros; and layers and levels are written as they are given."""
    table = pd.concat([plain(10, 2), plain(10, 6, "caa", 14)]).assign(score=lambda rows: rows["success"].astype(float))
    table = table.assign(log_likelihood=-2.0, repetition=0.0, empty=0.0)
    both = pd.concat([table, table.assign(split="select", prompt=table["prompt"] + 10)], ignore_index=True)
    said = str(LayerReport.of(both, "own"))
    assert "Score by layer" not in said
    assert "score_low" not in LayerReport.of(both, "own").layers
    assert "Change of the success from unsteered" in said
    assert "; no text repeats a 4-gram; no text is empty\n" in said
    assert "share of" not in said
    assert re.search(r"\| caa +\| kl +\| 14 +\| 0\.1 +\| 0\.600 +\| 0\.00 +\| – +\| 0\.600 \[", said)
    assert "share of empty texts" in str(LayerReport.of(both.assign(empty=0.5), "own"))
