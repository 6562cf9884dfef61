"""Every public name is documented, its examples run, and the reference builds without a warning."""

import ast
import doctest
import importlib
import inspect
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import odesteer_tl as ode

ROOT = Path(__file__).parents[1]
FACES = ("odesteer_tl", *(f"odesteer_tl.{name}" for name in (
    "barriers", "certify", "densities", "fields", "indicators", "jupyter", "methods", "organism", "serving", "stats",
    "training",
)))  # fmt: skip


@cache
def public_names() -> dict[str, object]:
    """Classes and functions that a face of the package offers, by the name they are defined under."""
    found: dict[str, object] = {}
    for face in FACES:
        module = importlib.import_module(face)
        for name in dir(module):
            thing = getattr(module, name)
            ours = getattr(thing, "__module__", "").startswith("odesteer_tl")
            if not name.startswith("_") and ours and (inspect.isclass(thing) or inspect.isfunction(thing)):
                found[f"{thing.__module__}.{thing.__qualname__}"] = thing
    return found


def missing(thing: object) -> list[str]:
    """The sections its docstring lacks."""
    text = inspect.getdoc(thing) or ""
    takes = [p for p in inspect.signature(thing).parameters if p != "self"]
    if inspect.isclass(thing):
        return ["Args or Attributes"] if takes and not ("Args:" in text or "Attributes:" in text) else []
    gives = inspect.signature(thing).return_annotation not in (None, "None")
    return [name for name, needed in (("Args", takes), ("Returns", gives)) if needed and f"{name}:" not in text]


@pytest.mark.parametrize("name", sorted(public_names()))
def test_a_public_name_says_what_it_takes_and_returns(name):
    thing = public_names()[name]
    assert thing.__doc__, name
    assert not missing(thing), f"{name} lacks {missing(thing)} in its docstring"


@pytest.mark.parametrize("name", sorted(n for n, x in public_names().items() if inspect.isclass(x)))
def test_a_public_method_has_a_docstring(name):
    cls = public_names()[name]
    for key, member in vars(cls).items():
        if not key.startswith("_") and (inspect.isroutine(member) or isinstance(member, property | classmethod)):
            assert inspect.getdoc(getattr(cls, key)), f"{name}.{key}"


def undocumented(file: Path) -> list[str]:
    """Public functions, classes and methods without a docstring; a method of a derived class may have its base's."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and not node.bases and node.name[0] != "_"]
    return [f"{file.relative_to(ROOT)}: {node.name}" for owner in (tree, *classes) for node in owner.body
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name[0] != "_"
            and not ast.get_docstring(node) and ast.unparse(node.body[0]) != "..."]  # fmt: skip


def test_public_functions_of_all_modules_have_a_docstring():
    files = [file for folder in ("odesteer_tl", "analyses", "figures") for file in (ROOT / folder).rglob("*.py")]
    assert [name for file in files for name in undocumented(file)] == []


EXAMPLES = [file for file in sorted((ROOT / "odesteer_tl").rglob("*.py")) if ">>> " in file.read_text()]


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_examples_run(file):
    name = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    assert doctest.testmod(importlib.import_module(name)) == (0, file.read_text().count(">>> "))


def test_every_name_of_the_face_resolves():
    for name in ode.__all__:
        assert getattr(ode, name) is not None


def test_the_reference_builds_without_warnings_and_holds_every_public_name(tmp_path):
    pytest.importorskip("furo", reason="the docs extra is not installed")
    from sphinx.util.inventory import InventoryFile

    build = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "docs", str(tmp_path)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    inventory = InventoryFile.loads((tmp_path / "objects.inv").read_bytes(), uri="")
    known = {
        name.rsplit(".", 1)[-1] for kind in ("py:class", "py:function", "py:exception") for name in inventory.data[kind]
    }
    assert not {name.rsplit(".", 1)[-1] for name in public_names()} - known
    faces = [f"odesteer_tl.{name}" for name in ode.__all__ if inspect.isclass(getattr(ode, name))]
    assert faces
    assert not set(faces) - set(inventory.data["py:class"])
    for page in tmp_path.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        # of two names before one colon the first is read as a type, and a colon in a property's line as its end
        assert not re.search(r"<strong>\w+</strong> \((?:<em>)?[\w, ]*,(?:</em>)?\)", text), page.name
        assert '<dt class="field-odd">Type<span' not in text, page.name
        # fields stand in their class's list alone, and signatures are parsed
        assert ">Variables<" not in text, page.name
        assert not re.search(r"TypeAliasForwardRef|&lt;factory&gt;|MATHEMATICS", text), page.name
    assert "odesteer_tl.ContrastSet.positive" not in inventory.data["py:attribute"]
    assert "site.css" in (tmp_path / "index.html").read_text(encoding="utf-8")
    methods = (tmp_path / "how-to" / "methods.html").read_text(encoding="utf-8")
    assert all(name in methods and method.idea.split()[0] in methods for name, method in ode.METHODS.items())
    assert (tmp_path / "generated" / "01_quickstart.html").exists()
