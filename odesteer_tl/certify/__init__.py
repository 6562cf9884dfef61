"""Certificates: what can be proved of a barrier and of a path. Tensors in, frozen results out."""

from odesteer_tl.certify.cap import CapBound as CapBound
from odesteer_tl.certify.cap import cap_bound as cap_bound
from odesteer_tl.certify.landscape import Ceiling as Ceiling
from odesteer_tl.certify.landscape import ceiling as ceiling
from odesteer_tl.certify.segment import PathCertificate as PathCertificate
from odesteer_tl.certify.segment import certify_path as certify_path
