"""odesteer_tl: study activation steering as a dynamical system, on TransformerLens.

Texts → activations → barrier → field → flow → hook; see the README for ten lines that run.
"""

from odesteer_tl import certify as certify
from odesteer_tl import densities as densities
from odesteer_tl import organism as organism
from odesteer_tl import stats as stats
from odesteer_tl.activations import Activations as Activations
from odesteer_tl.activations import LayerActivations as LayerActivations
from odesteer_tl.activations import collect_activations as collect_activations
from odesteer_tl.barriers import Barrier as Barrier
from odesteer_tl.barriers import Calibration as Calibration
from odesteer_tl.barriers import FourierBarrier as FourierBarrier
from odesteer_tl.barriers import KernelBarrier as KernelBarrier
from odesteer_tl.barriers import LinearBarrier as LinearBarrier
from odesteer_tl.barriers import QuadraticBarrier as QuadraticBarrier
from odesteer_tl.barriers import SketchBarrier as SketchBarrier
from odesteer_tl.certify import CapBound as CapBound
from odesteer_tl.certify import Ceiling as Ceiling
from odesteer_tl.certify import Landscape as Landscape
from odesteer_tl.certify import LevelCertificate as LevelCertificate
from odesteer_tl.certify import PathCertificate as PathCertificate
from odesteer_tl.certify import cap_bound as cap_bound
from odesteer_tl.certify import ceiling as ceiling
from odesteer_tl.certify import certify_level as certify_level
from odesteer_tl.certify import certify_path as certify_path
from odesteer_tl.certify import landscape as landscape
from odesteer_tl.composition import Composition as Composition
from odesteer_tl.composition import compose as compose
from odesteer_tl.contrast import ContrastSet as ContrastSet
from odesteer_tl.decoding import Decider as Decider
from odesteer_tl.decoding import stem_rule as stem_rule
from odesteer_tl.densities import DensityPair as DensityPair
from odesteer_tl.densities import score_path as score_path
from odesteer_tl.densities import select_density as select_density
from odesteer_tl.fields import BarrierField as BarrierField
from odesteer_tl.fields import ConstantField as ConstantField
from odesteer_tl.fields import VectorField as VectorField
from odesteer_tl.flow import Flow as Flow
from odesteer_tl.flow import Path as Path
from odesteer_tl.generation import generate as generate
from odesteer_tl.interchange import read_control_vector as read_control_vector
from odesteer_tl.interchange import write_control_vector as write_control_vector
from odesteer_tl.methods import METHODS as METHODS
from odesteer_tl.methods import fit as fit
from odesteer_tl.methods import register as register
from odesteer_tl.models import ModelIdentity as ModelIdentity
from odesteer_tl.models import load_model as load_model
from odesteer_tl.steerer import Steerer as Steerer
from odesteer_tl.suffix import Prefix as Prefix
from odesteer_tl.suffix import collect_prefix as collect_prefix

__version__ = "0.1.0"
