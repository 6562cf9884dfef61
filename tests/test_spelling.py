"""One spelling of every method: no former label is left, and a former one is still understood, with a warning."""

import ast
import json
import re
import warnings
from pathlib import Path

import pandas as pd
import pytest

import odesteer_tl as ode
from analyses.command import from_command_line
from analyses.effects.arms import FIELD_OF, KNOWN, LAYER_ARMS, Arm, chosen_arms, compared_arms
from analyses.effects.comparison import PRIMARY
from analyses.effects.declared import PAIRS
from analyses.evidence import contrasts, plan
from analyses.evidence.found import found
from analyses.evidence.run import runs
from analyses.labels import COLUMNS, current_labels
from analyses.layer_effectiveness import LayersConfig
from analyses.likelihood.arms import ARMS
from analyses.measured.__main__ import read
from analyses.method_comparison import ComparisonConfig
from odesteer_tl import looks
from odesteer_tl._renamed import WAYS, current_way

ROOT = Path(__file__).parents[1]
#: that are no words of English, nor solvers, nor scores
PLAIN = {*WAYS} - {"random direction", "flow", "certified"}
#: where a former label is a paper's name: a method's source, or its questions
OTHER = {"analyses/benchmarks/caa.py", "analyses/concepts/answers.py", "odesteer_tl/methods/caa.py"}
MAPPING = {"odesteer_tl/_renamed.py", "analyses/labels.py", "tests/test_spelling.py"}
CODE = [
    file for folder in ("analyses", "figures", "odesteer_tl", "notebooks", "docs", "tests")
    for file in sorted((ROOT / folder).rglob("*.py")) if str(file.relative_to(ROOT)) not in MAPPING | OTHER
]  # fmt: skip
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "analyses").rglob("*.md"))]


def named(text):
    """Former labels in a literal: alone, or with a layer or strength behind them."""
    return [label for label in PLAIN if text == label or text.startswith(f"{label}, ")]


def test_no_former_label_is_in_code():
    left = {
        (str(file.relative_to(ROOT)), node.lineno, label)
        for file in CODE for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) for label in named(node.value)
    }  # fmt: skip
    assert left == set()


def test_no_former_label_is_in_the_notebooks_code():
    for file in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
        code = "".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
        assert not [label for label in {*WAYS} - {"certified"} if re.search(rf"[\"']{label}[\"']", code)], file.name


def test_no_former_label_is_in_the_pages():
    phrases = "|".join(map(re.escape, PLAIN - {"CAA", "one geodesic step"}))
    for file in PAGES:
        text = file.read_text(encoding="utf-8")
        assert not re.findall(phrases, text), file.name
        told = re.findall(r"--(?:methods|arms)((?: +(?:\\\n *)?(?:\"[^\"]*\"|[^-\s|`]\S*))+)", text)
        assert not [label for label in WAYS for names in told if re.search(rf"(?<![\w.-]){label}(?![\w-])", names)], (
            file
        )
        cells = re.findall(r"^\| ([^|\n]+?) *\|", text, flags=re.MULTILINE)
        # `random direction` names a score of detection, which steers nothing
        left = {label for label in WAYS for cell in cells if cell.replace("`", "").split(", layer")[0] == label}
        assert left <= ({"random direction"} if file.name == "detection.md" else set()), (file.name, left)


def test_no_former_label_is_in_the_kept_tables():
    for file in sorted((ROOT / "analyses" / "measured").glob("*.csv")):
        table = pd.read_csv(file, comment="#", dtype=str, keep_default_na=False)
        pd.testing.assert_frame_equal(current_labels(table), table, obj=file.name)


def test_no_former_label_is_in_the_kept_figures():
    for file in sorted((ROOT / "figures").glob("*_data.csv")):
        table = pd.read_csv(file, dtype=str, keep_default_na=False)
        pd.testing.assert_frame_equal(current_labels(table), table, obj=file.name)
    phrases = "|".join([*map(re.escape, PLAIN), r"\b[Ff]low and", r"; flow\b(?!-)"])  # (flow-plane is a table)
    for file in sorted((ROOT / "figures").glob("*_caption.txt")):
        assert not re.findall(phrases, " ".join(file.read_text(encoding="utf-8").split())), file.name


def test_what_is_compared_has_todays_names():
    labels = {arm.label for arm in (*LAYER_ARMS, *ARMS)}
    assert not labels & {*WAYS}
    declared = {name for pairs in (PAIRS, PRIMARY, contrasts.PAIRS) for pair in pairs for name in pair}
    assert declared | {*plan.ARMS} <= labels
    assert labels <= {*looks.KNOWN, "odesteer_kernel, ten Euler steps"}


def test_an_arm_with_a_methods_name_is_that_method_with_its_own_solver_and_steps():
    for arm in (*LAYER_ARMS, *ARMS):
        if arm.label in ode.METHODS:
            assert arm == Arm.of(arm.label)
        else:
            assert arm.label.startswith(f"{arm.method}, ")
            own = Arm.of(arm.method)
            assert (arm.solver, arm.steps) != (own.solver, own.steps)
    for method, of in FIELD_OF.items():
        assert ode.METHODS[method].fit.__wrapped__ is ode.METHODS[of].fit.__wrapped__


def test_a_former_name_has_one_of_today_with_what_stands_behind_it():
    assert current_way("flow, layers 12+16") == "odesteer_kernel, layers 12+16"
    assert current_way("optimal cap, layer 9, kl 0.3") == "optimal_cap, layer 9, kl 0.3"
    for same in ("learned_flow", "flowing", "caa", "unsteered", "a method of one's own"):
        assert current_way(same) == same
    assert all(current_way(now) == now for now in WAYS.values())
    for former, now in WAYS.items():
        assert looks.look(former) == looks.look(now)


@pytest.mark.parametrize("option", ["--methods", "--arms"])
def test_a_former_name_on_a_command_line_works_with_a_warning(option, capsys):
    seen = []
    args = [option, "CAA", "one geodesic step", "pid", "--kl", "0.1"]
    assert from_command_line(LayersConfig, seen.append, None, args) == 0
    assert seen[0].arms == ("caa", "odesteer_kernel, one step", "pid")
    former = [f"{option!r} is the former name of '--methods'; write that"] if option == "--arms" else []
    assert capsys.readouterr().err.splitlines() == [
        *former,
        "'CAA' is the former name of 'caa'; write that",
        "'one geodesic step' is the former name of 'odesteer_kernel, one step'; write that",
    ]
    assert from_command_line(ComparisonConfig, seen.append, None, ["--methods=flow", "--between", "flow", "caa"]) == 0
    assert (seen[1].methods, seen[1].between) == (("odesteer_kernel",), (("odesteer_kernel", "caa"),))
    assert from_command_line(LayersConfig, seen.append, None, ["--methods", "caa"]) == 0
    assert capsys.readouterr().err.count("former name") == 2


def test_a_former_name_in_a_call_works_with_a_warning():
    with pytest.warns(DeprecationWarning, match="'flow' is the former name of 'odesteer_kernel'; write that"):
        assert [arm.label for arm in chosen_arms(["flow", "pca"])] == ["random, geodesic", "odesteer_kernel", "pca"]
    with pytest.warns(DeprecationWarning, match="'CAA'"), pytest.raises(ValueError, match="names one twice"):
        compared_arms(["caa", "CAA"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert {arm.label for arm in chosen_arms([*KNOWN])} == {*KNOWN}


def test_a_run_kept_with_former_names_of_methods_is_the_same_run(tmp_path, monkeypatch):
    monkeypatch.setattr("analyses.evidence.run.RESULTS", tmp_path)
    run = next(run for run in runs() if run.study == "layers")
    run.out.mkdir(parents=True)
    (run.out / "run.json").touch()
    former = {now: old for old, now in WAYS.items()}
    kept = [former.get(word, word) for word in run.options]
    assert {"CAA", "ODESteer as published", "optimal cap"} <= {*kept}
    (run.out / "options.json").write_text(json.dumps(kept))
    assert run.state == "done"
    (run.out / "options.json").write_text(json.dumps([word for word in kept if word != "CAA"]))
    assert run.state == "other options"


def test_tables_of_earlier_studies_are_read_with_todays_names(tmp_path):
    layers = pd.DataFrame({"label": ["unsteered", "CAA", "flow", "Euler-10", "random direction"], "n": 1,
                           "text": "flow", "verdict": "certified"})  # fmt: skip
    on_sphere = pd.DataFrame({"method": ["random direction", "CAA", "kernel flow", "optimal cap", "on_manifold"]})
    plane = pd.DataFrame({"method": ["Euler", "geodesic", "certified", "one geodesic step", "CAA"]})
    now = ["unsteered", "caa", "odesteer_kernel", "odesteer_kernel, ten Euler steps", "random, geodesic"]
    pd.testing.assert_frame_equal(current_labels(layers), layers.assign(label=now))
    assert current_labels(on_sphere)["method"].tolist() == [
        "random, geodesic", "caa, geodesic", "odesteer_kernel", "optimal_cap", "on_manifold"
    ]  # fmt: skip
    assert current_labels(plane)["method"].tolist() == [
        "odesteer_kernel, ten Euler steps", "odesteer_kernel", "odesteer_certified", "odesteer_kernel, one step",
        "caa, geodesic",
    ]  # fmt: skip
    pairs = pd.DataFrame({"first": ["flow"], "second": ["CAA"], "arm": ["CAA, layer 12, kl 0.3"], "field": ["flow"]})
    assert current_labels(pairs).iloc[0].tolist() == ["odesteer_kernel", "caa", "caa, layer 12, kl 0.3", "flow"]
    assert {*pairs} - {"field"} <= {*COLUMNS}
    layers.to_parquet(tmp_path / "table.parquet")
    assert read(tmp_path / "table.parquet")["label"].tolist() == now
    folder = tmp_path / "smollm2" / "sentiment" / "layers"
    folder.mkdir(parents=True)
    layers.to_parquet(folder / "table.parquet")
    (folder / "run.json").touch()
    (rows,) = found(tmp_path, "layers", "table")
    assert rows["label"].tolist() == now
