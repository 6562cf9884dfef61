"""Executors: one string says where the cells run, and anything with `concurrent.futures`' interface will do."""

from __future__ import annotations

import multiprocessing
import os
import re
import sys
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

KIND = re.compile(r"local|processes:0*[1-9]\d*|dask://.+|slurm(:[^=,]+=[^,]*(,[^=,]+=[^,]*)*)?")
KINDS = "local, processes:N, dask://host:port, slurm or slurm:name=value,name=value"


class SerialExecutor(Executor):
    """Runs every call at once, in this thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call, and return the finished future; Ctrl-C goes through."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class SubmititExecutor(Executor):
    """Runs every call as a job of submitit: SLURM, or processes of this machine.

    Args:
        folder: for submitit's pickles and logs; all nodes must see it.
        cluster: "slurm", or "local".
        jobs: how many may be queued or running at once.
        parameters: submitit's, e.g. `timeout_min`, `slurm_partition`, `gpus_per_node`.

    Raises:
        ValueError: a parameter submitit does not know.
    """

    def __init__(self, folder: Path, cluster: str = "slurm", jobs: int = 64, parameters: dict[str, Any] | None = None):
        try:
            import submitit
        except ImportError as error:
            raise ValueError("executor 'slurm' needs submitit; install odesteer_tl[slurm]") from error
        try:
            self._jobs = submitit.AutoExecutor(folder=folder, cluster=cluster)
            self._jobs.update_parameters(**(parameters or {}))
        except (NameError, RuntimeError) as error:
            raise ValueError(f"executor {cluster!r} with {parameters or {}}: {error}") from error
        self._lock = threading.Lock()
        # a waiting thread a job: submitit's jobs are polled, they do not call back
        self._threads = ThreadPoolExecutor(jobs)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Queue a job; its future fails if the job dies, e.g. out of time or memory."""
        return self._threads.submit(self._wait, fn, *args, **kwargs)

    def _wait(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        with self._lock:
            job = self._jobs.submit(fn, *args, **kwargs)
        return job.result()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """As in `concurrent.futures`; jobs that are queued or running go on."""
        self._threads.shutdown(wait, cancel_futures=cancel_futures)


def require_executor(kind: str | Executor) -> None:
    """Raise `ValueError` unless a string names a kind of executor; whether it can be had is seen when it is opened."""
    if not isinstance(kind, str) or KIND.fullmatch(kind):
        return
    raise ValueError(f"executor={kind!r} is unknown; use {KINDS}")


def require_sendable(kind: str | Executor, **called: Callable[..., Any]) -> None:
    """Raise `ValueError` if spawned processes could not import what is called, by the name of its argument.

    They import the script that was started, but neither a package's `__main__` nor what was typed into a notebook: a
    worker that looks for it dies without a word.
    """
    if not (isinstance(kind, ProcessPoolExecutor) or (isinstance(kind, str) and kind.startswith("processes"))):
        return
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if hasattr(main, "__file__") and not (spec and spec.name.endswith("__main__")):
        return
    for name, x in called.items():
        made = x.func if isinstance(x, partial) else x
        if made.__module__ == "__main__":
            raise ValueError(
                f"executor={kind!r}: {name}={made!r} was defined in a notebook, on the command line or in a package's "
                f"__main__, where other processes cannot import it; put it into a module, or use executor='local'"
            )


@contextmanager
def open_executor(kind: str | Executor, folder: Path) -> Generator[Executor]:
    """The executor that `--executor` names; an executor given as such is used and left open.

    Args:
        kind: `local` (this process), `processes:4` (spawned), `dask://host:port` (a running scheduler), `slurm` or
            `slurm:timeout_min=60,slurm_partition=gpu` (parameters are submitit's).
        folder: where an executor may keep its logs.

    Raises:
        ValueError: another string, or a library that is not installed.
    """
    require_executor(kind)
    if isinstance(kind, Executor):
        yield kind
        return
    name, _, rest = kind.partition(":")
    if kind == "local":
        executor: Executor = SerialExecutor()
    elif name == "processes":
        # spawned: a forked copy of a process that has used torch's threads can hang
        spawn = multiprocessing.get_context("spawn")
        executor = ProcessPoolExecutor(int(rest), mp_context=spawn, initializer=_end_with_parent)
    elif name == "dask":
        with _dask_client(rest.removeprefix("//")) as client:
            yield client.get_executor()
        return
    else:
        pairs = [part.partition("=") for part in rest.split(",") if rest]
        executor = SubmititExecutor(folder, parameters={k: int(v) if v.isdigit() else v for k, _, v in pairs})
    try:
        yield executor
    finally:
        executor.shutdown(cancel_futures=True)


def _dask_client(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError as error:
        raise ValueError("executor 'dask://…' needs distributed; install odesteer_tl[dask]") from error
    try:
        return Client(f"tcp://{address}", timeout="5s", set_as_default=False)
    except (OSError, TimeoutError) as error:
        raise ValueError(f"executor='dask://{address}': no scheduler answers there ({error})") from error


def _end_with_parent() -> None:
    """In a worker: leave when the process that started it is gone, which a kill -9 does not tell it."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
