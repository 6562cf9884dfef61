"""Methods: one file each, all of them functions from activations to a field, entered in `METHODS`."""

from odesteer_tl.methods.caa import caa as caa
from odesteer_tl.methods.fit import fit as fit
from odesteer_tl.methods.iti import iti as iti
from odesteer_tl.methods.odesteer import odesteer as odesteer
from odesteer_tl.methods.odesteer import odesteer_kernel as odesteer_kernel
from odesteer_tl.methods.odesteer import odesteer_rff as odesteer_rff
from odesteer_tl.methods.random_direction import random_direction as random_direction
from odesteer_tl.methods.registry import METHODS as METHODS
from odesteer_tl.methods.registry import Method as Method
from odesteer_tl.methods.registry import register as register
from odesteer_tl.methods.repe import repe as repe
