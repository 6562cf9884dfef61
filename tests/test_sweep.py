"""The sweep engine in one process and out of its commands: identity, resuming, failures, damage, unwritable folders."""

import json
import os
import resource
import shutil
import tempfile
from functools import partial
from pathlib import Path

import duckdb
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyses.runs import code
from analyses.sweep import Refused, Status, Store, StoreError, Study, WillRepeat, engine, require_numbers, run
from analyses.sweep.__main__ import main
from tests import sweep_cells as cells


def table_bytes(study, root):
    return (Store.of(study, root).directory / "table.parquet").read_bytes()


def test_the_table_has_the_studys_order_and_is_read_by_pandas_and_duckdb(tmp_path):
    study = cells.study()
    status = run(study, tmp_path, progress=False)
    assert status == Status(12, 0, 0)
    assert status.complete
    directory = Store.of(study, tmp_path).directory
    table = pd.read_parquet(directory / "table.parquet")
    expected = pd.concat([cells.simple(None, c).assign(**c) for c in cells.grid()], ignore_index=True)
    pd.testing.assert_frame_equal(table.drop(columns="cell")[list(expected)], expected, check_dtype=False)
    assert list(table.cell.unique()) == [cell.key for cell in study.keyed]
    count = duckdb.sql(f"select count(distinct cell) as n from '{directory}/cells/*.parquet'").df()
    assert count.n.tolist() == [12]
    found = duckdb.sql(f"select layer, avg(value) as v from '{directory}/table.parquet' group by layer order by layer")
    pd.testing.assert_series_equal(found.df().set_index("layer").v, table.groupby("layer").value.mean(),
                                   check_names=False, check_index_type=False)  # fmt: skip
    ran = json.loads((directory / "run.json").read_text())
    assert ran["status"] == {"done": 12, "failed": 0, "missing": 0}
    assert {"versions": ran["versions"], "commit": ran["commit"]} == code()


def test_an_interrupted_run_goes_on_where_it_was(tmp_path):
    class StopError(BaseException):
        """As Ctrl-C."""

    ran = []

    def stopping(context, config, after=5):
        if len(ran) == after:
            raise StopError
        ran.append(config)
        return cells.simple(context, config)

    stopping.__qualname__ = cells.simple.__qualname__
    with pytest.raises(StopError):
        run(cells.study(stopping), tmp_path, progress=False)
    status = run(cells.study(partial_named(stopping, after=99)), tmp_path, progress=False)
    assert status.complete
    assert [dict(c) for c in ran] == list(cells.grid())
    run(cells.study(), tmp_path / "whole", progress=False)
    assert table_bytes(cells.study(), tmp_path) == table_bytes(cells.study(), tmp_path / "whole")


def partial_named(function, **more):
    def named(context, config):
        return function(context, config, **more)

    named.__qualname__ = function.__qualname__
    return named


@pytest.mark.parametrize("change", [{"version": "2"}, {"settings": {"model": "other"}}, {"name": "other"},
                                    {"function": cells.broken}])  # fmt: skip
def test_whatever_determines_a_result_makes_another_study(tmp_path, change):
    one, other = cells.study(), cells.study(**change)
    assert Store.of(one, tmp_path).directory != Store.of(other, tmp_path).directory
    assert {c.key for c in one.keyed}.isdisjoint({c.key for c in other.keyed})


def test_more_cells_recompute_no_finished_one(tmp_path):
    """A layer, a level and an order: the folder is the same, and each study's table holds its own cells."""
    small, large = cells.study(cells=cells.grid(layers=2)), cells.study()
    assert run(small, tmp_path, progress=False) == Status(8, 0, 0)
    store = Store.of(small, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in (store.directory / "cells").iterdir()}
    assert run(large, tmp_path, progress=False) == Status(12, 0, 0)
    assert Store.of(large, tmp_path) == store
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(list((store.directory / "cells").iterdir())) == 12
    assert len(store.table(small)) == 16
    assert list(store.table(large)["layer"].unique()) == [2, 1, 0]
    assert run(small, tmp_path, progress=False) == Status(8, 0, 0)  # going back runs nothing, and forgets nothing
    assert store.status() == Status(12, 0, 0)
    assert len(pd.read_parquet(store.directory / "table.parquet")) == 24


def test_a_failure_that_will_repeat_ends_the_run(tmp_path):
    ran = []

    def judged(context, config):
        ran.append(config)
        raise WillRepeat("the judge cannot be asked")

    with pytest.raises(WillRepeat, match="the judge cannot be asked"):
        run(cells.study(judged), tmp_path, progress=False)
    assert len(ran) == 1
    assert Store.of(cells.study(judged), tmp_path).status() == Status(0, 1, 11)


def test_progress_is_a_line_at_a_time_where_nobody_watches(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(engine, "LINE", 0.0)
    run(cells.study(cells=cells.grid(layers=1, seconds=0.6, strengths=3)), tmp_path)
    lines = capsys.readouterr().err.strip().split("\n")
    assert len(lines) > 1
    assert "3/3" in lines[-1]


def test_grouping_does_not(tmp_path):
    assert cells.study().digest == cells.study(group="").digest
    assert [len(g) for g in cells.study().groups] == [4, 4, 4]
    assert [len(g) for g in cells.study(group="").groups] == [1] * 12


scalars = st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False, allow_infinity=False) | st.text()


@given(st.lists(st.dictionaries(st.text(max_size=3), scalars, max_size=3), min_size=1, max_size=6))
@settings(max_examples=50, deadline=None)
def test_keys_tell_configs_apart_and_nothing_else(configs):
    texts = [json.dumps(c, sort_keys=True) for c in configs]
    if len(set(texts)) < len(texts):
        with pytest.raises(ValueError, match="twice"):
            cells.study(cells=tuple(configs), group="")
        return
    study = cells.study(cells=tuple(configs), group="")
    again = cells.study(cells=tuple(dict(reversed(c.items())) for c in configs), group="")
    assert [c.key for c in study.keyed] == [c.key for c in again.keyed]
    assert len({c.key for c in study.keyed}) == len(configs)


def test_a_cell_that_raises_is_recorded_and_the_others_go_on(tmp_path, capsys):
    study = cells.study(cells.broken)
    assert run(study, tmp_path, progress=False) == Status(6, 6, 0)
    store = Store.of(study, tmp_path)
    failures = [store.failure(key) for key in store.failed()]
    raised = [f for f in failures if f["config"]["strength"] == 0.5]
    assert len(raised) == 3
    assert all(f["error"] == "ZeroDivisionError: no such strength" and "in broken" in f["traceback"] for f in raised)
    nan = next(f for f in failures if f["config"] == {"layer": 2, "strength": 0.75})
    assert "'layer': 2, 'strength': 0.75" in nan["error"]
    assert "column(s) value hold NaN" in nan["error"]

    assert main(["status", str(store.directory)]) == 1
    out = capsys.readouterr().out
    assert "no such strength" in out
    assert "6 of 12 cells done, 6 failed" in out
    assert main(["report", str(store.directory)]) == 1

    # once its code is mended (same version: results of the others did not change) only the failed ones run
    done = {c.key: (store.directory / "cells" / f"{c.key}.parquet").stat().st_mtime_ns
            for c in study.keyed if store.has(c)}  # fmt: skip
    mended = partial_named(cells.simple)
    mended.__qualname__ = cells.broken.__qualname__
    assert run(cells.study(mended), tmp_path, progress=False).complete
    for key, when in done.items():
        assert (store.directory / "cells" / f"{key}.parquet").stat().st_mtime_ns == when
    assert main(["status", str(store.directory)]) == 0
    assert not list((store.directory / "failed").iterdir())


def test_status_and_report_of_a_study_in_progress(tmp_path, capsys):
    study = cells.study()
    run(study, tmp_path, progress=False)
    store = Store.of(study, tmp_path)
    whole = (store.directory / "table.parquet").read_bytes()
    (store.directory / "cells" / f"{study.keyed[3].key}.parquet").unlink()
    (store.directory / "table.parquet").unlink()
    assert main(["report", str(store.directory)]) == 1
    assert "11 of 12 cells done, 0 failed" in capsys.readouterr().out
    assert len(pd.read_parquet(store.directory / "table.parquet")) == 22
    run(study, tmp_path, progress=False)
    assert (store.directory / "table.parquet").read_bytes() == whole
    assert main(["status", str(tmp_path)]) == 2
    assert "holds no study.json" in capsys.readouterr().err


def test_a_damaged_cell_is_named(tmp_path):
    study = cells.study()
    run(study, tmp_path, progress=False)
    store = Store.of(study, tmp_path)
    path = store.directory / "cells" / f"{study.keyed[3].key}.parquet"
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(StoreError, match=f"{study.keyed[3].key}.parquet is damaged .* delete it"):
        run(study, tmp_path, progress=False)


def test_cells_with_different_columns_and_with_no_rows(tmp_path):
    def ragged(context, config):
        if config["layer"] == 1:
            return pd.DataFrame({"value": pd.Series(dtype=float)})
        return pd.DataFrame({"value": [1 if config["layer"] else 0.5], f"only_{config['layer']}": ["x"]})

    study = cells.study(ragged, cells=tuple({"layer": i, "note": None if i else "a"} for i in range(3)))
    assert run(study, tmp_path, progress=False).complete
    store = Store.of(study, tmp_path)
    table = pd.read_parquet(store.directory / "table.parquet")
    assert table.value.tolist() == [0.5, 1.0]
    assert table.only_2.isna().tolist() == [True, False]
    assert [store.refused(cell) for cell in study.keyed] == [None, "", None]


def test_a_cell_that_refuses_is_done_and_says_why(tmp_path):
    asked = []

    def picky(context, config):
        asked.append(config["layer"])
        return Refused("no 1, non è un numero") if config["layer"] == 1 else pd.DataFrame({"value": [0.5]})

    study = cells.study(picky, cells=tuple({"layer": i} for i in range(3)))
    assert run(study, tmp_path, progress=False).complete
    assert run(study, tmp_path, progress=False).complete
    assert asked == [0, 1, 2]
    store = Store.of(study, tmp_path)
    assert [store.refused(cell) for cell in study.keyed] == [None, "no 1, non è un numero", None]
    assert store.table(study)["layer"].tolist() == [0, 2]


def test_cells_that_disagree_on_a_type_are_named_by_column(tmp_path):
    def torn(context, config):
        return pd.DataFrame({"value": ["a"] if config["layer"] else [1.0]})

    with pytest.raises(StoreError, match="Field value has incompatible types"):
        run(cells.study(torn), tmp_path, progress=False)


def test_a_column_that_hides_a_config_key_is_refused(tmp_path):
    study = cells.study(lambda context, config: pd.DataFrame({"layer": [1]}))
    assert run(study, tmp_path, progress=False).failed == 12
    store = Store.of(study, tmp_path)
    assert "column(s) layer, which its config has too" in store.failure(study.keyed[0].key)["error"]


def test_a_context_that_cannot_be_made_ends_the_run(tmp_path):
    def no_model():
        raise FileNotFoundError("no such model")

    with pytest.raises(FileNotFoundError, match="no such model"):
        run(cells.study(context=no_model), tmp_path, progress=False)
    assert Store.of(cells.study(context=no_model), tmp_path).status() == Status(0, 0, 12)


def test_the_context_is_made_once_and_not_at_all_when_nothing_is_missing(tmp_path):
    study = cells.study(cells.with_pid, partial(cells.counted_context, tmp_path))
    run(study, tmp_path, progress=False)
    run(study, tmp_path, progress=False)
    assert len(list(tmp_path.glob("context-*"))) == 1
    table = pd.read_parquet(Store.of(study, tmp_path).directory / "table.parquet")
    assert (~table.known).sum() == 3


def test_a_full_disk_ends_the_run_with_a_clear_message_and_it_goes_on_later(tmp_path):
    # a limit on file sizes meets the same code path as a full disk: a write that fails half way
    def large(context, config):
        wide = 20_000 if config["layer"] == 0 else 2
        return pd.DataFrame({"value": range(wide)})

    study = cells.study(large)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, before[1]))
    try:
        with pytest.raises(StoreError, match="cannot be written: File too large; make room"):
            run(study, tmp_path, progress=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    store = Store.of(study, tmp_path)
    assert store.status() == Status(8, 0, 4)
    assert not list(store.directory.rglob("*.part"))
    assert run(study, tmp_path, progress=False).complete


@pytest.fixture
def read_only():
    """A folder nobody but root may write to, and this process not root for a while."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o555)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    yield folder
    if root:
        os.seteuid(0)
    folder.chmod(0o755)
    shutil.rmtree(folder)


def test_a_read_only_folder_is_named(read_only):
    with pytest.raises(StoreError, match=f"results folder '{read_only}/tiny-.*' cannot be written: Permission denied"):
        run(cells.study(), read_only, progress=False)


def test_what_killed_writers_left_is_removed_when_it_is_old(tmp_path):
    store = Store.of(cells.study(), tmp_path)
    old, fresh = (store.directory / "cells" / f".{name}.part" for name in ("old", "fresh"))
    for part in (old, fresh):
        part.write_bytes(b"PAR1")
    os.utime(old, (0, 0))
    assert run(cells.study(), tmp_path, progress=False).complete
    assert fresh.exists()
    assert not old.exists()


def test_the_bar_counts_the_cells(tmp_path, capsys):
    run(cells.study(), tmp_path)
    err = capsys.readouterr().err
    assert "12/12" in err
    assert "0 failed" in err


def test_bad_input_names_the_argument_and_the_value(tmp_path):
    with pytest.raises(ValueError, match="cells is empty"):
        cells.study(cells=())
    with pytest.raises(ValueError, match="group='layer' is not in cell"):
        cells.study(cells=({"strength": 1.0},))
    with pytest.raises(ValueError, match=r"not JSON-able .*Path"):
        cells.study(settings={"path": Path("x")})
    with pytest.raises(ValueError, match="not JSON-able"):
        cells.study(cells=({"layer": float("nan")},))
    for executor in ("processes", "processes:0", "processes:x", "dask:1", "slurm:gpu", "cluster"):
        with pytest.raises(ValueError, match=f"executor='{executor}' is unknown"):
            run(cells.study(), tmp_path, executor, progress=False)
    with pytest.raises(ValueError, match=r"column\(s\) b hold NaN"):
        require_numbers(pd.DataFrame({"a": [1], "b": [float("inf")], "c": ["x"]}), {"layer": 1})
    assert isinstance(cells.study(), Study)
