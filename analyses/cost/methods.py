"""What each method adds to a generated token: its steering call against a token's forward pass.

`make bench`, group "methods".
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from tqdm.auto import tqdm
from transformer_lens.model_bridge import TransformerBridge

import odesteer_tl as ode
from analyses.cost.material import Row, classes, row
from analyses.cost.timing import interleaved
from odesteer_tl.sites import BLOCK_OUTPUT


def method_rows(model: TransformerBridge, batch: int = 8, cached: int = 32) -> Iterator[Row]:
    """One row a method: (pass + call) / pass for one new token of `batch` texts behind `cached` ones in a KV cache.

    Every method at its own number of steps and 0.3 rad, fitted on two synthetic classes of the model's width.
    """
    d = int(model.cfg.d_model)
    positive, negative = classes(200, d)
    a = 20 * torch.randn(batch, d, generator=torch.Generator().manual_seed(1))
    tokens = torch.randint(5, 180, (batch, cached + 1), generator=torch.Generator().manual_seed(0))

    @torch.no_grad()
    def cache() -> object:
        return model(tokens[:, :cached], return_type="logits_and_cache", use_cache=True)[1]

    past = cache()

    @torch.no_grad()
    def token() -> None:
        model(tokens[:, cached:], past_key_values=past, return_type="logits")
        past.crop(-1)  # pyright: ignore[reportAttributeAccessIssue]

    for name, method in tqdm(ode.METHODS.items(), desc="methods", leave=False):
        if method.train is not None:  # through a model that says something, which this one does not
            continue
        heads = (int(model.cfg.n_heads), -1) if method.site != BLOCK_OUTPUT else (-1,)
        field = method.fit(positive.unflatten(1, heads), negative.unflatten(1, heads), 0)
        flow = ode.Flow(angle=0.3, steps=method.steps, solver=method.solver)
        call, forward = interleaved(lambda: flow.solve(field, a), token, rounds=9)  # noqa: B023
        yield row(f"a token of {batch} texts with {name} against without", "", forward + call, forward)
