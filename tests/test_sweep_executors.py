"""The sweep engine on real workers: kill -9 of the run, of workers; two runs of one study; Dask; submitit."""

import os
import random
import signal
import subprocess
import sys
import time
from functools import partial

import pandas as pd
import pytest
from distributed import Client, LocalCluster

from analyses.sweep import SerialExecutor, Store, SubmititExecutor, run
from analyses.sweep.engine import WorkersLost
from tests import sweep_cells as cells


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """`table.parquet` of an uninterrupted run in one process, for a study."""
    root = tmp_path_factory.mktemp("reference")

    def table(study):
        run(study, root, progress=False)
        return (Store.of(study, root).directory / "table.parquet").read_bytes()

    return table


@pytest.fixture(scope="module")
def cluster():
    with LocalCluster(
        processes=True, n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1"
    ) as running:
        yield running


def table_of(study, root):
    return (Store.of(study, root).directory / "table.parquet").read_bytes()


def start_and_kill(study, root, seconds):
    """Start a run in a process of its own and kill -9 it some seconds after it has finished a cell."""
    before = Store.of(study, root).status().done
    process = cells.starter.Process(target=cells.run_slow, args=(root, "local"))
    process.start()
    while Store.of(study, root).status().done == before:
        assert process.is_alive()
        time.sleep(0.001)
    time.sleep(seconds)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL, "the kill should fall within the sweep"


def workers_of(group):
    """Live processes of a session (Linux)."""
    found = subprocess.run(["ps", "-o", "pid=,stat=", "-s", str(group)], capture_output=True, text=True, check=False)
    return [line.split()[0] for line in found.stdout.splitlines() if not line.split()[1].startswith("Z")]


def test_twenty_kills_at_random_points_leave_the_same_table(tmp_path, reference):
    study = cells.slow_study()
    expected = reference(study)
    uniform = random.Random(0).uniform
    for _ in range(20):
        start_and_kill(study, tmp_path, uniform(0.0, 0.04))
    assert Store.of(study, tmp_path).status().done < len(study.cells)
    assert run(study, tmp_path, progress=False).complete
    assert table_of(study, tmp_path) == expected


@pytest.mark.skipif(sys.platform != "linux", reason="looks for orphans with ps")
def test_killing_a_run_with_worker_processes_leaves_no_orphans(tmp_path, reference):
    study = cells.slow_study()
    process = cells.starter.Process(target=cells.run_slow, args=(tmp_path, "processes:2"))
    process.start()
    while Store.of(study, tmp_path).status().done < 2:
        assert process.is_alive()
        time.sleep(0.01)
    assert len(workers_of(process.pid)) >= 3
    process.kill()
    process.join()
    deadline = time.time() + 20
    while workers_of(process.pid):
        assert time.time() < deadline, "workers outlive the run that started them"
        time.sleep(0.05)
    assert run(study, tmp_path, progress=False).complete
    assert table_of(study, tmp_path) == reference(study)


def test_two_runs_of_one_study_at_once(tmp_path, reference):
    study = cells.slow_study()
    runs = [cells.starter.Process(target=cells.run_slow, args=(tmp_path, "local")) for _ in range(2)]
    for process in runs:
        process.start()
    for process in runs:
        process.join()
    assert [process.exitcode for process in runs] == [0, 0]
    assert table_of(study, tmp_path) == reference(study)


def test_a_pool_makes_one_context_a_process_and_keeps_groups_together(tmp_path):
    study = cells.study(cells.with_pid, partial(cells.counted_context, tmp_path))
    assert run(study, tmp_path, "processes:2", progress=False).complete
    table = pd.read_parquet(Store.of(study, tmp_path).directory / "table.parquet")
    assert (table.groupby("layer").pid.nunique() == 1).all()
    assert (table.pid == table.made_in).all()
    assert os.getpid() not in set(table.pid)
    assert (~table.known).sum() == 3
    assert len(list(tmp_path.glob("context-*"))) == table.pid.nunique() <= 2


def test_a_pool_worker_killed_in_the_middle_loses_no_cell(tmp_path, reference):
    study = cells.deadly_study(tmp_path)
    assert run(study, tmp_path, "processes:2", progress=False).complete
    assert (tmp_path / "killed-1").exists()
    assert table_of(study, tmp_path) == reference(study)


def test_a_cell_that_always_kills_its_worker_ends_the_run_and_keeps_the_others(tmp_path):
    study = cells.deadly_study(tmp_path, layers=(0, -1, 2))
    with pytest.raises(WorkersLost, match=r"3 times in a row .*'layer': -1"):
        run(study, tmp_path, "processes:1", progress=False)
    assert Store.of(study, tmp_path).status().done >= 2


def test_dask_by_address_on_two_workers(tmp_path, cluster):
    study = cells.study(cells.with_pid, partial(cells.counted_context, tmp_path))
    address = cluster.scheduler_address.removeprefix("tcp:")
    assert run(study, tmp_path, f"dask:{address}", progress=False).complete
    table = pd.read_parquet(Store.of(study, tmp_path).directory / "table.parquet")
    assert (table.pid == table.made_in).all()
    assert table.pid.nunique() == 2


def test_a_dask_worker_killed_in_the_middle_loses_no_cell(tmp_path, cluster, reference):
    study = cells.deadly_study(tmp_path)
    with Client(cluster) as client:
        assert run(study, tmp_path, client.get_executor(), progress=False).complete
    assert (tmp_path / "killed-1").exists()
    assert table_of(study, tmp_path) == reference(study)


def test_submitit(tmp_path, reference, monkeypatch):
    monkeypatch.setattr("submitit.Job._results_timeout_s", 2)  # of the killed job, whose results never come
    study = cells.deadly_study(tmp_path)
    with SubmititExecutor(tmp_path / "jobs", cluster="local", jobs=2) as executor:
        assert run(study, tmp_path, executor, progress=False).complete
    assert (tmp_path / "killed-1").exists()
    assert table_of(study, tmp_path) == reference(study)


def test_an_error_in_a_worker_reaches_the_caller(tmp_path, cluster):
    def no_model():
        raise FileNotFoundError("no such model")

    with Client(cluster) as client, pytest.raises(FileNotFoundError, match="no such model"):
        run(cells.study(context=no_model), tmp_path, client.get_executor(), progress=False)


def test_an_executor_that_is_given_stays_open(tmp_path):
    executor = SerialExecutor()
    assert run(cells.study(), tmp_path, executor, progress=False).complete
    assert executor.submit(int, "3").result() == 3


def test_executors_that_cannot_be_had_say_what_to_do(tmp_path):
    with pytest.raises(ValueError, match="no scheduler answers there"):
        run(cells.study(), tmp_path, "dask://127.0.0.1:1", progress=False)
    with pytest.raises(ValueError, match="slurm"):
        run(cells.study(), tmp_path, "slurm:timeout_min=5", progress=False)


def test_what_other_processes_cannot_import_is_refused_before_anything_is_written(tmp_path):
    typed = "from tests import sweep_cells as cells\nfrom analyses.sweep import run\nfrom pathlib import Path\n"
    typed += "def typed(): ...\n"
    called = "run(cells.study(context=typed), Path(sys.argv[1]), sys.argv[2], progress=False)"
    for executor, refused in (("processes:1", True), ("local", False)):
        done = subprocess.run(
            [sys.executable, "-c", f"import sys\n{typed}{called}", str(tmp_path / executor), executor],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert ("context=<function typed" in done.stderr and "local" in done.stderr) == refused, done.stderr
        assert (tmp_path / executor).exists() != refused
