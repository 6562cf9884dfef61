"""Tables of an effect study: profiles, choice without cheating, areas at equal KL, anti-steerable prompts.

The unit is the prompt throughout, unless rows have a `unit`: prompts that are judged by the same texts share one, and
what is judged is then of units, each the mean of its prompts. `report` rows are of the test prompts alone.
"""

from analyses.effects.tables.choosing import LOST as LOST
from analyses.effects.tables.choosing import RULE as RULE
from analyses.effects.tables.choosing import best as best
from analyses.effects.tables.choosing import choices as choices
from analyses.effects.tables.choosing import fluency_lost as fluency_lost
from analyses.effects.tables.differences import anti_steerable as anti_steerable
from analyses.effects.tables.differences import areas as areas
from analyses.effects.tables.differences import at_chosen as at_chosen
from analyses.effects.tables.differences import contrasts as contrasts
from analyses.effects.tables.differences import least_changed as least_changed
from analyses.effects.tables.headroom import headroom as headroom
from analyses.effects.tables.headroom import measure as measure
from analyses.effects.tables.profiles import LEAST as LEAST
from analyses.effects.tables.profiles import changes as changes
from analyses.effects.tables.profiles import frontier as frontier
from analyses.effects.tables.profiles import profile as profile
from analyses.effects.tables.profiles import survival as survival
from analyses.effects.tables.profiles import with_score_intervals as with_score_intervals
from analyses.effects.tables.rows import ALPHA as ALPHA
from analyses.effects.tables.rows import CELL as CELL
from analyses.effects.tables.rows import PROBE as PROBE
from analyses.effects.tables.rows import UNSTEERED as UNSTEERED
from analyses.effects.tables.rows import groups as groups
from analyses.effects.tables.rows import of_cell as of_cell
