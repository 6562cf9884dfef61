"""Densities by name, for what is saved."""

from odesteer_tl.densities.base import Density
from odesteer_tl.densities.directional import AngularCentralGaussian, TangentGaussian
from odesteer_tl.densities.gaussian import PPCA, FactorAnalysis, ShrunkGaussian
from odesteer_tl.densities.mixture import MixturePPCA

DENSITIES: dict[str, type[Density]] = {
    cls.__name__: cls
    for cls in (AngularCentralGaussian, FactorAnalysis, MixturePPCA, PPCA, ShrunkGaussian, TangentGaussian)
}
