"""Plain models: a transformers model as it is, under TransformerLens's names, and the one inside a bridge at its speed.

A bridge runs the same weights through Python of its own, which takes time (`python -m analyses.bench --only real`).
What needs none of it (our own loops of generating and collecting, where no hook of the user's is set) runs the
transformers model itself, with the same functions attached to the same places.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from odesteer_tl._turn import turn
from odesteer_tl.abilities import require_decoder, require_precision
from odesteer_tl.attached import PLACES, HookFn, attached, place_of, projection_of
from odesteer_tl.unbridged import attending, attention, bridge_needed, chosen_attention, unbridged

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import PreTrainedModel


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
            if site != "attn.hook_z" or projection_of(block) is not None
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
        elif all(place_of(name) is not None for name, _ in hooks) and not bridge_needed(model):
            blocks = stack.enter_context(unbridged(model))
            stack.enter_context(attending(model.original_model))
            stack.enter_context(attached(blocks, hooks, head_shape(model)))
        else:
            require_precision(model, Path(str(model.cfg.model_name)).name)
            stack.enter_context(model.hooks(fwd_hooks=list(hooks)))
        yield model.original_model  # pyright: ignore[reportReturnType]


def attention_of(model: Model) -> str | None:
    """The attention that our own loops run on a model without hooks, by transformers' name of it."""
    module = model.original_model
    alone = not isinstance(model, PlainModel) and not bridge_needed(model)
    return chosen_attention(module) if alone else attention(module)
