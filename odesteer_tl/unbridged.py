"""The transformers model inside a bridge: whether it can run without the bridge's modules, and how they step aside."""

# torch has no public list of a module's hooks, nor another way to put one module in another's place
# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from torch import nn

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


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
def attending(module: Any) -> Generator[None]:
    """The attention that transformers would choose, and no patterns of it, which TransformerLens asks for at loading.

    To be entered where the bridge's modules are out of the way; other choices than TransformerLens's are left alone.
    """
    chosen, before = chosen_attention(module), attention(module)
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


def attention(module: Any) -> str | None:
    """The attention that a transformers model runs, by transformers' name of it."""
    return getattr(module.config, "_attn_implementation", None)


def chosen_attention(module: Any) -> str | None:
    """What transformers would choose in the place of the eager attention that TransformerLens wants for its hooks."""
    now = attention(module)
    # scores that are capped before the softmax, and kinds of attention that are classes of their own, stay
    capped = getattr(module.config.get_text_config(), "attn_logit_softcapping", None) is not None
    if now != "eager" or capped or not module._can_set_attn_implementation():
        return now
    return module.get_correct_attn_implementation(None)


def _foreign(hooks: Iterable[Any]) -> bool:
    return any(not getattr(hook, "__module__", "").startswith("transformer_lens") for hook in hooks)
