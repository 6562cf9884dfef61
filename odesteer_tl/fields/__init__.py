"""Fields: velocities da/dt = v(a) on the residual stream."""

from odesteer_tl.fields.barrier import BarrierField as BarrierField
from odesteer_tl.fields.base import VectorField as VectorField
from odesteer_tl.fields.constant import ConstantField as ConstantField

FIELDS: dict[str, type[VectorField]] = {cls.__name__: cls for cls in (BarrierField, ConstantField)}
