"""A study holds next-token logits of a few positions at a time, however many prompts it has, and keeps fewer still."""

import gc

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from analyses.effects import LAYER_ARMS, Arm, EffectSettings, Material, measure, next_token, options, writing
from analyses.effects.judging import Judging
from analyses.effects.steer import Steer
from analyses.effects.study import UNSTEERED
from analyses.outcomes import Completions

#: prompts, and positions whose logits may be held at once
N, ROWS = 14, 7


def storages(tree):
    return {x.untyped_storage().data_ptr() for x in tree_leaves(tree) if isinstance(x, torch.Tensor)}


class LogitsMade(TorchDispatchMode):
    """The most rows as wide as the vocabulary that one operation makes; views of weights are none."""

    def __init__(self, vocabulary):
        super().__init__()
        self.vocabulary, self.most = vocabulary, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        known = storages((args, kwargs))
        out = func(*args, **(kwargs or {}))
        for x in tree_leaves(out):
            wide = isinstance(x, torch.Tensor) and x.ndim > 1 and x.shape[-1] == self.vocabulary
            if wide and x.untyped_storage().data_ptr() not in known:
                self.most = max(self.most, x.numel() // self.vocabulary)
        return out


def kept(model):
    """Rows of logits that anything still holds."""
    weights = storages(list(model.original_model.parameters()))
    found = {x.untyped_storage().data_ptr(): x.numel() // int(model.cfg.d_vocab) for x in gc.get_objects()
             if issubclass(type(x), torch.Tensor) and x.ndim > 1 and x.shape[-1] == int(model.cfg.d_vocab)}  # fmt: skip
    return sum(rows for key, rows in found.items() if key not in weights)


def test_no_step_holds_the_logits_of_all_prompts_and_positions(monkeypatch, organism):
    vocabulary = int(organism.cfg.d_vocab)
    for module in (next_token, options):
        monkeypatch.setattr(module, "READ", ROWS * vocabulary)
    monkeypatch.setattr(next_token, "KEPT", ROWS * vocabulary)
    monkeypatch.setattr(writing, "LOGITS", ROWS * vocabulary)
    settings = EffectSettings(pairs=40, cross_fit=True, select=2, test=N - 2, max_new_tokens=2,
                              measures=("cost", "text"))  # fmt: skip
    material = Material(settings)
    gc.collect()
    before = kept(material.model)
    with LogitsMade(vocabulary) as made:
        measure(material, UNSTEERED)
        for arm, layer in ((LAYER_ARMS[1], 2), (Arm.of("iti_heads"), 4)):
            cell = {"label": arm.label, "method": arm.method, "solver": arm.solver, "steps": arm.steps}
            measure(material, {**cell, "layer": layer, "budget": "kl", "level": 0.02})
        both = Completions.alike("pets", [" the dog", " the big cat"], [" the lamp"])
        strength = torch.full((N,), 0.2, dtype=torch.float64)
        judging = Judging(material.model, material.plan.prompts, both, lambda: material.states)
        judging.frame(None, Steer(material.layer(2), LAYER_ARMS[1], strength))
    gc.collect()
    assert made.most <= N  # of a pass that makes keys and values: one position a prompt
    assert kept(material.model) - before <= 2 * ROWS  # of the passage, and of all positions of the prompts


def test_of_completions_only_one_layers_residuals_are_kept(organism):
    """Not every completion's own copy of the prompt's keys and values, which are gigabytes of a real model."""
    each = [f" the {noun} and the {other}" for noun in ("dog", "cat", "lamp") for other in ("sun", "sea", "rain")]
    asked = options.Options(organism, ["The dog saw the cat and the big lamp by the sea. " * 3] * 4, [each] * 4)
    gc.collect()
    before = held()
    asked.log_likelihoods(None)
    gc.collect()
    columns = sum(run.tokens.numel() + len(run.having) for run in asked.runs)  # the prompt's last token as well
    assert 0 < held() - before <= 1.5 * columns * int(organism.cfg.d_model) * 4


def held():
    """Bytes in tensors that anything still holds."""
    found = {x.untyped_storage().data_ptr(): x.untyped_storage().nbytes() for x in gc.get_objects()
             if issubclass(type(x), torch.Tensor)}  # fmt: skip
    return sum(found.values())
