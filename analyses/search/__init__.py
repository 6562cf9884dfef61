"""Which of many arms is best, for a part of what asking all of them costs, with a statement that holds.

`Race` says what to ask next and what is known so far; it knows of no model. `guarantee` holds the tests behind what is
said, `looking` decides where to look first, which the guarantee never depends on.
"""

from analyses.search.answer import Answer as Answer
from analyses.search.race import UNSTEERED as UNSTEERED
from analyses.search.race import Pull as Pull
from analyses.search.race import Race as Race
from analyses.search.rules import Rules as Rules
