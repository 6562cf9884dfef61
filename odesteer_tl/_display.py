"""How objects show themselves: a few facts, as text in a terminal and a table in Jupyter; results also as a frame."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:  # a saved steerer is applied where there is no pandas
    import pandas as pd

#: characters of a value that are shown
LONGEST = 160
#: Jupyter sets table cells flush right
LEFT = 'style="text-align: left"'


class Displayed(ABC):
    """An object whose `repr` and `_repr_html_` say what matters of it; tensors are named by shape, never printed.

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


class Result(Displayed):
    """What a computation gave: it shows itself, and `frame` has all its numbers."""

    @abstractmethod
    def frame(self) -> pd.DataFrame:
        """The numbers as a data frame, to be filtered, joined, plotted or written."""


def rows(axes: Sequence[str], columns: dict[str, Tensor | None]) -> pd.DataFrame:
    """One row for every entry of tensors of one shape, numbered along each axis, with a column for every tensor.

    Args:
        axes: names of the leading axes; all those left over are flattened into the last name.
        columns: by name; None is left out.
    """
    kept = {name: x.detach().cpu() for name, x in columns.items() if x is not None}
    shape = next(iter(kept.values())).shape
    leading = shape[: len(axes) - 1]
    size = (*leading, shape[len(leading) :].numel())
    places = torch.cartesian_prod(*(torch.arange(n) for n in size)).reshape(-1, len(size)).T
    numbered = {name: x.numpy() for name, x in zip(axes, places, strict=True)}
    return table({**numbered, **{name: x.reshape(-1).numpy() for name, x in kept.items()}})


def table(data: Any) -> pd.DataFrame:
    """A data frame, of what its constructor takes."""
    import pandas as pd

    return pd.DataFrame(data)


def stacked(frames: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Data frames below one another, their rows numbered anew."""
    import pandas as pd

    return pd.concat([*frames], ignore_index=True)


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
