"""Certificates: what can be proved of a barrier and of a path. Tensors in, frozen results out."""

from odesteer_tl.certify.cap import CapBound as CapBound
from odesteer_tl.certify.cap import cap_bound as cap_bound
from odesteer_tl.certify.curvature import geodesic_curvature as geodesic_curvature
from odesteer_tl.certify.curvature import quadratic_share as quadratic_share
from odesteer_tl.certify.curvature import reach_angle as reach_angle
from odesteer_tl.certify.curvature import reversals as reversals
from odesteer_tl.certify.landscape import Ceiling as Ceiling
from odesteer_tl.certify.landscape import Landscape as Landscape
from odesteer_tl.certify.landscape import ceiling as ceiling
from odesteer_tl.certify.landscape import landscape as landscape
from odesteer_tl.certify.level import LevelCertificate as LevelCertificate
from odesteer_tl.certify.level import certify_level as certify_level
from odesteer_tl.certify.population import RateBound as RateBound
from odesteer_tl.certify.population import conformal_lower as conformal_lower
from odesteer_tl.certify.population import rate_bound as rate_bound
from odesteer_tl.certify.robustness import Radius as Radius
from odesteer_tl.certify.robustness import certified_radius as certified_radius
from odesteer_tl.certify.segment import PathCertificate as PathCertificate
from odesteer_tl.certify.segment import certify_path as certify_path
from odesteer_tl.certify.several import SetCertificate as SetCertificate
from odesteer_tl.certify.several import certify_levels as certify_levels
from odesteer_tl.certify.whole import WholeCertificate as WholeCertificate
from odesteer_tl.certify.whole import certify_whole as certify_whole
from odesteer_tl.certify.written import WrittenCertificate as WrittenCertificate
from odesteer_tl.certify.written import certify_written as certify_written
