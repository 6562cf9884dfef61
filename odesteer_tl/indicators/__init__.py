"""Mechanistic indicators: what a next-token distribution says about a steer (after arXiv 2602.01716)."""

from odesteer_tl.indicators.distribution import branching_factor as branching_factor
from odesteer_tl.indicators.distribution import divergence as divergence
from odesteer_tl.indicators.distribution import entropy as entropy
from odesteer_tl.indicators.distribution import restricted_divergence as restricted_divergence
from odesteer_tl.indicators.series import STATISTICS as STATISTICS
from odesteer_tl.indicators.series import summarise as summarise
