"""Statistics of what we report: intervals, bands along curves, corrected and equivalence tests."""

from odesteer_tl.stats.comparisons import Equivalence as Equivalence
from odesteer_tl.stats.comparisons import difference_pvalue as difference_pvalue
from odesteer_tl.stats.comparisons import equivalence as equivalence
from odesteer_tl.stats.comparisons import holm as holm
from odesteer_tl.stats.curves import Band as Band
from odesteer_tl.stats.curves import mean_band as mean_band
from odesteer_tl.stats.curves import peak as peak
from odesteer_tl.stats.curves import share_band as share_band
from odesteer_tl.stats.intervals import LEAST as LEAST
from odesteer_tl.stats.intervals import Estimate as Estimate
from odesteer_tl.stats.intervals import mean as mean
from odesteer_tl.stats.intervals import median as median
from odesteer_tl.stats.intervals import paired_difference as paired_difference
from odesteer_tl.stats.intervals import share as share
from odesteer_tl.stats.ranking import areas as areas
from odesteer_tl.stats.ranking import auc as auc
from odesteer_tl.stats.ranking import rank_correlation as rank_correlation
from odesteer_tl.stats.sequences import confidence_sequence as confidence_sequence
