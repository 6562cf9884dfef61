"""The command lines: all listed, quick to explain themselves, one spelling, and refusals in one line."""

import json
import re
import runpy
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from analyses.__main__ import COMMANDS, as_markdown, listed
from analyses.command import from_command_line

ROOT = Path(__file__).parents[1]
ALL = [command for commands in COMMANDS.values() for command in commands]
#: what makes an interpreter start slowly
SLOW = ("torch", "transformer_lens", "transformers", "sklearn", "scipy", "matplotlib.pyplot")
#: processor seconds for the help of all commands together, one interpreter: one page alone has 1.5 to itself
BOUND = 4.0
HELP = f"""
import contextlib, io, json, os, re, runpy, sys, time, warnings
os.environ["COLUMNS"] = "100"  # one column of options
warnings.simplefilter("ignore", RuntimeWarning)  # of modules that are imported already
from analyses.__main__ import COMMANDS
pages = {{}}
def ask(name, *sub):
    out, sys.argv = io.StringIO(), [name, *sub, "--help"]
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    pages[" ".join((name, *sub))] = [out.getvalue(), [m for m in {SLOW} if m in sys.modules]]
    return re.search(r"-h[]]\\s+[{{]([a-z,-]+)[}}]", out.getvalue())
names = [command.name for commands in COMMANDS.values() for command in commands]
below = {{name: found[1].split(",") for name in names if (found := ask(name))}}
seconds = time.process_time()  # of the pages of all commands
for name, subcommands in below.items():
    for subcommand in subcommands:
        ask(name, subcommand)
print(json.dumps({{"pages": pages, "seconds": seconds}}))
"""
#: names that users do not know, and what is said nowhere else
JARGON = re.compile(r"\b(arms?|organisms?|rooms?|house|spine|rounds?)\b", re.IGNORECASE)


@pytest.fixture(scope="module")
def helped():
    done = subprocess.run([sys.executable, "-c", HELP], cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_every_command_is_listed():
    guarded = {
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__")
        for folder in ("analyses", "figures") for file in (ROOT / folder).rglob("*.py")
        if '\nif __name__ == "__main__":' in file.read_text()
    }  # fmt: skip
    assert {command.name for command in ALL} == guarded - {"analyses"}
    for command in ALL:
        assert command.name in listed()


def test_the_readme_is_that_list():
    assert as_markdown().strip() in (ROOT / "analyses" / "README.md").read_text()


def test_help_needs_nothing_that_is_slow_to_import(helped):
    assert {name: slow for name, (_, slow) in helped["pages"].items() if slow} == {}
    assert helped["seconds"] < BOUND


def test_every_option_has_help_and_one_spelling(helped):
    for name, (page, _) in helped["pages"].items():
        text = re.sub(r"[│╭╰─╮╯]", " ", page)
        for entry in re.split(r"\n\s+(?=--[a-z])", text)[1:]:
            option, _, said = re.sub(r"\s{2,}", "\n", entry.strip(), count=1).partition("\n")
            assert said, f"{name} {option}"
            assert not said.startswith(("(default", "(required", "(optional")), f"{name} {option}"
        former = {"--layers", "--angles", "--strengths", "--declared", "--arms", "--validation-prompts",
                  "--test-prompts", "--new-tokens"}  # fmt: skip
        spelled = set(re.findall(r"^\s*[│|]?\s*(--[\w.-]+)", page, re.MULTILINE))
        assert not spelled & (former - ({"--strengths"} if "benchmarks" in name else set())), name


def test_subcommands_have_help_of_their_own(helped):
    below = {name for name in helped["pages"] if " " in name}
    assert {"analyses.concepts sycophancy", "analyses.benchmarks caa", "analyses.sweep report"} <= below
    assert len(below) == 9 + 6 + 2


def test_help_has_no_words_of_the_workshop(helped):
    for name, (page, _) in helped["pages"].items():
        prose = re.sub(r"usage:.*?\n\s*\n", "", page, flags=re.DOTALL)  # names of options and files may have them
        prose = re.sub(r"`[^`]*`|--[\w.-]+|\(default: [^)]*\)|\"organism\"|\S*/\S*", "", prose)
        assert not JARGON.findall(prose), name
        for word in set(re.findall(r'"(valence|agreement)"', prose)):
            assert {"valence": "glad", "agreement": "weather"}[word] in prose, f"{name} does not say what {word} is"


@pytest.mark.parametrize(
    ("command", "arguments", "words"),
    [
        ("agreement", ["--out", "{here}"], "out="),
        ("flow_plane", ["--contrast", "nothing.csv", "--out", "{new}"], "contrast='nothing.csv' is no file"),
        ("measured", ["x", "{new}/absent.parquet"], "absent.parquet"),
        ("layer_effectiveness", ["--contrast", "nothing.csv", "--out", "{new}"], "contrast='nothing.csv' is no file"),
    ],
)
def test_a_refusal_is_one_line(command, arguments, words, tmp_path, monkeypatch, capsys):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "run.json").write_text("{}")
    filled = [a.format(here=tmp_path / "here", new=tmp_path / "new") for a in arguments]
    monkeypatch.setattr(sys, "argv", [command, *filled])
    with pytest.raises(SystemExit) as left:
        runpy.run_module(f"analyses.{command}", run_name="__main__", alter_sys=True)
    assert left.value.code == 2
    said = capsys.readouterr().err
    (line,) = [x for x in said.splitlines() if words in x]
    assert said.rstrip().splitlines()[-1] == line


def test_a_fault_keeps_its_traceback():
    @dataclass
    class Settings:
        """Nothing."""

    with pytest.raises(json.JSONDecodeError):
        from_command_line(Settings, lambda config: json.loads("["), None, [])


def test_an_unknown_method_or_arm_or_too_few_pairs_are_refused_at_once():
    """By all three studies that take one, in a process of their own: one line each, before a model's library is there.

    The bound is one of processor time, torch and scikit-learn included.
    """
    code = """
import sys, time
from analyses import barrier_certification, layer_effectiveness, method_comparison
from analyses.command import from_command_line
for study, config, option in ((layer_effectiveness, layer_effectiveness.LayersConfig, "--arms"),
                              (method_comparison, method_comparison.ComparisonConfig, "--methods"),
                              (barrier_certification, barrier_certification.CertificationConfig, "--method")):
    assert from_command_line(config, study.main, None, [option, "caat"]) == 2
assert from_command_line(layer_effectiveness.LayersConfig, layer_effectiveness.main, None, ["--pairs", "60"]) == 2
assert "transformer_lens" not in sys.modules
print(time.process_time())
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    arms, methods, method, pairs = done.stderr.splitlines()
    for line in (arms, methods):
        assert line.startswith("methods=['caat'] are none; choose from random direction, CAA, ")
    assert method.startswith("method='caat' is unknown; choose one of ")
    assert "cross-fit" in pairs
    assert float(done.stdout) < 5, done.stdout


def test_what_settings_refuse_is_one_line_and_what_the_command_line_is_not_stays_as_it_was(capsys):
    from analyses.layer_effectiveness import LayersConfig

    assert from_command_line(LayersConfig, lambda _: pytest.fail("ran"), None, ["--measures", "texts"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("measures='texts'")
    with pytest.raises(SystemExit):
        from_command_line(LayersConfig, lambda _: pytest.fail("ran"), None, ["--seed", "one"])
    assert "invalid" in capsys.readouterr().err
