"""What a steer does, at a matched budget: one tidy row a prompt × layer × method × budget.

`Plan` is what is decided without a model, `Material` what cells share, `measure` computes one cell; layer studies and
method comparisons are sweeps over them. Names are imported when first used, so that a plan is checked before torch is.
"""

from odesteer_tl._lazy import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
