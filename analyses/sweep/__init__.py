"""Sweeps: many cells of one computation, run on any executor, each finished one kept whatever happens next.

    study = Study(name="layers", function=score, context=load, settings=…, version="1", cells=…, group="layer")
    status = run(study, Path("results"), executor="processes:2")

`python -m analyses.sweep status DIR` and `report DIR` look at one from outside.
"""

from analyses.sweep.check import require_numbers as require_numbers
from analyses.sweep.engine import IncompleteStudy as IncompleteStudy
from analyses.sweep.engine import finish as finish
from analyses.sweep.engine import run as run
from analyses.sweep.executors import SerialExecutor as SerialExecutor
from analyses.sweep.executors import SubmititExecutor as SubmititExecutor
from analyses.sweep.executors import open_executor as open_executor
from analyses.sweep.executors import require_executor as require_executor
from analyses.sweep.store import Status as Status
from analyses.sweep.store import Store as Store
from analyses.sweep.store import StoreError as StoreError
from analyses.sweep.study import Cell as Cell
from analyses.sweep.study import Config as Config
from analyses.sweep.study import Refused as Refused
from analyses.sweep.study import Study as Study
from analyses.sweep.worker import WillRepeat as WillRepeat
