from .answer import Answer as Answer
from .race import UNSTEERED as UNSTEERED
from .race import Pull as Pull
from .race import Race as Race
from .rules import Rules as Rules
