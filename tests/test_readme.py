"""The README's example runs as written, and its table is the demo's."""

import contextlib
import io
import re
from pathlib import Path

import pandas as pd

from analyses.demo import for_reading

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
MEASURED = ROOT / "analyses" / "measured" / "demo.csv"


def test_the_ten_lines_run_as_written():
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(code.strip().splitlines()) <= 12
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, "README.md", "exec"), {})
    assert re.search(r"steps certified: 200 of 200.*steps refuted: 0 of 200", out.getvalue()), out.getvalue()


def test_the_table_is_the_measured_one():
    assert for_reading(pd.read_csv(MEASURED)) in README


def test_what_is_said_of_the_table_holds():
    table = pd.read_csv(MEASURED)
    assert set(table["n"]) == {500}
    for _, rows in table.groupby("temperature"):
        steered = rows.set_index("method")["success"].drop("unsteered")
        assert steered.idxmax() == "CAA"  # "the most successful of the three"


def test_the_commands_and_files_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"(?:`|^)make ([\w-]+)", README, flags=re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / link).exists(), link


def test_the_number_of_methods_named_is_that_of_the_registry():
    import odesteer_tl as ode

    assert abs(len(ode.METHODS) - int(re.search(r"(\d+) or so methods", README)[1])) <= 5
