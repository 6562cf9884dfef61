"""Activations: residual-stream states of a contrast set, all layers from one forward pass."""

from odesteer_tl.activations.collect import collect_activations as collect_activations
from odesteer_tl.activations.collected import Activations as Activations
from odesteer_tl.activations.collected import LayerActivations as LayerActivations
from odesteer_tl.reading import Pool as Pool
