"""A study of one's own: what is refused before a model is loaded, and from files to a finished report, small."""

import json
import re
import shlex
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import odesteer_tl as ode
from analyses.command import from_command_line
from analyses.effects import EffectSettings, Given, Plan
from analyses.effects.arms import LAYER_ARMS, Arm, chosen_arms, compared_arms
from analyses.effects.report import LayerReport
from analyses.effects.tables import RULE, room
from analyses.layer_effectiveness import LayersConfig, check, dry_run, layer_effectiveness, layers_study
from analyses.layer_effectiveness import main as layers_main
from analyses.method_comparison import ComparisonConfig, method_comparison
from analyses.models import layers_of
from analyses.sources import load_contrast, read_prompts
from analyses.studies import comparison, layer_study
from analyses.sweep import WillRepeat
from figures.layers import draw_layers
from tests.studies import write_pairs

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
    config = LayersConfig(own(files), layers=(1, 3), arms=("CAA",), angle=(0.2,), kl=(), out=tmp_path)
    assert "5 cells, about" in dry_run(config)[0]
    assert layers_main(replace(config, dry_run=True)) == 0
    assert "nothing is written; it would go to " in capsys.readouterr().out
    assert not list(tmp_path.iterdir())  # a dry run writes nothing
    assert layers_main(config) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(("Unsteered succeeds on", "WARNING: Unsteered"))
    assert "| unsteered" in printed.out
    assert "| random direction" in printed.out
    # of the study's own pairs none was run, and each way is held against the placebo
    assert "| angle    | CAA     | random direction |" in printed.out
    assert "5 cells, about" in printed.err
    assert "tokens a second measured" in printed.err
    assert "peak memory" in printed.err
    (directory,) = tmp_path.iterdir()
    rows = pd.read_parquet(directory / "table.parquet")
    assert "text" not in rows  # nothing was written: completions were asked for
    assert rows.groupby("label")["prompt"].count().to_dict() == {"unsteered": 9, "CAA": 18, "random direction": 18}
    assert rows["split"].value_counts().to_dict() == {"test": 30, "select": 15}
    before = {path: path.stat().st_mtime_ns for path in (directory / "cells").iterdir()}
    more = LayersConfig(own(files), layers=(1, 3), arms=("CAA", "flow"), angle=(0.2,), kl=(), out=tmp_path)
    assert "2 cells of 7" in dry_run(more)[0]
    report, same = layer_effectiveness(more)
    assert same == directory
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert set(report.layers["method"]) == {"unsteered", "random direction", "CAA", "flow"}
    assert dry_run(more)[0] == "nothing is left to be done"


PAGES = Path(__file__).parents[1] / "docs" / "how-to"
PAGE = (PAGES / "own-study.md").read_text(encoding="utf-8")


def documented_call(number: int = 0) -> list[str]:
    """The arguments of the documented dry run, or of a later study."""
    block = [part for part in PAGE.split("```bash\n")[1:] if "analyses.layer_effectiveness" in part][number]
    words = shlex.split(block.split("```")[0].replace("\\\n", " "))
    return words[words.index("analyses.layer_effectiveness") + 1 :]


def test_the_documented_files_make_the_study_whose_cells_the_page_counts(tmp_path, monkeypatch):
    """The page's two scripts, word for word; its command takes what they write, without a model being loaded."""
    material, judge, words = (part.split("```")[0] for part in PAGE.split("```python\n")[1:4])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ode, "load_model", lambda *_: pytest.fail("a model was loaded"))
    exec(compile(material, "material.py", "exec"), {})
    (tmp_path / "judge.py").write_text(judge)
    plans: list[LayersConfig] = []
    assert from_command_line(LayersConfig, plans.append, None, documented_call()) == 0
    study, layers = layers_study(plans[0])
    assert f"{len(study.cells)} cells, about" in PAGE
    assert layers == plans[0].layers
    exec(compile(words, "words.py", "exec"), {})
    assert from_command_line(LayersConfig, plans.append, None, documented_call(1)) == 0
    study, _ = layers_study(plans[1])
    assert len(study.cells) == 3 * 3 * 2 + 1  # "three layers and three angles", with the placebo
    assert f"\nLayer and level chosen on other prompts: {RULE}\n" in PAGE
    for name, lines in (("pairs.jsonl", "30"), ("prompts.txt", "24")):
        assert str(len((tmp_path / name).read_text().splitlines())) == lines
        assert re.search(rf"`{name}`.*\n?.* here {lines}\.", PAGE)
    assert len(re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL).split()) <= 900


def test_the_documented_command_on_a_real_model(smollm2, tmp_path, monkeypatch, capsys):
    """docs/how-to/own-study.md word for word, with a smaller grid: from three files to a report and its figure."""
    from analyses import concepts

    concept = concepts.sentiment(64)
    folder = concept.write(tmp_path / "sentiment")
    (folder / "prompts.txt").write_text("\n".join(concept.prompts[:12]), encoding="utf-8")
    changed = {"--model": ["smollm2"], "--layer": ["12", "20"], "--methods": ["caa"], "--angle": [], "--kl": ["0.1"],
               **{f"--{name}": [str(folder / file)] for name, file in
                  (("contrast", "pairs.jsonl"), ("prompts", "prompts.txt"), ("outcome", "words.json"))}}  # fmt: skip
    call, taken = list[str](), False
    for word in documented_call():
        taken = word in changed if word.startswith("--") else taken
        call += [word, *changed[word]] if word in changed else [] if taken or word == "--dry-run" else [word]
    monkeypatch.setattr(sys, "argv", ["layer_effectiveness", *call, "--out", str(tmp_path / "layers")])
    assert from_command_line(LayersConfig, layers_main, None) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(("Unsteered succeeds on", "WARNING: Unsteered"))
    for line in ("| unsteered", "| random direction", "| caa"):
        assert printed.out.count(line) >= 2
    assert "5 cells, about" in printed.err
    (directory,) = (tmp_path / "layers").iterdir()
    rows = pd.read_parquet(directory / "table.parquet")
    spent = rows.query("label != 'unsteered'")
    assert spent["reached"].all()
    scores = rows.groupby(["label", "layer"])["score"].mean()
    assert (scores["caa"] > scores["random direction"] + 0.5).all()
    assert (scores["caa"] > scores["unsteered"].iloc[0] + 0.5).all()
    draw_layers(pd.read_parquet(directory / "report" / "layers.parquet"), tmp_path)
    assert "unsteered" in (tmp_path / "layers_caption.txt").read_text(encoding="utf-8")


def test_a_judge_of_ones_own_in_a_notebook(files, organism, tmp_path):
    """Objects in the place of names: model, contrast, prompts and a callable; fluency stands beside its score."""
    contrast, prompts = load_contrast(str(files / "pairs.jsonl"), 0, 0), read_prompts(str(files / "prompts.txt"))

    def letters(prompts, texts):
        return np.array([float(len(text)) for text in texts])

    found = layer_study(organism, contrast, prompts, letters, layers=[2], arms=["CAA"], angle=[0.3], kl=[0.03],
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
    again = layer_study(organism, contrast, prompts, letters, layers=[2], arms=["CAA"], angle=[0.3], kl=[0.03],
                        out=tmp_path, cross_fit=True, measures=("geometry",), max_new_tokens=3)  # fmt: skip
    pd.testing.assert_frame_equal(again.rows, found.rows)


def test_a_judge_that_breaks_on_texts_ends_the_study_at_the_first(files, tmp_path):
    calls = []

    def breaks(prompts, texts):
        calls.append(len(texts))
        return [1.0] if len(texts) == 1 else 1 / 0

    with pytest.raises(WillRepeat, match="failed on written texts: division by zero"):
        layer_study("organism", files / "pairs.jsonl", files / "prompts.txt", breaks, layers=[2], arms=["CAA"],
                    angle=[0.3], kl=[], out=tmp_path, cross_fit=True, measures=(), max_new_tokens=2)  # fmt: skip
    assert calls.count(9) == 1


def test_methods_without_the_declared_ones_and_one_budget_make_a_report(files, tmp_path):
    """An early version ended in the report, after all cells were done."""
    effect = own(files, select=0, outcome="length", measures=("geometry", "text"))
    config = ComparisonConfig(effect, layer=2, methods=("repe",), angle=(0.2,), displacement=(), kl=(), out=tmp_path)
    report, _ = method_comparison(config)
    assert next(iter(report.for_paper().index)) == "unsteered"
    assert {"repe", "random", "Euler-10"} <= set(report.for_paper().index)
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


WRONG = {
    "layer": ({"layers": (30,)}, {}, "has 0 to 4"), "negative layer": ({"layers": (-6,)}, {}, "layers=.-6. are none"),
    "layer twice": ({"layers": (4, -1)}, {}, "names one twice"), "no level": ({"angle": (), "kl": ()}, {}, "no level"),
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
    monkeypatch.setattr(ode, "load_model", lambda *_: pytest.fail("a model was loaded"))
    start = time.process_time()
    with pytest.raises(ValueError, match=says) as error:
        check(LayersConfig(own(files, **changed), **more))
    assert time.process_time() - start < 5
    assert "\n" not in str(error.value)


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
    with pytest.raises(ValueError, match=r"methods=\['CAT'\] are none; choose from random direction, CAA"):
        layer_effectiveness(LayersConfig(own(files), layers=(1,), arms=("CAT",), out=tmp_path))
    with pytest.raises(ValueError, match="two names of one setting; give methods alone"):
        layer_study(methods=["caa"], arms=["CAA"], out=tmp_path)
    with pytest.raises(ValueError, match="layer=1 is no setting of a study"):
        layer_study(layer=1, out=tmp_path)
    with pytest.raises(ValueError, match=r"methods=\['caa', 'caa'\] names one twice"):
        comparison(methods=["caa", "caa"], out=tmp_path)
    assert not list(tmp_path.iterdir())


def test_arms_are_had_by_one_kind_of_name_in_both_studies():
    names = ["pid", "flow", "Euler-10"]
    assert [arm.label for arm in chosen_arms(names)] == ["random direction", *names]
    compared = [arm.label for arm in compared_arms(names)]
    assert compared == [*names, "random", "one geodesic step", "pid, layers in turn"]
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
    assert re.search(says, room(plain(100, successes)))
    both = pd.concat([plain(100, 50), plain(100, 100, "CAA", 1), plain(100, 99, "flow", 1)])
    assert "every method is at the ceiling" in room(both)
    assert "every method" not in room(pd.concat([both, plain(100, 60, "random direction", 1)]))


def test_a_report_names_its_level_and_only_what_was_measured():
    """Of two levels the upper; a change that does not vary has no interval; nothing parses where nothing says so."""
    steered = [plain(10, 6, "CAA", layer).assign(level=level) for layer in (1, 3) for level in (0.1, 0.3)]
    table = pd.concat([plain(10, 2).assign(score=0.0), *(cell.assign(score=0.125) for cell in steered)])
    table = pd.concat([table, table.assign(split="select", prompt=table["prompt"] + 10)], ignore_index=True)
    said = str(LayerReport.of(table, "own"))
    assert "Success by layer, at KL 0.3 nats (of the levels 0.1, 0.3)" in said
    assert "Success by layer, at angle 0.1 rad\n" in str(
        LayerReport.of(table[table["level"] == 0.1].replace({"budget": "kl"}, "angle"), "own")
    )
    assert "0.125 [–, –]" in said
    assert "inf" not in said
    assert "success, on test" in said
    # what is chosen is said where it is shown, and the score has its interval for the figure
    assert "chosen on other prompts: the most success there; of equals the highest mean score, then the lowest" in said
    assert {"score_low", "score_high"} <= set(LayerReport.of(table, "own").layers)
    assert "parses" not in said
    assert "success and parses, on test" in str(LayerReport.of(table.assign(parses=True, kl=0.1), "own"))


def test_a_report_leaves_out_what_says_nothing():
    """Scores that are the success, tables of zeros; and layers and levels are written as they are given."""
    table = pd.concat([plain(10, 2), plain(10, 6, "CAA", 14)]).assign(score=lambda rows: rows["success"].astype(float))
    table = table.assign(log_likelihood=-2.0, repetition=0.0, empty=0.0)
    both = pd.concat([table, table.assign(split="select", prompt=table["prompt"] + 10)], ignore_index=True)
    said = str(LayerReport.of(both, "own"))
    assert "Score by layer" not in said
    assert "score_low" not in LayerReport.of(both, "own").layers
    assert "Change of the success from unsteered" in said
    assert "; no text repeats a 4-gram; no text is empty\n" in said
    assert "share of" not in said
    assert re.search(r"\| CAA +\| kl +\| 14 +\| 0\.1 +\| 0\.600 +\| – +\| 0\.600 \[", said)
    assert "share of empty texts" in str(LayerReport.of(both.assign(empty=0.5), "own"))
