"""Barriers: scores h ≈ log p₊/p₋ on the residual stream."""

from odesteer_tl.barriers.base import Barrier as Barrier
from odesteer_tl.barriers.calibration import Calibration as Calibration
from odesteer_tl.barriers.fourier import FourierBarrier as FourierBarrier
from odesteer_tl.barriers.kernel import KernelBarrier as KernelBarrier
from odesteer_tl.barriers.linear import LinearBarrier as LinearBarrier
from odesteer_tl.barriers.merged import MergedBarrier as MergedBarrier
from odesteer_tl.barriers.quadratic import QuadraticBarrier as QuadraticBarrier
from odesteer_tl.barriers.sketch import SketchBarrier as SketchBarrier

BARRIERS: dict[str, type[Barrier]] = {
    cls.__name__: cls
    for cls in (FourierBarrier, KernelBarrier, LinearBarrier, MergedBarrier, QuadraticBarrier, SketchBarrier)
}
