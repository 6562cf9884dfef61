"""Sphinx configuration. `make docs` builds with every warning an error."""

import re
from typing import Any

from odesteer_tl import __version__

project = "odesteer_tl"
author = "The odesteer_tl authors"
release = __version__
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "myst_parser"]
html_theme = "furo"
html_title = f"odesteer_tl {release}"
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

# docstrings set code in single backticks
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "undoc-members": False, "show-inheritance": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
# types stand in the signature; here the * of a jaxtyping shape would read as emphasis
napoleon_use_ivar = True
napoleon_attr_annotations = False
napoleon_use_rtype = False


def plain_bars(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """A bar is an absolute value, never a reST substitution."""
    lines[:] = [re.sub(r"(`[^`]*`)|\|", lambda m: m[1] or r"\|", line) for line in lines]


def setup(app: Any) -> None:
    """Register the hook."""
    app.connect("autodoc-process-docstring", plain_bars)
