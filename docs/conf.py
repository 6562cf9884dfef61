"""Sphinx configuration. `make docs` builds with every warning an error."""

import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from generated import write_methods, write_notebooks
from sphinx.domains.python import PyObject

import odesteer_tl as ode

project = "odesteer_tl"
author = "The odesteer_tl authors"
release = ode.__version__
copyright = author
extensions = ["sphinx.ext.autodoc", "sphinx.ext.mathjax", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "myst_parser"]
html_theme = "furo"
html_title = f"odesteer_tl {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
exclude_patterns = ["generated/methods.md"]
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
# files of the repository that the documents link to and that are no pages
suppress_warnings = ["myst.xref_missing"]

# docstrings set code in single backticks
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_type_aliases = {"ArrayLike": "ArrayLike"}
# without undoc-members, which False too would turn on: fields are described once, in their class's list
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
# types stand in the signature; here the * of a jaxtyping shape would read as emphasis
napoleon_use_ivar = True
napoleon_attr_annotations = False
napoleon_use_rtype = False

for field in PyObject.doc_field_types:
    if field.name == "variable":
        field.label = "Attributes"

#: stands for a colon while napoleon looks for types before colons
COLON = "\ue000"
SEVERAL = re.compile(r"^(\s+)(\*{0,2}\w+(?:, \*{0,2}\w+)+): (.*)$")


def one_name_an_entry(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """`a, b: text` becomes an entry each, since Sphinx reads the first of two words as a type."""
    out: list[str] = []
    i = 0
    while i < len(lines):
        found = SEVERAL.match(lines[i])
        if not found:
            out.append(lines[i])
            i += 1
            continue
        indent, names, text = found.groups()
        more = i + 1
        while more < len(lines) and lines[more].startswith(indent + "  "):
            more += 1
        for each in names.split(", "):
            out += [f"{indent}{each}: {text}", *lines[i + 1 : more]]
        i = more
    lines[:] = out
    if what in ("property", "attribute", "data") and lines:
        lines[0] = lines[0].replace(":", COLON)


def plain_bars(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """A bar is an absolute value, never a reST substitution."""
    lines[:] = [re.sub(r"(`[^`]*`)|\|", lambda m: m[1] or r"\|", line).replace(COLON, ":") for line in lines]


def documented_once(app: Any, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """A module's page leaves out what stands on that of `ode` itself, and what is not ours."""
    ours = getattr(obj, "__module__", None) or "odesteer_tl"
    elsewhere = name in ode.__all__ and getattr(ode, name) is obj
    return True if what == "module" and (elsewhere or not ours.startswith("odesteer_tl")) else None


def parsed(app: Any, what: str, name: str, obj: Any, options: Any, signature: str, returns: str) -> tuple[str, str]:
    """A signature that Sphinx can parse, and ArrayLike by its name."""
    signature = (signature or "").replace("<factory>", "...") or signature
    return signature and re.sub(r"TypeAliasForwardRef\('(\w+)'\)", r"\1", signature), returns


def setup(app: Any) -> None:
    """Register the hooks, before and after napoleon's."""
    app.connect("builder-inited", lambda app: (write_methods(), write_notebooks()))
    app.connect("autodoc-skip-member", documented_once)
    app.connect("autodoc-process-signature", parsed)
    app.connect("autodoc-process-docstring", one_name_an_entry, priority=400)
    app.connect("autodoc-process-docstring", plain_bars, priority=600)
