"""What a steer does, at a matched budget: one tidy row a prompt × layer × method × budget.

`Material` is what cells share, `measure` computes one cell; layer studies and method comparisons are sweeps over them.
"""

from analyses.effects.arms import LAYER_ARMS as LAYER_ARMS
from analyses.effects.arms import Arm as Arm
from analyses.effects.cell import measure as measure
from analyses.effects.material import Material as Material
from analyses.effects.plan import Given as Given
from analyses.effects.plan import Plan as Plan
from analyses.effects.settings import EffectSettings as EffectSettings
from analyses.effects.study import effect_study as effect_study
