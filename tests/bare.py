"""A bare environment: nothing can be imported but the standard library and what applying a steerer is said to need."""

import sys
from importlib.machinery import PathFinder
from importlib.metadata import distribution, packages_distributions, requires

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

#: what `pip install odesteer_tl --no-deps` is said to need beside it
ENOUGH = ("torch", "safetensors", "jaxtyping", "scipy", "scikit-learn")


class Only(PathFinder):
    """Finds modules of these distributions and of this package, and no others."""

    allowed: frozenset[str] = frozenset()
    installed: frozenset[str] = frozenset()

    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        top = fullname.partition(".")[0]
        own = top in cls.allowed or top.startswith("_sysconfigdata")  # Python's own, under a name of each platform
        return super().find_spec(fullname, path, target) if own else None

    @classmethod
    def find_distributions(cls, *args, **kwargs):
        found = super().find_distributions(*args, **kwargs)
        return (d for d in found if canonicalize_name(d.metadata["Name"]) in cls.installed)


def with_requirements(names):
    """Distributions and all that they require, extras left out."""
    found, left = set(), list(names)
    while left:
        name = canonicalize_name(left.pop())
        if name in found:
            continue
        found.add(name)
        asked = (Requirement(line) for line in requires(name) or ())
        left += [r.name for r in asked if r.marker is None or r.marker.evaluate({"extra": ""})]
    return found


def go_bare():
    """Leave nothing else to be found; what was imported so far is `packaging` and the standard library's."""
    names = with_requirements(ENOUGH)
    modules = {m for m, owners in packages_distributions().items() if {canonicalize_name(o) for o in owners} & names}
    Only.installed = frozenset(names | {"odesteer-tl"})
    Only.allowed = frozenset(modules | {"odesteer_tl"} | sys.stdlib_module_names)
    sys.meta_path[:] = [f for f in sys.meta_path if f is not PathFinder and "editable" not in repr(f)] + [Only]
    assert distribution("odesteer_tl")
