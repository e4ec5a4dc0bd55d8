"""Raw errors that are sentences: too little memory, no home, no git, no directory; results that cannot be kept."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

import robustfw
from robustfw import UsageError, results
from robustfw.dataset import data_root
from robustfw.errors import RobustfwError, RobustfwWarning
from robustfw.training import _failures as failures
from robustfw.training import _manifest


def raised_by(action):
    with pytest.raises((MemoryError, RuntimeError, ValueError)) as caught:
        action()
    return caught.value


@pytest.mark.parametrize(
    "action",
    [
        lambda: torch.empty(1 << 55),
        lambda: torch.empty(1 << 40, 1 << 40),
        lambda: np.empty(1 << 58, np.int8),
        lambda: bytearray(1 << 60),
    ],
)
def test_too_little_memory_is_a_sentence(action):
    error = raised_by(action)
    assert not isinstance(error, RobustfwError)
    assert failures.sentence(error).startswith("there is not enough memory for this")
    with pytest.raises(RobustfwError, match="take a smaller batch, model or data set"), failures.explained():
        action()


@pytest.mark.parametrize(
    "error", [ValueError("odd"), RuntimeError("mat1 and mat2"), KeyError("x"), FileNotFoundError(2, "No", "x")]
)
def test_what_is_not_known_stays_as_it_is(error):
    assert failures.sentence(error) is None
    with pytest.raises(type(error)), failures.explained():
        raise error


def test_a_model_that_does_not_fit_leaves_no_run(tmp_path):
    with pytest.raises(RobustfwError, match=r"more than the .* of memory here"):
        robustfw.train(model="mlp:hidden=[100000000,100000000]", epochs=1, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_without_a_home_data_that_need_no_files_are_loaded(monkeypatch):
    def nobody(_):
        raise KeyError

    pwd = pytest.importorskip("pwd")
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("ROBUSTFW_DATA", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    assert list(robustfw.train(model="linear", attack="single-step", epochs=1, batch_size=400))
    with pytest.raises(robustfw.DataError, match=r"mnist|MNIST"):
        robustfw.train(dataset="mnist", model="linear")
    monkeypatch.setenv("ROBUSTFW_DATA", "~nouser/data")
    with pytest.raises(UsageError, match="the home directory in '~nouser/data' is not known: give the whole path"):
        data_root(None)


def test_without_git_there_is_no_commit(monkeypatch):
    def missing(*_, **__):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", "git")

    monkeypatch.setattr(subprocess, "run", missing)
    assert _manifest.read_commit() is None


@pytest.mark.skipif(os.name == "nt", reason="a directory in use cannot be removed there")
def test_a_working_directory_that_is_gone(tmp_path):
    (tmp_path / "gone").mkdir()
    code = "import os, sys; os.rmdir(os.getcwd()); from robustfw.cli import main; main(['evaluate', 'run'])"
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "gone", capture_output=True, text=True, check=False
    )
    assert answer.returncode == 1
    assert answer.stderr == "Error: the working directory is gone: change to one that is there\n"


# Results


def test_numbers_that_cannot_be_kept_are_not_lost(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kept = results.keep(tmp_path, "evaluation", {"n": 3}, {"correct": 2}, "robustfw evaluate")
    assert json.loads(kept.read_text())["correct"] == 2
    monkeypatch.setattr(results._store, "write_whole", full)
    with pytest.warns(
        RobustfwWarning, match=r"could not be kept in .*No space left on device\): make room, and measure"
    ):
        assert results.keep(tmp_path, "evaluation", {"n": 4}, {"correct": 2}, "robustfw evaluate") is None


def test_results_do_not_leave_a_run_by_a_link_and_leftovers_are_removed(tmp_path):
    (tmp_path / "run" / "results").mkdir(parents=True)
    leftover = tmp_path / "run" / "results" / ".evaluation-1.json.17.tmp"
    leftover.touch()
    os.utime(leftover, (0, 0))
    assert results.keep(tmp_path / "run", "evaluation", {}, {}, "") is not None
    assert not leftover.exists()
    (tmp_path / "other").mkdir()
    (tmp_path / "hostile").mkdir()
    (tmp_path / "hostile" / "results").symlink_to(tmp_path / "other")
    with pytest.warns(RobustfwWarning, match="results is a link"):
        assert results.keep(tmp_path / "hostile", "evaluation", {}, {}, "") is None
    assert list(Path(tmp_path / "other").iterdir()) == []
