"""Folders written whole or not at all, and the commit that a study records."""

import json
import subprocess

import pandas as pd
import pytest

from analyses import demonstration, runs
from odesteer_tl._folder import new_folder

TABLES = {"rows": pd.DataFrame({"x": [1, 2]})}


def git(folder, *arguments):
    name = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", folder, *name, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path):
    folder = tmp_path / "checkout"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "file").write_text("1")
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    return folder


def test_the_commit_is_the_head_of_a_checkout_and_tells_of_changes(checkout):
    head = git(checkout, "rev-parse", "HEAD")
    git(checkout, "tag", "-a", "v1", "-m", "a tag does not stand for the commit")
    assert runs.commit(checkout) == head
    (checkout / "results").write_text("untracked")
    assert runs.commit(checkout) == head
    (checkout / "inner" / "file").write_text("2")
    assert runs.commit(checkout) == f"{head}+changes"


def test_there_is_no_commit_outside_a_checkout_or_without_git(checkout, tmp_path, monkeypatch):
    assert runs.commit(tmp_path) is None
    assert runs.commit(checkout / "inner") is None
    monkeypatch.setenv("PATH", "")
    assert runs.commit(checkout) is None


def test_a_run_records_what_ran(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "COMMIT", "abc+changes")
    runs.save_run(tmp_path / "out", TABLES, {"seed": 3})
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert (run["seed"], run["commit"]) == (3, "abc+changes")
    assert set(run["versions"]) == set(runs.PACKAGES)
    assert demonstration.code is runs.code
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_an_empty_folder_is_filled_and_anything_else_is_kept(tmp_path):
    (tmp_path / "empty").mkdir()
    runs.save_run(tmp_path / "empty", TABLES, {})
    (tmp_path / "file").write_text("mine")
    for taken in ("empty", "file"):
        with pytest.raises(ValueError, match=rf"out='.*{taken}' exists and is not overwritten"):
            runs.save_run(tmp_path / taken, TABLES, {})
        with pytest.raises(ValueError, match=rf"path='.*{taken}' exists"), new_folder(tmp_path / taken):
            pass
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_is_seen_when_it_is_whole_and_a_failure_leaves_nothing(tmp_path):
    with new_folder(tmp_path / "deep" / "a") as part:
        (part / "x").write_text("1")
        assert not (tmp_path / "deep" / "a").exists()
    assert (tmp_path / "deep" / "a" / "x").read_text() == "1"
    assert (tmp_path / "deep" / "a").stat().st_mode & 0o777 == 0o755

    def interrupted():
        with new_folder(tmp_path / "deep" / "b") as part:
            (part / "x").write_text("1")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["a"]


def test_a_package_that_is_not_installed_has_no_version(monkeypatch):
    monkeypatch.setattr(runs, "PACKAGES", ("torch", "no such package"))
    versions = runs.code()["versions"]
    assert versions["torch"]
    assert versions["no such package"] is None
