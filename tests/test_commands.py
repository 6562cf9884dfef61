"""The command lines: all listed, quick to explain themselves, one spelling, and refusals in one line."""

import json
import re
import runpy
import subprocess
import sys
from dataclasses import dataclass, is_dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import get_args, get_origin, get_type_hints

import pandas as pd
import pytest

from analyses.__main__ import COMMANDS, as_markdown, listed
from analyses.command import UNPREFIXED, from_command_line

ROOT = Path(__file__).parents[1]
ALL = [command for commands in COMMANDS.values() for command in commands]
#: what makes an interpreter start slowly
SLOW = ("torch", "transformer_lens", "transformers", "sklearn", "scipy", "matplotlib.pyplot")
#: processor seconds for the help of one command, what its interpreter imports included
BOUND = 1.5
#: every page is made in a process of its own, forked off once what all commands need is imported
HELP = f"""
import contextlib, io, json, os, re, runpy, sys, time, warnings
os.environ["COLUMNS"] = "100"  # one column of options
warnings.simplefilter("ignore", RuntimeWarning)  # of modules that are imported already
from analyses.__main__ import COMMANDS
import analyses.command
pages, before = {{}}, time.process_time()
def ask(name, *sub):
    end, start = os.pipe()
    child = os.fork()
    if not child:
        out, sys.argv = io.StringIO(), [name, *sub, "--help"]
        with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
            runpy.run_module(name, run_name="__main__", alter_sys=True)
        with open(start, "w") as told:
            json.dump([out.getvalue(), [m for m in {SLOW} if m in sys.modules]], told)
        os._exit(0)
    os.close(start)
    with open(end) as told:
        page, slow = json.load(told)
    used = os.wait4(child, 0)[2]
    pages[" ".join((name, *sub))] = [page, slow, before + used.ru_utime + used.ru_stime]
    return re.search(r"-h[]]\\s+[{{]([a-z,-]+)[}}]", page)
names = [command.name for commands in COMMANDS.values() for command in commands]
below = {{name: found[1].split(",") for name in names if (found := ask(name))}}
for name, subcommands in below.items():
    for subcommand in subcommands:
        ask(name, subcommand)
print(json.dumps(pages))
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
    assert {name: slow for name, (_, slow, _) in helped.items() if slow} == {}


def test_no_page_of_help_takes_long(helped):
    assert {name: seconds for name, (_, _, seconds) in helped.items() if seconds > BOUND} == {}


def test_every_option_has_help_and_one_spelling(helped):
    for name, (page, *_) in helped.items():
        text = re.sub(r"[│╭╰─╮╯]", " ", page)
        for entry in re.split(r"\n\s+(?=--[a-z])", text)[1:]:
            option, _, said = re.sub(r"\s{2,}", "\n", entry.strip(), count=1).partition("\n")
            assert said, f"{name} {option}"
            assert not said.startswith(("(default", "(required", "(optional")), f"{name} {option}"
        former = {"--layers", "--angles", "--strengths", "--declared", "--arms", "--validation-prompts",
                  "--test-prompts", "--new-tokens", "--contrasts"}  # fmt: skip
        spelled = set(re.findall(r"^\s*[│|]?\s*(--[\w.-]+)", page, re.MULTILINE))
        assert not spelled & (former - ({"--strengths"} if "benchmarks" in name else set())), name


def test_subcommands_have_help_of_their_own(helped):
    below = {name for name in helped if " " in name}
    assert {"analyses.concepts sycophancy", "analyses.benchmarks caa", "analyses.sweep report"} <= below
    assert len(below) == 9 + 6 + 2


def test_help_has_no_words_of_the_workshop(helped):
    for name, (page, *_) in helped.items():
        prose = re.sub(r"usage:.*?\n\s*\n", "", page, flags=re.DOTALL)  # names of options and files may have them
        prose = re.sub(r"`[^`]*`|--[\w.-]+|\(default: [^)]*\)|\"organism\"|\S*/\S*", "", prose)
        assert not JARGON.findall(prose), name
        for word in set(re.findall(r'"(valence|agreement)"', prose)):
            assert {"valence": "glad", "agreement": "weather"}[word] in prose, f"{name} does not say what {word} is"


def module(command):
    return command if command == "figures" else f"analyses.{command}"


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
@pytest.mark.parametrize(
    ("command", "arguments", "words"),
    [
        ("agreement", ["--out", "{here}"], "out="),
        ("flow_plane", ["--contrast", "nothing.csv", "--out", "{new}"], "contrast='nothing.csv' is no file"),
        ("measured", ["x", "{new}/absent.parquet"], "absent.parquet"),
        ("measured", ["x", "README.md"], "tables='README.md' is no table that can be read"),
        ("measured", ["x"], "tables is empty"),
        ("search_replay", [], "grids is empty"),
        ("early_looks", ["one", "two", "--prompts", "one"], "prompts=['one'] are 1 of 2 studies"),
        ("coverage", ["--only", "nothing"], "only='nothing' is found in none of what is simulated; there are "),
        ("coverage", ["--only", "("], "only='(' is no regular expression"),
        ("bench", ["--only", "nothing", "--out", "{new}"], "only='nothing' stands in the name of no group; there are"),
        ("evidence", ["--only", "nothing"], "only=('nothing',) names no run"),
        ("evidence", ["--studies"], "studies is empty"),
        ("evidence", ["--executor", "nothing"], "executor='nothing' is unknown"),
        ("figures", ["--only", "nothing"], "only=['nothing'] names no figure"),
        ("search", ["--problems", "0", "--out", "{new}"], "problems=0 is out of range; give a number of at least 1"),
        ("search", ["--executor", "nothing", "--out", "{new}"], "executor='nothing' is unknown"),
        ("cost.imports", ["--rounds", "0", "--out", "{new}"], "rounds=0 is out of range"),
        ("cost.serving", ["--rounds", "0", "--out", "{new}"], "rounds=0 is out of range"),
        ("agreement", ["--methods", "nothing", "--out", "{new}"], "methods='nothing' is unknown"),
        ("agreement", ["--methods", "--out", "{new}"], "methods is empty"),
        ("agreement", ["--model", "--out", "{new}"], "model is empty"),
        ("sketch_agreement", ["--contrast", "nothing", "--out", "{new}"], "contrast='nothing' is unknown"),
        ("demo", ["--angle", "--out", "{new}"], "angle is empty"),
        ("layer_effectiveness", ["--constraint", "nothing", "--dry-run"], "constraint='nothing' is unknown"),
        ("concepts", ["sentiment", "--pairs", "1249"], "pairs=1249 must be between 1 and the 1248"),
        (
            "benchmarks",
            ["caa", "--data", "README.md", "--model", "organism", "--out", "{new}", "--methods", "nothing"],
            "methods='nothing' is unknown",
        ),
        (
            "benchmarks",
            ["caa", "--data", "README.md", "--preset", "nothing", "--out", "{new}"],
            "preset='nothing' is unknown",
        ),
        (
            "benchmarks",
            ["caa", "--data", "README.md", "--model", "organism", "--out", "{new}", "--device", "nothing"],
            "device='nothing' is none",
        ),
        ("layer_effectiveness", ["--contrast", "nothing.csv", "--out", "{new}"], "contrast='nothing.csv' is no file"),
    ],
)
def test_a_refusal_is_one_line(command, arguments, words, tmp_path, monkeypatch, capsys):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "run.json").write_text("{}")
    filled = [a.format(here=tmp_path / "here", new=tmp_path / "new") for a in arguments]
    monkeypatch.setattr(sys, "argv", [command, *filled])
    with pytest.raises(SystemExit) as left:
        runpy.run_module(module(command), run_name="__main__", alter_sys=True)
    assert left.value.code == 2
    said = capsys.readouterr().err
    (line,) = [x for x in said.splitlines() if words in x]
    assert said.rstrip().splitlines()[-1] == line
    assert not (tmp_path / "new").exists()


#: of every command that reads a path: options that lead to none
ABSENT = {
    "layer_effectiveness": ("--contrast NO.csv", "--model NO", "--prompts NO.txt", "--outcome NO.json",
                            "--outcome NO.py:judge"),
    "method_comparison": ("--contrast NO.csv",),
    "method_audit": ("--concept NO",),
    "barrier_certification": ("--contrast NO.csv", "--prompts NO.txt"),
    "trajectory_likelihood": ("--contrast NO.csv", "--prompts NO.txt", "--model NO"),
    "flow_plane": ("--contrast NO.csv", "--model NO"),
    "detection": ("--data NO --layer 1 --out OUT --model organism",),
    "benchmarks": (*(f"{task} --data NO.json --model organism --out OUT"
                     for task in ("truthfulqa-choice", "ultrafeedback", "toxicity", "caa", "hatecheck")),
                   "truthfulqa-generation --data NO.json --model organism --truth-judge NO --info-judge NO --out OUT"),
    "agreement": ("--model NO --out OUT",),
    "reading_and_steering": ("--model NO --out OUT",),
    "evidence": ("--axbench NO", "--caa NO --list"),
    "evidence.readers": ("--model organism --contrast NO.csv --out OUT",),
    "evidence.lenses": ("--model organism --contrast NO.csv --outcome NO.json --prompts NO.json --out OUT",),
    "evidence.tables": ("--results NO --out OUT",),
    "search_replay": ("NO",),
    "early_looks": ("NO --prompts NO",),
    "sweep": ("status NO", "report NO"),
    "likelihood.report": ("NO",),
    "figures": ("--results NO",),
    "measured": ("x NO", "x NO.csv"),
    "cost.serving": ("--engine NO --out OUT",),
    "concepts": ("sentiment --corpus NO.csv", "sentiment-own --model NO", "truthfulness --data NO", "hate --data NO",
                 "sycophancy --fit NO --test NO", "axbench --folder NO --concept 0"),
}  # fmt: skip


def test_every_command_that_reads_a_path_is_tried():
    #: these are handed numbers and names of ready concepts, or of tests
    pathless = {"demo", "synthetic_comparison", "sketch_agreement", "bench", "cost.imports", "search", "coverage",
                "evidence.together"}  # fmt: skip
    assert {command.name.removeprefix("analyses.") for command in ALL} == set(ABSENT) | pathless


@pytest.mark.parametrize(("command", "line"), [(name, line) for name, lines in ABSENT.items() for line in lines])
@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
def test_a_path_that_is_not_there_is_refused_in_one_line(command, line, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    absent, out = tmp_path / "absent", tmp_path / "out"
    filled = [word.replace("NO", str(absent)).replace("OUT", str(out)) for word in line.split()]
    monkeypatch.setattr(sys, "argv", [command, *filled])
    with pytest.raises(SystemExit) as left:
        runpy.run_module(module(command), run_name="__main__", alter_sys=True)
    assert left.value.code == 2
    said = capfd.readouterr().err.splitlines()
    (told,) = [each for each in said if each.strip() and "it/s]" not in each]  # but for bars of progress
    assert "absent" in told
    assert len(told) > len(str(absent)) + 12, "it says no more than the name"
    assert not out.exists()


#: numbers of any size: the model knows its layers, and what is right for the other two depends on what they are of
ANY = {"layer", "threshold", "benchmarks strengths", "benchmarks angle"}


def numbers(settings, prefix=""):
    """Each option of a number or of several: its name, whether it is a whole one, how many it takes at least."""
    for name, hint in get_type_hints(settings, include_extras=True).items():
        if name == "return":
            continue
        notes = getattr(hint, "__metadata__", ())
        kind = get_args(hint)[0] if notes else hint
        if is_dataclass(kind):
            yield from numbers(kind, "" if UNPREFIXED in notes else f"{prefix}{name}.")
            continue
        kinds = [x for x in get_args(kind) if x is not type(None)] if type(None) in get_args(kind) else [kind]
        several = get_args(kinds[0]) if get_origin(kinds[0]) is tuple else ()
        inside = {*several} - {...} or {kinds[0]}
        spelled = next((note.name for note in notes if getattr(note, "name", None)), name).replace("_", "-")
        if inside <= {int, float}:
            yield f"{prefix}{spelled}", name, inside == {int}, 1 if ... in several else max(len(several), 1)


def parts(command):
    """The settings of a command by what stands on its line before any option."""
    options = command.options()
    if isinstance(options, dict):
        return {(name,): settings for name, settings in options.items()}
    if is_dataclass(options):
        return {(): options}
    return {(get_args(part)[1].name,): get_args(part)[0] for part in get_args(options)}


@pytest.mark.parametrize("command", ALL, ids=lambda command: command.name)
def test_a_number_out_of_range_is_refused_before_anything_runs(command, capsys):
    tried, short = 0, command.name.removeprefix("analyses.")
    for part, settings in parts(command).items():
        lines = [line.split() for line in ABSENT.get(short, ("",))]
        usual = next((line for line in lines if tuple(line[: len(part)]) == part), [*part])
        for option, name, whole, count in numbers(settings):
            free = {option, f"{short} {option}"} & ANY
            for value in ((-1,) if whole else (-1, "nan", "inf"))[bool(free) :]:
                line = [*usual, f"--{option}", *[str(value)] * count]
                read = from_command_line(command.options(), lambda _: pytest.fail("ran"), None, line)
                told = capsys.readouterr().err.splitlines()
                assert (read, len(told)) == (2, 1), line
                named = {option.replace("-", "_"), option.rpartition(".")[2], name}
                assert named & {*re.findall(r"\w+", told[0])}, told
                tried += 1
    assert tried or short in {"evidence", "evidence.lenses", "evidence.tables", "evidence.together", "sweep", "figures",
                              "likelihood.report", "measured"}  # fmt: skip


def test_a_table_that_cannot_be_read_is_refused_by_the_option_that_leads_to_it(tmp_path, capsys):
    @dataclass
    class Settings:
        """Nothing."""

        grids: tuple[Path, ...]
        """folders"""

    (tmp_path / "table.parquet").write_text("no table")
    for file in ("table.parquet", "empty.csv"):
        (tmp_path / file).write_text("")
        read = pd.read_csv if file.endswith("csv") else pd.read_parquet
        run = partial(lambda read, file, config: read(config.grids[0] / file), read, file)
        assert from_command_line(Settings, run, None, ["--grids", str(tmp_path)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"grids={str(tmp_path)!r}: {str(tmp_path / file)!r} is no table that can be read (")


def test_a_fault_keeps_its_traceback():
    @dataclass
    class Settings:
        """Nothing."""

    with pytest.raises(json.JSONDecodeError):
        from_command_line(Settings, lambda config: json.loads("["), None, [])


@pytest.mark.parametrize(
    ("study", "config", "former", "current"),
    [
        ("agreement", "AgreementConfig", "--validation-prompts=5 --test_prompts 6 --angles .1 --models organism",
         "--select 5 --test 6 --angle .1 --model organism"),
        ("demo", "DemoConfig", "--layers 1 2 --validation-prompts 5 --test-prompts 6 --angles .1",
         "--layer 1 2 --select 5 --test 6 --angle .1"),
        ("layer_effectiveness", "LayersConfig", "--layers 1 2 --arms caa --angles .1",
         "--layer 1 2 --methods caa --angle .1"),
        ("barrier_certification", "CertificationConfig", "--layers 1,-1 --angles .3 --strengths .1 .2",
         "--layer 1 -1 --angle .3 --table-angle .1 .2"),
        ("trajectory_likelihood", "LikelihoodConfig", "--angles .8 --declared .2 --strengths .2 .4",
         "--angle .8 --compare-angle .2 --text-angle .2 .4"),
        ("flow_plane", "FlowPlaneConfig", "--prompts 7", "--n-prompts 7"),
        ("reading_and_steering", "ReadingSteeringConfig", "--prompts 7 --models organism",
         "--n-prompts 7 --model organism"),
        ("search.__main__", "SimulationConfig", "--arms 7 --prompts 7", "--candidates 7 --n-prompts 7"),
        ("coverage", "CoverageConfig", "--prompts 7 8", "--n-prompts 7 8"),
        ("sketch_agreement", "SketchConfig", "--contrasts valence", "--contrast valence"),
        ("concepts.__main__", "BUILT", "sentiment-own --new-tokens 3", "sentiment-own --max-new-tokens 3"),
        ("benchmarks.__main__", "Config", "caa --data x --out y --layers 1 --angles .1",
         "caa --data x --out y --layer 1 --angle .1"),
    ],
)  # fmt: skip
def test_former_names_are_understood(study, config, former, current, capsys):
    """As the current ones are; of each is said what to write in its place."""
    settings, read, told = getattr(import_module(f"analyses.{study}"), config), [], []
    for line in (former, current):
        assert from_command_line(settings, read.append, None, line.split()) == 0
        told.append([x for x in capsys.readouterr().err.splitlines() if "is deprecated" not in x])
    was, now = (re.findall(r"--[\w-]+", line) for line in (former, current))
    said = [f"{x!r} is the former name of {y!r}; write that" for x, y in zip(was, now, strict=True) if x != y]
    assert told == [said, []]
    one, other = ((x.func, x.args, x.keywords) if isinstance(x, partial) else x for x in read)
    assert one == other


def test_layers_of_the_certification_are_spelled_as_elsewhere(capsys):
    from analyses.barrier_certification import CertificationConfig

    read = []
    for line in ("--layer 0 1 -1", "--layer all", "", "--layer 2"):
        assert from_command_line(CertificationConfig, read.append, None, line.split()) == 0
    assert [config.layer for config in read] == ["0,1,-1", "all", "all", "2"]
    assert capsys.readouterr().err == ""
    assert from_command_line(CertificationConfig, read.append, None, ["--layer", "0,1"]) == 0
    assert read[-1].layer == "0,1"
    assert capsys.readouterr().err == "--layer with commas is deprecated; write --layer 0 1\n"


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
    former, arms, methods, method, pairs = done.stderr.splitlines()
    assert former == "'--arms' is the former name of '--methods'; write that"
    for line in (arms, methods):
        assert line.startswith("methods=['caat'] are none; choose from 'random, geodesic', caa, ")
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
