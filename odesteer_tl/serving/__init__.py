"""Serving: the same steering inside an inference engine, vLLM with the plugin vllm-lens, counted and checked.

Workers load a saved steerer by its path, and need neither TransformerLens nor pandas. See the guide's page *Serving*.
"""

from odesteer_tl._lazy import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
