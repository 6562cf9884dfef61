"""Running a study: what is missing goes to the executor, until nothing is missing or nothing moves any more."""

from __future__ import annotations

import json
import platform
import sys
import threading
import time
from collections.abc import Generator
from concurrent.futures import BrokenExecutor, Executor, Future, as_completed
from contextlib import contextmanager
from pathlib import Path

from tqdm.auto import tqdm

from analyses.runs import code
from analyses.sweep.executors import open_executor, require_sendable
from analyses.sweep.store import Status, Store
from analyses.sweep.study import Study
from analyses.sweep.worker import Group, run_group

#: rounds in a row in which workers died and no cell was finished, after which the run ends
PATIENCE = 3
#: seconds between lines of progress where the output is no terminal
LINE = 60.0


class WorkersLost(Exception):
    """Workers die before they finish a cell, time and again."""


class IncompleteStudy(Exception):
    """Cells failed; the others are kept."""


def finish(study: Study, root: Path, executor: str | Executor = "local", progress: bool = True) -> Path:
    """`run`, and the study's directory, which then holds a whole `table.parquet`.

    Raises:
        IncompleteStudy: a cell failed.
        Exception: whatever `run` raises.
    """
    status, store = run(study, root, executor, progress), Store.of(study, root)
    directory = store.directory
    if not status.complete:
        first = next((cell.key for cell in study.keyed if cell.key in store.failed()), None)
        error = f", the first with {store.failure(first)['error']}" if first else ""
        raise IncompleteStudy(
            f"{status}{error}; see `python -m analyses.sweep status {directory}` for the errors, and run again: "
            "finished cells are kept"
        )
    return directory


def run(study: Study, root: Path, executor: str | Executor = "local", progress: bool = True) -> Status:
    """Run the cells of a study that are not done, write the table, and say how far the study is.

    Safe to interrupt, to kill and to run again: finished cells are never run twice, failed ones are tried anew. What a
    dead worker left undone is sent out again. The folder must be seen by all workers.

    Args:
        root: the study's directory is made here, as `<name>-<hash>`.
        executor: a string as `open_executor` takes it, or an executor, which is left open.

    Raises:
        StoreError: the results cannot be written.
        WorkersLost: workers died `PATIENCE` rounds in a row without finishing a cell.
        WillRepeat: a cell failed for a reason that every other cell would meet.
        ValueError: the cells cannot be sent to other processes.
        Exception: whatever making the context raises.
    """
    require_sendable(executor, function=study.function, context=study.context)
    store = Store.of(study, root)
    started = time.time()
    store.forget_failures()
    with _bar(study, store, progress):
        _run_rounds(study, store, executor)
    store.enter(study)  # another run may have named its own cells since
    store.save_table()
    status = store.status(study)
    content = {
        "status": {"done": status.done, "failed": status.failed, "missing": status.missing},
        "seconds": round(time.time() - started, 3),
        "executor": executor if isinstance(executor, str) else type(executor).__name__,
        "python": platform.python_version(),
        **code(),
    }
    store.write("run.json", json.dumps(content, indent=2).encode())
    return status


def _run_rounds(study: Study, store: Store, executor: str | Executor) -> None:
    """Send out what is missing; after a round in which workers died, what is still missing, on new ones."""
    idle = 0
    while groups := _missing(study, store):
        before = len(store.finished())
        lost = _run_round(groups, store, executor)
        if lost is None:
            return
        idle = 0 if len(store.finished()) > before else idle + 1
        if idle == PATIENCE:
            cells = [dict(cell.config) for group in groups for cell in group.cells[:1]]
            raise WorkersLost(
                f"workers died {PATIENCE} times in a row without finishing a cell ({lost!r}); memory is the usual "
                f"reason: look at cell {cells[0]} by itself with executor='local'"
            ) from lost


def _missing(study: Study, store: Store) -> list[Group]:
    """The groups with cells that are neither done nor recorded as failed in this run."""
    settled = store.finished() | store.failed()
    left = [tuple(cell for cell in cells if cell.key not in settled) for cells in study.groups]
    return [Group(study.digest, study.function, study.context, store, cells) for cells in left if cells]


def _run_round(groups: list[Group], store: Store, executor: str | Executor) -> Exception | None:
    """Run groups; returns the last error by which a worker was lost, and raises any error of ours."""
    lost: Exception | None = None
    with open_executor(executor, store.directory / "jobs") as pool:
        futures: list[Future[None]] = []
        try:
            for group in groups:
                futures.append(pool.submit(run_group, group))
                if futures[-1].done() and futures[-1].exception() is not None:
                    break  # in this process: the next cell would be computed for nothing
        except BrokenExecutor as error:
            lost = error
        try:
            for future in as_completed(futures):
                error = future.exception()
                if error is None:
                    continue
                if not isinstance(error, Exception) or not _is_loss(error):
                    raise error
                lost = error
        finally:
            for future in futures:
                future.cancel()
    return lost


def _is_loss(error: Exception) -> bool:
    """Whether an error says that a worker died, in the words of each executor (whose libraries are optional)."""
    # submitit's FailedJobError, a kind of UncompletedJobError, says that our code raised: that is no loss
    return isinstance(error, BrokenExecutor) or type(error).__name__ in {"KilledWorker", "UncompletedJobError"}


@contextmanager
def _bar(study: Study, store: Store, progress: bool) -> Generator[None]:
    """A progress bar of finished cells with the time left, counted on disk: it sees every executor's, and others'."""
    keys = {cell.key for cell in study.keyed}
    terminal = sys.stderr.isatty()
    with tqdm(total=len(keys), initial=len(keys & store.finished()), desc=study.name, unit="cell",
              disable=not progress, mininterval=0.1 if terminal else LINE, maxinterval=10 if terminal else 2 * LINE,
              ) as bar:  # fmt: skip
        ended = threading.Event()

        def count() -> None:
            bar.n = len(keys & store.finished())
            bar.set_postfix_str(f"{len(keys & store.failed())} failed", refresh=False)
            if time.time() - (getattr(bar, "last_print_t", 0)) >= bar.mininterval:
                bar.refresh()
                if not terminal:
                    print(file=sys.stderr)
                bar.last_print_t = time.time()

        def watch() -> None:
            while not ended.wait(0.5):
                count()

        thread = threading.Thread(target=watch, daemon=True)
        if progress:
            thread.start()
        try:
            yield
        finally:
            ended.set()
            if progress:
                thread.join()
                count()
