"""Which of many candidates is best, for a part of what asking all of them costs, with a statement that holds.

`Race` says what to ask next and what is known so far; it knows of no model. `guarantee` holds the tests behind what is
said, `looking` decides where to look first, which the guarantee never depends on.
"""

from odesteer_tl._lazy import attach_stub

# settings are read before what needs scipy and torch is imported
__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
