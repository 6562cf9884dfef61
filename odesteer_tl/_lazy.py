"""Lazy names: a package whose public names stand in its stub, each imported when it is first used (PEP 562).

What `lazy_loader.attach_stub` does; here because what applies a saved steerer, inside an inference engine, is to need
nothing beyond what the mathematics needs.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any


def attach_stub(package: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """`__getattr__`, `__dir__` and `__all__` of a package, from the `.pyi` beside its `__init__.py`.

    Args:
        package: the package's name.
        file: its `__file__`.

    Raises:
        ValueError: the stub imports otherwise than `from . import x` and `from .x import y`.
    """
    tree = ast.parse(Path(file).with_suffix(".pyi").read_text(encoding="utf-8"))
    modules: dict[str, str] = {}
    for node in tree.body:
        if not isinstance(node, ast.ImportFrom):
            continue
        if node.level != 1:
            raise ValueError(f"{package}: its stub imports from {node.module!r}; let it name the package's own alone")
        for alias in node.names:
            # a module of the package itself, or a name that a module holds
            modules[alias.asname or alias.name] = f"{package}.{node.module or alias.name}"
    submodules = {name for name, module in modules.items() if module == f"{package}.{name}"}

    def load(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = import_module(modules[name])
        return module if name in submodules else getattr(module, name)

    return load, lambda: list(modules), list(modules)
