"""Who says whether a steer worked: a judge of texts, or completions whose probability is asked for.

`open_outcome(spelled)` makes one of how it is spelled on a command line, of a callable `(prompts, texts) → scores`, or
takes one as it is. Nothing here needs a model.
"""

from analyses.outcomes.base import TextOutcome as TextOutcome
from analyses.outcomes.completions import Completions as Completions
from analyses.outcomes.completions import Outcome as Outcome
from analyses.outcomes.spelled import open_outcome as open_outcome
