"""How results show themselves: a few facts, as text in a terminal and as a table in Jupyter."""

from __future__ import annotations

from abc import ABC, abstractmethod
from html import escape

from torch import Tensor

#: characters of a value that are shown
LONGEST = 160
#: Jupyter sets table cells flush right
LEFT = 'style="text-align: left"'


class Displayed(ABC):
    """A result whose `repr` and `_repr_html_` say what matters of it; tensors are named by shape, never printed.

    A dataclass that wants this `repr` says `repr=False`.
    """

    @abstractmethod
    def _facts(self) -> dict[str, object]:
        """What to show, in order, by name (with its unit)."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}: {_text(x)}' for name, x in self._facts().items())})"

    def _repr_html_(self) -> str:
        rows = "".join(
            f'<tr><th scope="row" {LEFT}>{escape(name)}</th><td {LEFT}>{escape(_text(x))}</td></tr>'
            for name, x in self._facts().items()
        )
        caption = f"<caption {LEFT}><b>{escape(type(self).__name__)}</b></caption>"
        return f"<table>{caption}<tbody>{rows}</tbody></table>"


def of(part: int, whole: int) -> str:
    """A count and its share, `3 of 40 (7.5 %)`."""
    return f"{part} of {whole}" + (f" ({100 * part / whole:.3g} %)" if whole else "")


def spread(x: Tensor) -> str:
    """Median and range of a tensor's finite entries."""
    finite = x[x.isfinite()].double()
    if finite.numel() == 0:
        return "no finite value"
    return f"median {_text(float(finite.median()))}, {_text(float(finite.min()))} to {_text(float(finite.max()))}"


def shape(x: Tensor) -> str:
    """Shape and dtype."""
    return f"{list(x.shape)} {str(x.dtype).removeprefix('torch.')}"


def _text(x: object) -> str:
    if isinstance(x, Tensor):
        return shape(x)
    text = f"{x:.4g}" if isinstance(x, float) else str(x)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
