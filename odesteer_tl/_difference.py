"""Whether two classes of activations differ by more than rounding."""

import torch
from scipy.stats import wasserstein_distance
from torch import Tensor

#: classes whose distributions are nearer than this share of their norm differ by the rounding of a float32 pass
COINCIDE = 1e-5
#: random directions on which the classes are compared
PROJECTIONS = 16


class NoDifference(ValueError):
    """What must differ is the same within rounding: two classes' activations, mean features or scores, or one's rows.

    Of a layer where that is so nothing can be learned: a study of several layers says so and goes on with the others.
    """


def require_different(positive: Tensor, negative: Tensor) -> None:
    """Raise `NoDifference` if both classes are one sample within rounding, whatever the order of its rows.

    Compared are their one-dimensional projections, sorted: the Wasserstein distance on each of a few random directions
    (sliced Wasserstein, Bonneel et al. 2015) moves by no more than the rows do, and none is 0 for different samples but
    by chance. All that is learned from such classes is the direction of the rounding.
    """
    scale = torch.cat([positive, negative]).flatten(1).double().norm(dim=-1).median()
    x, y = (part.detach().cpu().flatten(1).double() / scale for part in (positive, negative))
    directions = torch.randn(x.shape[1], PROJECTIONS, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    first, second = (x @ directions).numpy(), (y @ directions).numpy()
    if all(wasserstein_distance(a, b) <= COINCIDE for a, b in zip(first.T, second.T, strict=True)):
        raise NoDifference(
            f"positive ({len(x)} rows) and negative ({len(y)} rows) are the same activations within rounding: there is "
            "no difference to learn at this layer and position; use other texts, another layer or another position"
        )
