"""odesteer_tl: study activation steering as a dynamical system, on TransformerLens.

Texts → activations → barrier → field → flow → hook; see the README for ten lines that run. The public names stand in
`__init__.pyi` and are imported when first used, so that the package costs nothing until then.
"""

from odesteer_tl._lazy import attach_stub

__version__ = "0.2.0"

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
