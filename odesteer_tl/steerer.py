"""The steerer: a field, a flow, a place and a position rule, as one thing that can be run, saved and loaded."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from odesteer_tl._check import require_one_of, require_width
from odesteer_tl._display import Displayed
from odesteer_tl._folder import new_folder
from odesteer_tl._turn import turn
from odesteer_tl.abilities import require_precision
from odesteer_tl.chats import Prompt
from odesteer_tl.conditions import BLOCK_INPUT, Condition, Verdict
from odesteer_tl.fields import FIELDS, BarrierField, VectorField
from odesteer_tl.flow import Flow
from odesteer_tl.hooks import HookFn, Observer, steering_hooks
from odesteer_tl.identity import ModelIdentity
from odesteer_tl.levels import level_of
from odesteer_tl.positions import PositionFn, position_rule
from odesteer_tl.sites import SITES, GivenLayer, Layer, Place, place, site_hook, site_width

if TYPE_CHECKING:
    from odesteer_tl.plain import AnyModel

#: format 1 knew one site only; until 2 "all" meant every token, the BOS too; until 3 a flow's solver was its method;
#: until 4 there were no conditions
FORMAT, READABLE = 5, (1, 2, 3, 4, 5)
#: the name of a condition's vector in a file, beside the field's own tensors
CONDITION = "steerer.condition"


@dataclass(frozen=True, repr=False)
class Steerer(Displayed):
    """A steering intervention on one hook point of a model.

    Args:
        field, flow: the velocity and how far to follow it.
        layer: the 0-based block that is steered; or the full name of a hook point ("blocks.12.hook_resid_mid"), or,
            where `model` is known, a negative number, counted from the end.
        positions: "generated" (the last prompt token and every generated one, as in the paper), "all" (every token
            but the BOS, an attention sink), "all_and_bos", "prompt", "last" (the last prompt token alone), or a
            callable of each row's own positions (see `odesteer_tl.positions.position_rule`).
        model: the model this was fitted for; another one is then refused. `ode.fit` sets it.
        provenance: anything worth keeping of how it came to be, JSON-able.
        site: where in the block: "resid_post", its output (unless the layer's name says otherwise), "resid_pre",
            "resid_mid", "attn_out", "mlp_out", or "z", what its attention heads write, for a field on the heads
            flattened to [n_heads · d_head]. Kept as a key of `odesteer_tl.sites.SITES`.
        condition: which prompts are steered; left out, all are. It is asked at its own layer, which must not lie above
            the steered one, once a prompt, and its answer holds for all that is written behind it.

    Raises:
        ValueError: an unknown layer, site or position rule, or a condition above the steered layer.
    """

    field: VectorField
    flow: Flow
    layer: GivenLayer
    positions: str | PositionFn = "generated"
    model: ModelIdentity | None = None
    provenance: dict[str, Any] = dataclasses.field(default_factory=dict[str, Any])
    site: str = ""
    condition: Condition | None = None

    if TYPE_CHECKING:  # what may be given, where the attributes are what was meant

        def __init__(
            self, field: VectorField, flow: Flow, layer: Layer, positions: str | PositionFn = "generated",
            model: ModelIdentity | None = None, provenance: dict[str, Any] = ..., site: str = "",
            condition: Condition | None = None,
        ) -> None: ...  # fmt: skip

    def __post_init__(self) -> None:
        position_rule(self.positions)
        n_layers = None if self.model is None else self.model.n_layers
        found = place(self.layer, self.site or None, n_layers)
        object.__setattr__(self, "layer", found.layer)
        object.__setattr__(self, "site", found.site)
        if self.condition is not None:
            object.__setattr__(self, "condition", self.condition.under(found.layer, n_layers))

    def _facts(self) -> dict[str, object]:
        condition = {} if self.condition is None else {"condition": self.condition}
        return {
            "field": self.field,
            f"strength ({self.flow.unit})": self._strength,
            "steps": f"{self.flow.steps}, {self.flow.solver}",
            "hook point": self.hook_name,
            "positions": self.positions if isinstance(self.positions, str) else "a callable",
            **condition,
            "model": "any" if self.model is None else self.model.name,
        }

    @property
    def _strength(self) -> object:
        """The strength, and of a level that is a quantile of positives what it is here."""
        found = self.flow.strength
        if isinstance(found, str) and isinstance(self.field, BarrierField):
            with suppress(ValueError):  # a barrier that does not know its positives is refused where it is followed
                return f"{found}: until h is {float(level_of(self.field.barrier, found)):.3g}"
        return found

    @property
    def hook_name(self) -> str:
        """The hook point steered."""
        return Place(self.layer, self.site).hook_name

    def hooks(self, prompt_length: int | None = None, observe: Observer | None = None) -> list[tuple[str, HookFn]]:
        """`[(hook_name, hook_fn), …]` for `run_with_hooks` or `model.hooks`.

        Args:
            prompt_length: columns of the (padded) prompt, BOS included, in a chat all turns so far. Rules other than
                "all" need it, and so does a condition.
            observe: called with every solved `Path` and its columns (see `steering_hooks`).

        Raises:
            ValueError: the rule or the condition needs the prompt length and is not given it.
        """
        rule = position_rule(self.positions)
        if rule.needs_prompt and prompt_length is None:
            raise ValueError(
                f"prompt_length is missing: positions={rule.name!r} is relative to the prompt; pass "
                "prompt_length=tokens.shape[1], or use positions='all'"
            )
        if prompt_length is not None and prompt_length < 1:
            raise ValueError(f"prompt_length={prompt_length} must be at least 1")
        verdict = None
        if self.condition is not None:
            if prompt_length is None:
                raise ValueError(
                    "prompt_length is missing: a condition is decided on the prompt; pass prompt_length=tokens.shape[1]"
                )
            verdict = Verdict(self.condition, prompt_length)
        return steering_hooks(self.hook_name, self.field, self.flow, rule, prompt_length, observe, verdict)

    @contextmanager
    def on(
        self, model: AnyModel, prompt_length: int | None = None, observe: Observer | None = None
    ) -> Generator[AnyModel]:
        """Steer every call inside the block; leaving it, also by an exception, removes our hooks and only ours.

        Other threads that are to steer, generate from or collect from the model wait until the block is left.

        Raises:
            ValueError: the model is remote or in training mode, is not the one this was fitted for, or has no such
                layer or width.
        """
        from odesteer_tl.models import hosted, model_name

        host = hosted(model)
        self.check(host)
        require_precision(host, model_name(host))
        with turn(host), host.hooks(fwd_hooks=self.hooks(prompt_length, observe)):
            yield model

    def generate(self, model: AnyModel, prompts: Iterable[Prompt], **settings: Any) -> list[str]:
        """Steered continuations of texts or chats; `settings` are those of `odesteer_tl.generate`."""
        from odesteer_tl.generation import generate

        self.check(model)
        return generate(model, prompts, self.hooks, **settings)

    def check(self, model: AnyModel) -> None:
        """Raise `ValueError` unless this steerer can run on `model`."""
        from odesteer_tl.models import hosted

        model = hosted(model)
        site_hook(model, self.layer, self.site)
        width = site_width(model, self.site)
        if self.field.d_model != width:
            raise ValueError(
                f"model has {'·'.join(SITES[self.site])}={width} at {self.hook_name!r} but this steerer's field has "
                f"{self.field.d_model}; fit it on this model's activations"
            )
        if self.condition is not None:
            site_hook(model, self.condition.layer, BLOCK_INPUT)
            require_width("condition.vector", self.condition.vector, site_width(model, BLOCK_INPUT))
        if self.model is not None:
            self.model.require(model)

    def bound_to(self, model: AnyModel) -> Steerer:
        """A copy that belongs to `model` (and is refused by others), whatever it belonged to before."""
        return replace(self, model=ModelIdentity.of(model))

    def at(self, flow: Flow) -> Steerer:
        """A copy with another strength or integrator; nothing is fitted again."""
        return replace(self, flow=flow)

    def save(self, path: str | Path) -> None:
        """Write a directory `steerer.json` + `tensors.safetensors`; all of it or nothing.

        Raises:
            ValueError: the path exists (nothing is overwritten), or the position rule is a callable.
        """
        if not isinstance(self.positions, str):
            raise ValueError("positions is a callable and cannot be saved; use a named rule")
        settings, tensors = self.field.dump()
        condition = None
        if self.condition is not None:
            condition = {x.name: getattr(self.condition, x.name) for x in dataclasses.fields(self.condition)}
            tensors = {**tensors, CONDITION: condition.pop("vector")}
        with new_folder(path) as part:
            file = part / "tensors.safetensors"
            save_file({name: t.contiguous() for name, t in tensors.items()}, file)
            content = {
                "format": FORMAT,
                "field": type(self.field).__name__,
                "settings": settings,
                "flow": self.flow.config(),
                "layer": self.layer,
                "hook_name": self.hook_name,
                "positions": self.positions,
                "model": None if self.model is None else asdict(self.model),
                "provenance": self.provenance,
                "condition": condition,
                "versions": _versions("odesteer_tl", "torch", "transformer-lens"),
                "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            }
            (part / "steerer.json").write_text(json.dumps(content, indent=2))

    @classmethod
    def load(cls, path: str | Path) -> Steerer:
        """Read what `save` wrote.

        Raises:
            ValueError: the directory is missing, truncated, altered, or of another format.
        """
        path = Path(path)
        try:
            content = json.loads((path / "steerer.json").read_text())
            file = path / "tensors.safetensors"
            if content["format"] not in READABLE:
                raise ValueError(f"format {content['format']} is not one of {READABLE}; use the version that wrote it")
            if hashlib.sha256(file.read_bytes()).hexdigest() != content["sha256"]:
                raise ValueError("tensors.safetensors is not the file that was saved (truncated or altered)")
            require_one_of("field", content["field"], FIELDS)
            tensors = load_file(file)
            vector, condition = tensors.pop(CONDITION, None), content.get("condition")
            if (vector is None) != (condition is None):
                raise ValueError("its condition is not whole")
            return cls(
                field=FIELDS[content["field"]].load(content["settings"], tensors),
                flow=_flow(content["flow"], content["format"]),
                layer=content["layer"],
                positions=content["positions"] if content["format"] > 2 else _meant(content["positions"]),
                model=None if content["model"] is None else ModelIdentity(**content["model"]),
                provenance=content["provenance"],
                site=content["hook_name"].removeprefix(f"blocks.{content['layer']}."),
                condition=None if vector is None else Condition(vector=vector, **condition),
            )
        except (OSError, KeyError, TypeError, ValueError, SafetensorError) as error:
            raise ValueError(f"path={str(path)!r} is not a readable steerer: {error}; save it again") from error


def _meant(positions: str) -> str:
    """What a rule of a file of format 1 or 2 is called now."""
    return {"all": "all_and_bos"}.get(positions, positions)


def _versions(*names: str) -> dict[str, str]:
    """The versions of the packages that are installed; TransformerLens need not be where steerers are served."""
    found: dict[str, str] = {}
    for name in names:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _flow(config: dict[str, Any], format: int) -> Flow:
    """The flow of a file."""
    return Flow(**config) if format > 3 else Flow(**{"solver" if k == "method" else k: x for k, x in config.items()})
