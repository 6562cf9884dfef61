"""Pictures for notebooks, `ode.jupyter`: paths, layers, likelihood and coloured tokens.

Nothing else in the package imports this, and matplotlib is imported when it is first used. The plots take and return
matplotlib Axes and never show them.
"""

from odesteer_tl.jupyter.curves import plot_layers as plot_layers
from odesteer_tl.jupyter.curves import plot_likelihood as plot_likelihood
from odesteer_tl.jupyter.curves import plot_path as plot_path
from odesteer_tl.jupyter.examples import example_texts as example_texts
from odesteer_tl.jupyter.tokens import ColoredTokens as ColoredTokens
from odesteer_tl.jupyter.tokens import TokenRow as TokenRow
from odesteer_tl.jupyter.tokens import color_tokens as color_tokens
