"""The registry: a method is one function from two classes of activations to a field."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from odesteer_tl._difference import require_different
from odesteer_tl._display import Displayed, Result, table
from odesteer_tl._groups import Groups, row_labels
from odesteer_tl.activations import LayerActivations
from odesteer_tl.fields import VectorField
from odesteer_tl.methods.layers import FitFn, InTurn, LayersFn, fit_activations
from odesteer_tl.sites import BLOCK_OUTPUT
from odesteer_tl.training.course import TrainFn

if TYPE_CHECKING:
    import pandas as pd

IN_TURN = InTurn()
#: what every method takes and gives; docstrings of methods say what is their own
TAKES = {
    "positive": "positive, negative: activations of the two classes, [n, d] and [m, d].",
    "course": "course: the model, the texts, the place and the settings of the training.",
    "seed": "seed: of whatever is random in the fit.",
}
GIVES = "Returns:\n    The field of this method at this layer; steer with it through `Steerer`."
# a method keeps its own signature, with its hyper-parameters
FitT = TypeVar("FitT", bound=FitFn)
TrainT = TypeVar("TrainT", bound=TrainFn)
MethodT = TypeVar("MethodT", bound=Callable[..., Any])


@dataclass(frozen=True, repr=False)
class Method(Displayed):
    """A steering method.

    Attributes:
        fit: activations to field; classes that coincide within rounding are refused.
        solver, steps: the integrator it is used with unless told otherwise.
        source: where it comes from.
        T: its own strength, used unless told otherwise; None where the strength is the user's to choose.
        site: where in a block it acts; what it is fitted on has that site's shape, [n, n_heads, d_head] for heads.
        layers: how it is fitted on several layers.
        idea: what it does, in a few words.
        trained: whether it is trained by gradients through the model; else it is fitted on activations alone, in
            closed form, by a convex problem, or as a small network of its own.
        climbs: whether its field is that of a barrier fitted with it, so that `certify_path` can prove its steps at
            once; the path of another method is certified against a barrier fitted beside it.
        multiplier: its own strength in units of what it learned, where it has that instead of a T.
        train: how it is trained through the model, where it is; `fit` then refuses, since activations are not enough.
    """

    fit: FitFn
    solver: str
    steps: int
    source: str
    T: float | None = None
    site: str = BLOCK_OUTPUT
    layers: LayersFn = IN_TURN
    idea: str = ""
    trained: bool = False
    climbs: bool = False
    multiplier: float | None = None
    train: TrainFn | None = None

    @property
    def own_strength(self) -> dict[str, float]:
        """Its own strength, as `Flow` takes it; empty where the strength is the user's to choose."""
        own = {"T": self.T, "multiplier": self.multiplier}
        return {name: value for name, value in own.items() if value is not None}

    @property
    def made(self) -> str:
        """ "trained" by gradients through the model, or "fitted" on activations alone."""
        return "trained" if self.trained or self.train is not None else "fitted"

    def fit_activations(self, acts: LayerActivations, seed: int = 0) -> VectorField:
        """Fit to one layer's activations; a method that holds rows out is told which come from one text."""
        return fit_activations(self.fit, acts, seed)

    def row(self) -> dict[str, object]:
        """What `METHODS.frame()` says of it, by column."""
        return {
            "idea": self.idea,
            "source": self.source,
            "made": self.made,
            "site": self.site,
            "layers": "in turn" if isinstance(self.layers, InTurn) else "side by side",
            "solver": self.solver,
            "steps": self.steps,
            "T": self.T,
            "certificate": "of its own barrier" if self.climbs else "against a barrier fitted beside it",
        }

    def _facts(self) -> dict[str, object]:
        return {name: x for name, x in self.row().items() if x not in ("", None)}


class Methods(dict[str, Method], Result):
    """Methods by name; shows itself as a table."""

    def frame(self) -> pd.DataFrame:
        """One row a method: its idea and source, whether it is fitted or trained, where it acts, its solver, steps and
        own T (NaN where the strength is the user's to choose), and what `certify_path` can certify it against."""
        return table([{"method": name, **method.row()} for name, method in sorted(self.items())])

    def _facts(self) -> dict[str, object]:
        return {name: method.idea or method.source for name, method in sorted(self.items())}

    def __repr__(self) -> str:
        facts = self._facts()
        width = max(map(len, facts), default=0)
        return "\n".join(f"{name:<{width}}  {idea}" for name, idea in facts.items())


METHODS = Methods()


def register(
    name: str,
    *,
    solver: str,
    steps: int = 1,
    source: str,
    T: float | None = None,
    site: str = BLOCK_OUTPUT,
    layers: LayersFn = IN_TURN,
    idea: str = "",
    trained: bool = False,
    climbs: bool = False,
    multiplier: float | None = None,
) -> Callable[[FitT], FitT]:
    """Enter a function into `METHODS`; the arguments are those of `Method`.

    A function of your own replaces its former self, of the same module and name, so that a notebook's cell can be run
    again.

    Args:
        name: by which `fit` knows it.
        solver, steps: the integrator it is used with unless told otherwise.
        source: where it comes from.
        T, multiplier: its own strength, if it has one.
        idea: what it does, in a few words, for the table that `METHODS` shows.
        trained: whether gradients through the model made it (`register_trained` says so itself); a network that is
            learned from activations alone is fitted.
        climbs: whether the field is a barrier's.

    Returns:
        A decorator that returns the function, its docstring completed by what all methods take and give.

    Raises:
        ValueError: another function has the name.
    """

    def enter(fit: FitT) -> FitT:
        if name in METHODS and not _same_cell(METHODS[name].fit, fit):
            raise ValueError(f"name={name!r} is already a method ({_place(METHODS[name].fit)}); choose another name")
        METHODS[name] = Method(
            _of_different_classes(fit),
            solver,
            steps,
            source,
            T,
            site,
            layers,
            idea,
            trained,
            climbs,
            multiplier,
        )
        return completed(fit)

    return enter


def register_trained(
    name: str,
    *,
    solver: str,
    steps: int = 1,
    source: str,
    T: float | None = None,
    multiplier: float | None = None,
    idea: str = "",
) -> Callable[[TrainT], TrainT]:
    """Enter a method that is trained through the model; as `register`, of a function `(course, seed) → field`.

    Args:
        name, solver, steps, source, T, multiplier, idea: as in `register`.

    Returns:
        A decorator, as that of `register`.

    Raises:
        ValueError: another function has the name.
    """

    def refuse(positive: Tensor, negative: Tensor, seed: int = 0) -> VectorField:
        raise ValueError(
            f"method={name!r} is trained through a model, and activations are not enough for it; use "
            f"ode.fit({name!r}, model, contrast, layer=…)"
        )

    def enter(train: TrainT) -> TrainT:
        former = METHODS.get(name)
        if former is not None and not (former.train is not None and _same_cell(former.train, train)):
            place = _place(former.train or former.fit)
            raise ValueError(f"name={name!r} is already a method ({place}); choose another name")
        fit = _of_different_classes(refuse)
        METHODS[name] = Method(
            fit, solver, steps, source, T, idea=idea, trained=True, multiplier=multiplier, train=train
        )
        return completed(train)

    return enter


def completed(method: MethodT) -> MethodT:
    """The method, whose docstring also has what all methods take and give, where it does not say that itself."""
    said, *sections = re.split(r"\n\n(?=(?:Args|Returns|Raises):\n)", inspect.getdoc(method) or "")
    named = {section.partition(":")[0]: section for section in sections}
    own = named.pop("Args", "Args:").split("\n")[1:]
    # of heads a method says itself what it takes
    known = {name for name, x in inspect.signature(method).parameters.items() if "heads" not in str(x.annotation)}
    known -= {name for name in known if any(x.startswith(f"    {name}") for x in own)}
    takes = [f"    {text}" for name, text in TAKES.items() if name in known]
    parts = [said, "\n".join(["Args:", *takes, *own]), named.pop("Returns", GIVES), *named.values()]
    method.__doc__ = "\n\n".join(parts) if said else method.__doc__
    return method


def _of_different_classes(fit: FitFn) -> FitFn:
    """The same function, which refuses classes that are one sample within rounding."""

    @wraps(fit)
    def checked(positive: Tensor, negative: Tensor, *rest: Any, **settings: Any) -> VectorField:
        require_different(positive, negative)
        return fit(positive, negative, *rest, **settings)

    return checked


def _place(fit: Callable[..., Any]) -> str:
    """Where a function stands."""
    return f"{getattr(fit, '__module__', None)}.{getattr(fit, '__qualname__', None)}"


def _same_cell(former: Callable[..., Any], fit: Callable[..., Any]) -> bool:
    """Whether one is the other defined again by its owner: no method of the package, nor one of an unknown place."""
    module = getattr(fit, "__module__", None)
    return module is not None and not module.startswith("odesteer_tl.") and _place(former) == _place(fit)


def median_norm(positive: Float[Tensor, "n d"], negative: Float[Tensor, "m d"]) -> float:
    """Median activation norm of both classes together, the unit of `Flow(relative=…)`."""
    return float(torch.cat([positive, negative]).double().norm(dim=-1).median())


def require_pairs(
    positive: Float[Tensor, "n d"], negative: Float[Tensor, "m d"], why: str, groups: Groups | None = None
) -> None:
    """Raise `ValueError` unless the classes can be read as pairs, row by row: equally many rows, of equal groups."""
    n = len(positive)
    if n != len(negative):
        raise ValueError(f"positive has {n} rows and negative {len(negative)}; {why}: pass paired texts, or use 'caa'")
    labels = row_labels(positive, negative, groups)
    if (labels[:n] != labels[n:]).any():
        row = int((labels[:n] != labels[n:]).argmax())
        raise ValueError(
            f"positive and negative rows {row} are of different groups, so they are no pair; {why}: pass paired texts "
            "(with read_position='last', where a text is one row), or use 'caa'"
        )
