"""Densities: does steering lead to where positive activations live? Tensors in, frozen results out."""

from odesteer_tl.densities.agreement import Agreement as Agreement
from odesteer_tl.densities.agreement import Line as Line
from odesteer_tl.densities.agreement import agreement as agreement
from odesteer_tl.densities.base import Density as Density
from odesteer_tl.densities.calibration import Fit as Fit
from odesteer_tl.densities.calibration import PairCalibration as PairCalibration
from odesteer_tl.densities.directional import AngularCentralGaussian as AngularCentralGaussian
from odesteer_tl.densities.directional import TangentGaussian as TangentGaussian
from odesteer_tl.densities.gaussian import PPCA as PPCA
from odesteer_tl.densities.gaussian import FactorAnalysis as FactorAnalysis
from odesteer_tl.densities.gaussian import Gaussian as Gaussian
from odesteer_tl.densities.gaussian import ShrunkGaussian as ShrunkGaussian
from odesteer_tl.densities.mixture import MixturePPCA as MixturePPCA
from odesteer_tl.densities.pair import DensityPair as DensityPair
from odesteer_tl.densities.path import PathScore as PathScore
from odesteer_tl.densities.path import score_path as score_path
from odesteer_tl.densities.registry import DENSITIES as DENSITIES
from odesteer_tl.densities.selection import Selection as Selection
from odesteer_tl.densities.selection import ambient_candidates as ambient_candidates
from odesteer_tl.densities.selection import directional_candidates as directional_candidates
from odesteer_tl.densities.selection import select_density as select_density
from odesteer_tl.densities.selection import tied_candidates as tied_candidates
from odesteer_tl.densities.selection import tied_directional_candidates as tied_directional_candidates
from odesteer_tl.densities.sphere import Chart as Chart
from odesteer_tl.densities.splits import Splits as Splits
