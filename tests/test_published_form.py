"""The reference of the benchmarks is what the library computes, by another route."""

import pytest
import torch

import odesteer_tl as ode
from analyses.cost.published_form import COMPLEX, REAL, published_euler
from tests.problems import gaussian_classes


@pytest.mark.parametrize("fourier", [COMPLEX, REAL], ids=["complex", "real"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_published_form_ends_where_the_library_does(dtype, fourier):
    barrier = ode.SketchBarrier(n_components=500).fit(*gaussian_classes(100, 32))
    a = 7 * torch.randn(9, 32, dtype=dtype)
    theirs = published_euler(barrier, a, 0.5 * a.norm(dim=-1, keepdim=True), fourier=fourier)
    ours = ode.Flow(angle=0.5, solver="euler").solve(ode.BarrierField(barrier), a).end
    error = (theirs - ours).norm() / ours.norm()
    assert error < (1e-5 if dtype == torch.float32 else 1e-12)
