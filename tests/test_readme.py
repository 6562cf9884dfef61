"""The README's example runs as written; tables of the documents are those that were measured."""

import ast
import contextlib
import io
import platform
import re
import runpy
import zlib
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.ft2font import __freetype_version__
from PIL import Image

import odesteer_tl as ode
from analyses.demonstration import for_reading
from analyses.measured.__main__ import FOLDER, LARGEST, MeasuredConfig, kept
from analyses.measured.__main__ import main as keep
from figures.kept import KEPT
from figures.kept import TABLES as DRAWN
from figures.paths import draw_paths
from tests.documents import MARK, marked, plain, unmeasured

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "analyses" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
#: FreeType of matplotlib's wheel, zlib of Python, and machine with which the figures of the checkout were drawn
OURS = ("2.14.3", "1.2.13", "x86_64")
TABLES = [(file, *table) for file in DOCUMENTS for table in marked(file)]


def test_the_ten_lines_run_as_written_and_write_what_is_shown(smollm2, monkeypatch):
    """On the real model; the one that tests share is what `load_model` gives here, so that it is loaded once."""
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(code.strip().splitlines()) <= 12
    load = ode.load_model
    monkeypatch.setattr(ode, "load_model", lambda name, **how: smollm2 if name == "smollm2" else load(name, **how))
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, "README.md", "exec"), {})
    written = " ".join(out.getvalue().split())
    (first, second) = re.findall(r"^\| ((?:The letter|When we).*) \|$", README, flags=re.MULTILINE)
    plain, steered = zip(*(row.replace("**", "").split(" | ") for row in (first, second)), strict=True)
    assert " ".join(plain) in written
    # what a steered model writes hangs on rounding: what is shown is compared where the machine agrees with ours
    assert len(written) > len(" ".join(plain)) + 40
    assert " ".join(plain) not in written.replace(" ".join(plain), "", 1)
    for text in steered:
        assert text.split(",")[0].split(".")[0] in written


@pytest.mark.parametrize("page", ["quickstart.md", "how-to/figure.md"])
def test_the_pages_that_a_first_user_follows_run_as_written(page, smollm2, tmp_path, monkeypatch):
    """Their blocks as one script, and the beginning of each line that they show; the model is the tests'."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ode, "load_model", lambda name: smollm2 if name == "smollm2" else pytest.fail(name))
    code, shown = (re.findall(rf"```{kind}\n(.*?)```", text, flags=re.DOTALL) for kind in ("python", "text"))
    if "from_file" in code[0]:  # of what the quickstart writes
        exec(re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "quickstart.md").read_text(), flags=re.DOTALL)[0], {})
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile("\n".join(code), page, "exec"), {})
    for line in "".join(shown).splitlines() if page == "quickstart.md" else ():
        assert line[:30] in out.getvalue()  # what a steered model writes then hangs on rounding
    for file in re.findall(r'(?:savefig|save)\("([\w.]+)"\)', text):
        assert (tmp_path / file).exists()


def test_the_quickstarts_other_blocks_make_pairs_of_a_topic_and_leave_the_steerer_alone():
    """They stand in the place of lines of the script, or beside it."""
    text = (ROOT / "docs" / "quickstart.md").read_text(encoding="utf-8")
    topic, trials = re.findall(r"```py\n(.*?)```", text, flags=re.DOTALL)
    names = {}
    exec(compile(topic, "quickstart.md", "exec"), names)
    contrast = ode.ContrastSet.from_texts(names["good"], names["bad"])
    assert (len(contrast.positive), contrast.paired) == (30, True)
    assigned = {node.id for node in ast.walk(ast.parse(trials)) if isinstance(node, ast.Name)
                and isinstance(node.ctx, ast.Store)}  # fmt: skip
    assert not assigned & {"steerer", "model", "contrast", "good", "bad", "prompts"}


def test_it_is_short_and_says_how_to_install():
    assert 600 <= len(README.split()) <= 900
    first = README[: README.index("## How it works")]
    assert "pip install" in first
    assert "git clone URL && cd odesteer_tl && make install" in first
    assert "When not to use it" in first
    assert first.count("![") == 1


def test_words_of_the_house_are_not_used():
    pages = [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")]
    texts = {file: file.read_text(encoding="utf-8") for file in pages if "generated" not in file.parts}
    for file in (ROOT / "notebooks").glob("*.py"):
        texts[file] = "\n".join(line for line in file.read_text(encoding="utf-8").splitlines() if line.startswith("# "))
    texts |= {file: file.read_text(encoding="utf-8") for file in (ROOT / "figures").glob("*_caption.txt")}
    for file in (ROOT / "figures").glob("*.py"):
        texts[file] = "\n".join(_written(file))
    for file, text in texts.items():
        plain = re.sub(r"```.*?```|`[^`]*`|\]\([^)]*\)", "", text, flags=re.DOTALL)
        found = re.findall(r"\b(?:arms?|rooms?|spine|organisms?|helpers?|issues?)\b", plain)
        assert not found, f"{file.relative_to(ROOT)}: {found}"


def _written(module):
    """Strings of a module that a figure or its caption may show: those with spaces in them, no docstrings."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in said
            and " " in node.value
        ):
            yield re.sub(r"\{.*?\}", "", node.value)


#: pages that define the embedded model's two concepts, or say of them what they are where they are first named
CONCEPTS = re.compile(r"\b(valence|agreement)\b", re.IGNORECASE)
SAID = {"valence": r"\bmood\b|index\.md#words-used", "agreement": r"weather and place|index\.md#words-used"}


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda file: file.stem)
def test_a_page_says_what_valence_and_agreement_are(page):
    text = re.sub(r"```.*?```|`[^`]*`|<!--.*?-->", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for concept in {word.lower() for word in CONCEPTS.findall(text)}:
        assert re.search(SAID[concept], text), f"{page.relative_to(ROOT)} does not say what {concept} is"


DEMO = (ROOT / "docs" / "findings" / "demo.md").read_text()


def test_the_table_is_the_measured_one():
    assert for_reading(kept("demo")) in DEMO


def test_what_is_said_of_the_table_holds():
    table = kept("demo")
    assert set(table["n"]) == {500}
    for _, rows in table.groupby("temperature"):
        caa, kernel = (rows[rows["method"] == name].iloc[0] for name in ("caa", "odesteer_kernel"))
        assert caa["success_low"] <= kernel["success"] <= caa["success_high"]  # "changes as many texts"
        assert kernel["success_low"] <= caa["success"] <= kernel["success_high"]
    assert set(table["layer"].dropna()) == {3}


def test_the_picture_of_the_demo_is_drawn_from_the_numbers_kept(tmp_path):
    paths = kept("demo-paths")
    assert set(paths.query("method != 'ceiling'")["n"]) == {200}
    last = paths[paths["angle"] == paths["angle"].max()].set_index("method")["median"]
    steered = last[["caa", "odesteer", "odesteer_kernel"]]
    assert (steered.idxmin(), steered.idxmax()) == ("caa", "odesteer_kernel")  # "lowest", "highest in h"
    draw_paths(paths).save(tmp_path)
    assert_same_picture(tmp_path / "paths.png", ROOT / "figures" / "demo-paths.png")


def test_the_picture_of_the_real_model_is_drawn_from_its_numbers(tmp_path):
    images = ROOT / "docs" / "images"
    smollm2 = runpy.run_path(str(images / "smollm2.py"))
    table = pd.read_csv(images / "smollm2.csv")
    smollm2["draw"](table, tmp_path / "smollm2.png")
    assert_same_picture(tmp_path / "smollm2.png", images / "smollm2.png")
    kernel = table[table["method"] == "odesteer_kernel"].set_index("angle")
    assert kernel["h"].idxmax() != kernel["sentiment"].idxmax()  # "more h is not more sentiment"
    assert (table["h"] <= table["bound"] + 1e-9).all()


def assert_same_picture(found, shown):
    """But for pixels of letters, which other versions of libraries draw otherwise."""
    drawn, kept_one = (np.asarray(Image.open(file).convert("L"), dtype=float) for file in (found, shown))
    assert drawn.shape == kept_one.shape
    assert np.abs(drawn - kept_one).mean() < 1  # of 255


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "findings").glob("*.md")), ids=lambda file: file.stem)
def test_a_finding_says_what_it_does_not_show_and_its_command(page):
    text = page.read_text()
    if page.stem == "index":
        assert set(re.findall(r"^([\w-]+)$", text, flags=re.MULTILINE)) >= {
            file.stem for file in page.parent.glob("*.md")
        } - {"index"}
        return
    assert text.startswith("# ")
    assert "?" in text.splitlines()[0]
    assert "**What it does not show.**" in text
    assert re.search(r"\*\*Commands?\.\*\*.*`(?:make|python -m)", text, flags=re.DOTALL)


@pytest.mark.parametrize(("file", "name", "cells"), TABLES, ids=[f"{f.parent.name}/{f.name}-{n}" for f, n, _ in TABLES])
def test_tables_are_what_was_measured(file, name, cells):
    assert unmeasured(cells, kept(name)) == []


def test_the_changelog_says_what_importing_was_measured_to_cost():
    seconds = kept("imports").set_index("statement")["seconds"].map("{:.2f} s".format)
    text = (ROOT / "CHANGELOG.md").read_text()
    assert f"({seconds['import odesteer_tl']} against {seconds['import transformer_lens']}" in text
    assert f"bridge included, {seconds['every public name of odesteer_tl']};" in text


def test_every_mark_is_above_a_table_and_every_kept_table_is_used():
    text = "".join(file.read_text() for file in DOCUMENTS)
    assert text.count("<!-- measured: ") == len(MARK.findall(text)) + text.count("<!-- measured: NAME -->")
    drawn = {name for names in DRAWN.values() for name in names}
    assert {name for _, name, _ in TABLES} | drawn == {file.stem for file in FOLDER.glob("*.csv")} - {
        "demo",
        "demo-paths",
    }


@pytest.mark.filterwarnings("error::figures.drawing.IllegibleWarning")
@pytest.mark.parametrize("name", KEPT)
def test_a_figure_of_the_findings_is_drawn_from_the_tables_that_are_kept(name, tmp_path):
    KEPT[name](tmp_path)
    drawn = sorted(tmp_path.iterdir())
    assert [file.name for file in drawn] == [f"{name}{end}" for end in (".pdf", ".png", "_caption.txt", "_data.csv")]
    for file in drawn:
        if file.suffix in (".txt", ".csv") or draws_as_ours():
            assert file.read_bytes() == (ROOT / "figures" / file.name).read_bytes(), file.name
    assert_same_picture(tmp_path / f"{name}.png", ROOT / "figures" / f"{name}.png")


def draws_as_ours() -> bool:
    """Whether what draws and packs a figure here is what drew those of the checkout, so that bytes are the same."""
    pins = dict(re.findall(r"^([\w-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), flags=re.MULTILINE))
    packages = all(version(name) == pins[name] for name in ("contourpy", "fonttools", "matplotlib", "numpy", "pillow"))
    return packages and (__freetype_version__, zlib.ZLIB_RUNTIME_VERSION, platform.machine()) == OURS


def test_a_number_that_was_not_measured_is_found():
    rows = pd.DataFrame({"value": [0.5125, 0.7], "low": [0.48, 0.6], "high": [0.55, 0.8], "n": [200, 200]})
    cells = ["0.512 [0.48, 0.55]", "**0.70**", "\N{MINUS SIGN}0.7", "0.512 [0.48, 0.80]", ".7 of 200, a = 0.9",
             "layer-2, 95 % d4"]  # fmt: skip
    # 0.5125 is 0.512 and 0.513 to three digits; an interval's three numbers stand in one row
    assert unmeasured([plain(cell) for cell in cells], rows) == ["-0.7", "0.512 [0.48, 0.80]", "0.9"]
    assert unmeasured(["0.513"], rows) == []
    rows["text"] = ["it cost 12 dollars", "so - so"]
    said = ["“it cost 12 dollars”", "“so \N{MINUS SIGN} so”", "“it cost 13 dollars”", "“so”"]
    assert unmeasured([plain(cell) for cell in said], rows) == said[2:]


def test_a_table_is_kept_with_its_commit(tmp_path, monkeypatch):
    monkeypatch.setattr("analyses.measured.__main__.FOLDER", tmp_path)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        pd.DataFrame({"x": [1, 2], "y": 1 / 3}).to_parquet(tmp_path / name / "t.parquet")
    (tmp_path / "a" / "run.json").write_text(f'{{"commit": "{"0123456789" * 4}+changes"}}')
    keep(MeasuredConfig("t", (tmp_path / "a" / "t.parquet", tmp_path / "b" / "t.parquet"), "x > 1", ("table", "y")))
    lines = (tmp_path / "t.csv").read_text().splitlines()
    assert lines[0].endswith("a/t.parquet: commit 012345678901+changes")
    assert lines[1].endswith("commit not recorded")
    assert lines[2:] == ["table,y", "a,0.333333", "b,0.333333"]
    assert kept("t")["y"].tolist() == [0.333333] * 2
    with pytest.raises(ValueError, match="stand at different depths"):
        keep(MeasuredConfig("t", (tmp_path / "a" / "t.parquet", tmp_path / "t.parquet")))
    pd.DataFrame({"x": range(LARGEST)}).to_csv(tmp_path / "large.csv")
    with pytest.raises(ValueError, match=f"over {LARGEST}; narrow them"):
        keep(MeasuredConfig("large", (tmp_path / "large.csv",)))


def test_the_commands_and_files_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"(?:`|^|&& )make ([\w-]+)", README, flags=re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
    for file in [ROOT / "README.md", ROOT / "analyses" / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\((?!http)([^)#\s]+)\)", file.read_text()):
            # pages made at each build link to each other; a page of a clone links to what is in the clone
            assert "generated" in file.parts or (file.parent / link).exists(), f"{file.relative_to(ROOT)}: {link}"


def test_the_number_of_methods_named_is_that_of_the_registry():
    named = re.findall(r"some (\d+) methods", README + (ROOT / "docs" / "neighbours.md").read_text())
    assert len(named) == 3
    assert all(abs(len(ode.METHODS) - int(number)) <= 5 for number in named)
