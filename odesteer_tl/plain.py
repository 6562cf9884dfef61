"""Plain models: a transformers model as it is, under TransformerLens's names, and the one inside a bridge at its speed.

A bridge runs the same weights through Python of its own, which takes time (`python -m analyses.bench --only real`).
What needs none of it (our own loops of generating and collecting, where no hook of the user's is set) runs the
transformers model itself, with the same functions attached to the same places.
"""

# torch has no public list of a module's hooks, nor another way to put one module in another's place
# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from odesteer_tl._turn import turn
from odesteer_tl.abilities import require_decoder, require_precision

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import PreTrainedModel

HookFn = Callable[..., Any]
#: names of a block's attention and of its output projection, whose input are the heads
ATTENTION, PROJECTION = ("self_attn", "attn", "attention", "self_attention"), ("o_proj", "c_proj", "dense", "out_proj")


class PlainModel:
    """A transformers model where a bridge is expected, with its tokenizer.

    It has the part of a bridge's face that this package uses: `cfg`, `tokenizer`, `to_tokens`, `hooks`, `hook_dict`,
    `blocks` and `original_model`. Its hook points are a block's input, its output and its heads.

    Args:
        model: a causal language model.
        tokenizer: its tokenizer; needed wherever texts come in or go out.

    Raises:
        ValueError: it is no decoder-only language model, or its blocks cannot be found.
    """

    compatibility_mode = False

    def __init__(self, model: PreTrainedModel, tokenizer: Any = None) -> None:
        config: Any = model.config.get_text_config()
        require_decoder(model, model.config.name_or_path or type(model).__name__)
        self.original_model, self.tokenizer = model, tokenizer
        self.blocks = decoder_blocks(model)
        heads = int(config.num_attention_heads)
        self.cfg = SimpleNamespace(
            model_name=config.name_or_path or type(model).__name__,
            n_layers=len(self.blocks),
            d_model=int(config.hidden_size),
            n_heads=heads,
            # as wide as what a head writes, which latent attention (DeepSeek) names apart from what it compares
            d_head=int(
                getattr(config, "v_head_dim", None) or getattr(config, "head_dim", None) or config.hidden_size // heads
            ),
            n_ctx=int(config.max_position_embeddings),
            d_vocab=int(config.vocab_size),
            device=model.device,
            is_encoder_decoder=False,
        )

    @classmethod
    def from_pretrained(
        cls, name: str | Path = "organism", *, dtype: str | torch.dtype = "float32", device: str | None = None
    ) -> PlainModel:
        """The model and tokenizer of a name, of all that `load_model` takes, without a bridge and the time it takes.

        Raises:
            ValueError: as `load_model` does.
        """
        from transformers import AutoModelForCausalLM, AutoTokenizer

        from odesteer_tl.checkpoints import checkpoint

        number = dtype if isinstance(dtype, torch.dtype) else getattr(torch, dtype)
        target = checkpoint(name, number)
        model = AutoModelForCausalLM.from_pretrained(target, dtype=number).eval()
        return cls(model if device is None else model.to(device), AutoTokenizer.from_pretrained(target))  # pyright: ignore[reportArgumentType]

    @property
    def hook_dict(self) -> dict[str, nn.Module]:
        """The hook points by name."""
        return {
            f"blocks.{i}.{site}": block
            for i, block in enumerate(self.blocks)
            for site in PLACES
            if site != "attn.hook_z" or _projection(block) is not None
        }

    @contextmanager
    def hooks(self, fwd_hooks: Sequence[tuple[str, HookFn]]) -> Generator[PlainModel]:
        """Attach functions `fn(x, hook=None)` to hook points; leaving the block removes them."""
        with attached(self.blocks, fwd_hooks, head_shape(self)):
            yield self

    def to_tokens(
        self, text: str, prepend_bos: bool | None = None, truncate: bool = False, move_to_device: bool = False
    ) -> Tensor:
        """Tokens of a text, [1, pos], none cut off; behind one BOS where a bridge of this architecture puts it.

        Args:
            prepend_bos: whether there is to be a BOS, if the tokenizer has one.
            truncate, move_to_device: taken for the signature; nothing is cut or moved.

        Raises:
            ValueError: `prepend_bos` is left out, and TransformerLens does not know the architecture.
        """
        return with_bos(self.tokenizer, text, self._prepends_bos if prepend_bos is None else prepend_bos)

    @cached_property
    def _prepends_bos(self) -> bool:
        kind = type(self.original_model).__name__
        return prepends_bos(self.original_model.config, kind, self.cfg.model_name)

    def __call__(self, tokens: Tensor, **settings: Any) -> Tensor:
        """Logits."""
        return self.original_model(tokens, **settings).logits


if TYPE_CHECKING:
    #: what the package works on
    Model = TransformerBridge | PlainModel
    #: what it is given
    AnyModel = TransformerBridge | PlainModel | PreTrainedModel
else:  # so that steerers are saved, loaded and served where there is no TransformerLens; `hosted` says what is a model
    Model = AnyModel = Any


def with_bos(tokenizer: Any, text: str, wanted: bool) -> Tensor:
    """Tokens of a text, [1, pos], behind one BOS if it is wanted and the tokenizer has one."""
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    bos = tokenizer.bos_token_id
    if wanted and bos is not None and ids[:1] != [bos]:
        ids = [bos, *ids]
    return torch.tensor([ids])


def prepends_bos(config: Any, kind: str, name: str) -> bool:
    """Whether TransformerLens begins texts of an architecture with a BOS unless told otherwise.

    Args:
        config: of transformers.
        kind: the name of the model's class there.
        name: of the model.

    Raises:
        ValueError: TransformerLens does not know it, or is not installed.
    """
    try:
        from transformer_lens.factories.architecture_adapter_factory import ArchitectureAdapterFactory
        from transformer_lens.model_bridge.sources import build_bridge_config_from_hf

        known = build_bridge_config_from_hf(config, kind, name, torch.float32)
        return bool(ArchitectureAdapterFactory.select_architecture_adapter(known).cfg.default_prepend_bos)
    except (ImportError, ValueError) as error:
        raise ValueError(
            f"prepend_bos=None, and whether texts of a {kind} begin with a BOS is not known here ({error}); pass "
            "prepend_bos=True or False"
        ) from error


def head_shape(model: Model) -> tuple[int, int]:
    """How many heads a block has, and how wide each is in what it writes.

    With latent attention (DeepSeek) that is not what heads compare, which is the width TransformerLens calls d_head.
    """
    config: Any = model.original_model.config
    written = getattr(config.get_text_config(), "v_head_dim", None)
    return int(model.cfg.n_heads), int(written or model.cfg.d_head)


def decoder_blocks(model: PreTrainedModel) -> list[nn.Module]:
    """The blocks of a language model, in order.

    Raises:
        ValueError: no list of modules, or more than one, has the length that the configuration names.
    """
    config: Any = model.config
    n_layers = int(config.get_text_config().num_hidden_layers)
    lists = [(name, part) for name, part in model.named_modules() if isinstance(part, nn.ModuleList)]
    # the blocks are the outermost ones: experts and towers of the same length lie inside
    found = [(name, part) for name, part in lists if len(part) == n_layers]
    outer = [part for name, part in found if not any(name.startswith(f"{other}.") for other, _ in found)]
    if len(outer) != 1:
        raise ValueError(
            f"model={type(model).__name__} has {len(outer)} lists of {n_layers} modules, so that its blocks cannot be "
            "told; load it with odesteer_tl.load_model(name), which knows its architecture"
        )
    return list(outer[0])


@contextmanager
def hooked(model: Model, hooks: Sequence[tuple[str, HookFn]]) -> Generator[PreTrainedModel]:
    """The transformers model with functions attached, to be called as transformers models are.

    A bridge's own modules take part only where something would be missed without them.

    Args:
        hooks: `(name, fn)` pairs, by TransformerLens's names.
    """
    with ExitStack() as stack:
        stack.enter_context(turn(model))
        if isinstance(model, PlainModel):
            stack.enter_context(model.hooks(hooks))
        elif all(_place(name) is not None for name, _ in hooks) and not bridge_needed(model):
            blocks = stack.enter_context(unbridged(model))
            stack.enter_context(attending(model.original_model))
            stack.enter_context(attached(blocks, hooks, head_shape(model)))
        else:
            require_precision(model, Path(str(model.cfg.model_name)).name)
            stack.enter_context(model.hooks(fwd_hooks=list(hooks)))
        yield model.original_model  # pyright: ignore[reportReturnType]


def bridge_needed(model: TransformerBridge) -> bool:
    """Whether something would be missed if the bridge's modules did not run: hooks, overrides, folded weights."""
    from transformer_lens.model_bridge.generalized_components.base import GeneralizedComponent

    if model.compatibility_mode:
        return True
    for part in model.modules():
        ours = type(part).__module__.startswith("transformer_lens")
        if ours and (part._forward_hooks or part._backward_hooks or _foreign(part._forward_pre_hooks.values())):
            return True
        if "forward" in part.__dict__ and isinstance(part, GeneralizedComponent):
            return True
    return False


@contextmanager
def attending(module: Any) -> Generator[None]:
    """The attention that transformers would choose, and no patterns of it, which TransformerLens asks for at loading.

    To be entered where the bridge's modules are out of the way; other choices than TransformerLens's are left alone.
    """
    chosen, before = _chosen_attention(module), _attention(module)
    configs = {id(x): x for x in (module.config, module.config.get_text_config()) if x.output_attentions}
    for config in configs.values():
        config.output_attentions = False
    if chosen != before:
        module.set_attn_implementation(chosen)
    try:
        yield
    finally:
        if chosen != before:  # first: only this attention may be asked for patterns
            module.set_attn_implementation(before)
        for config in configs.values():
            config.output_attentions = True


def attention_of(model: Model) -> str | None:
    """The attention that our own loops run on a model without hooks, by transformers' name of it."""
    module = model.original_model
    alone = not isinstance(model, PlainModel) and not bridge_needed(model)
    return _chosen_attention(module) if alone else _attention(module)


def _attention(module: Any) -> str | None:
    return getattr(module.config, "_attn_implementation", None)


def _chosen_attention(module: Any) -> str | None:
    """What transformers would choose in the place of the eager attention that TransformerLens wants for its hooks."""
    now = _attention(module)
    # scores that are capped before the softmax, and kinds of attention that are classes of their own, stay
    capped = getattr(module.config.get_text_config(), "attn_logit_softcapping", None) is not None
    if now != "eager" or capped or not module._can_set_attn_implementation():
        return now
    return module.get_correct_attn_implementation(None)


@contextmanager
def unbridged(model: TransformerBridge) -> Generator[list[nn.Module]]:
    """The transformers model with its own modules in the places where the bridge has put its; yields its blocks."""
    from transformer_lens.model_bridge.generalized_components.base import GeneralizedComponent

    swapped: list[tuple[nn.Module, str, nn.Module]] = []

    def swap(module: nn.Module) -> None:
        for name, child in module._modules.items():
            if isinstance(child, GeneralizedComponent) and child.original_component is not None:
                swapped.append((module, name, child))
                swap(child.original_component)
            elif child is not None:
                swap(child)

    swap(model.original_model)
    try:
        for module, name, child in swapped:
            module._modules[name] = child.original_component  # pyright: ignore[reportArgumentType]
        yield list(model.blocks)  # the list is the transformers model's own
    finally:
        for module, name, child in swapped:
            module._modules[name] = child


@contextmanager
def attached(
    blocks: Sequence[nn.Module], hooks: Iterable[tuple[str, HookFn]], heads: tuple[int, int]
) -> Generator[None]:
    """Functions attached to blocks of a transformers model, by TransformerLens's names.

    Args:
        heads: how many a block has, and how wide each is.

    Raises:
        ValueError: a name that is no hook point of a plain model.
    """
    with ExitStack() as stack:
        for name, fn in hooks:
            place = _place(name)
            if place is None or not 0 <= place[0] < len(blocks):
                raise ValueError(
                    f"{name!r} is no hook point of a plain model, which has 'blocks.N.' + one of {', '.join(PLACES)}; "
                    "load it with odesteer_tl.load_model(name) for all of TransformerLens's"
                )
            layer, site = place
            handle = PLACES[site](blocks[layer], fn, heads)
            stack.callback(handle.remove)
        yield


def _at_output(block: nn.Module, fn: HookFn, heads: tuple[int, int]) -> Any:
    def hook(module: nn.Module, args: Any, output: Any) -> Any:
        x = output[0] if isinstance(output, tuple) else output
        changed = fn(x, hook=None)
        if changed is None or changed is x:
            return None
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    return block.register_forward_hook(hook)


def _at_input(block: nn.Module, fn: HookFn, heads: tuple[int, int]) -> Any:
    def hook(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> Any:
        x = args[0] if args else kwargs["hidden_states"]
        changed = fn(x, hook=None)
        if changed is None or changed is x:
            return None
        return ((changed, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": changed})

    return block.register_forward_pre_hook(hook, with_kwargs=True)


def _at_heads(block: nn.Module, fn: HookFn, heads: tuple[int, int]) -> Any:
    projection = _projection(block)
    if projection is None:
        raise ValueError(f"{type(block).__name__} has no projection of its heads that is known; use the bridge")

    def hook(module: nn.Module, args: Any) -> Any:
        changed = fn(args[0].unflatten(-1, heads), hook=None)
        return None if changed is None else (changed.flatten(-2), *args[1:])

    return projection.register_forward_pre_hook(hook)


PLACES = {"hook_out": _at_output, "hook_in": _at_input, "hook_resid_pre": _at_input, "attn.hook_z": _at_heads}


def _place(name: str) -> tuple[int, str] | None:
    """(layer, site) of a hook name, where a plain model has it."""
    parts = name.split(".", 2)
    known = len(parts) == 3 and parts[0] == "blocks" and parts[1].isdigit() and parts[2] in PLACES
    return (int(parts[1]), parts[2]) if known else None


def _projection(block: nn.Module) -> nn.Module | None:
    found = [getattr(getattr(block, a), p) for a in ATTENTION if hasattr(block, a)
             for p in PROJECTION if hasattr(getattr(block, a), p)]  # fmt: skip
    return found[0] if len(found) == 1 else None


def _foreign(hooks: Iterable[Any]) -> bool:
    return any(not getattr(hook, "__module__", "").startswith("transformer_lens") for hook in hooks)
