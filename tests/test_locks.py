"""One owner of a directory: by an atomic claim, before anything in it is looked at."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import robustfw
from robustfw import RunError
from robustfw.cli import main
from robustfw.storage import _locks as locks
from robustfw.storage._locks import DirectoryLock, NewDirectory, claim

pytest.importorskip("fcntl")
SMALL = ("--model", "linear", "--attack", "single-step", "--epochs", "1", "--threads", "1", "--device", "cpu")


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(locks, "PATIENCE", 0.1)


def test_one_at_a_time_and_then_the_next(tmp_path, impatient):
    first = claim(tmp_path / "a" / "run", "trained")
    with pytest.raises(RunError, match=r"a/run is being trained already, .*: end that, or choose another --out"):
        claim(tmp_path / "a" / "run", "trained")
    first.release()
    first.release()
    claim(tmp_path / "a" / "run", "trained").release()


def test_what_is_forgotten_is_free(tmp_path, impatient):
    lock = DirectoryLock.take(tmp_path)
    del lock
    gc.collect()
    DirectoryLock.take(tmp_path).release()


def test_handed_over_it_is_released_by_the_new_owner_alone(tmp_path, impatient):
    first = DirectoryLock.take(tmp_path)
    second = first.hand_over()
    first.release()
    with pytest.raises(BlockingIOError):
        DirectoryLock.take(tmp_path)
    second.release()
    DirectoryLock.take(tmp_path).release()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_worker_neither_holds_nor_gives_away_its_parents_lock(tmp_path, impatient):
    lock = DirectoryLock.take(tmp_path)
    ask, answer = os.pipe()
    worker = os.fork()
    if worker == 0:
        os.close(answer)
        lock.release()
        os.read(ask, 1)  # until the parent is through
        os._exit(0)
    os.close(ask)
    try:
        with pytest.raises(BlockingIOError):
            DirectoryLock.take(tmp_path)
        lock.release()
        DirectoryLock.take(tmp_path).release()
    finally:
        os.close(answer)
        os.waitpid(worker, 0)


def test_new_names_are_taken_by_making_them(tmp_path):
    taken = [DirectoryLock.take(NewDirectory(tmp_path / "runs", "run")) for _ in range(3)]
    assert [lock.path.name for lock in taken] == ["run", "run-2", "run-3"]
    for lock in taken:
        lock.release()


def test_an_abandoned_directory_leaves_nothing_but_what_others_put_there(tmp_path):
    DirectoryLock.take(tmp_path / "a" / "b").abandon()
    assert not (tmp_path / "a").exists()
    lock = DirectoryLock.take(tmp_path / "a" / "b")
    (tmp_path / "a" / "notes").touch()
    lock.abandon()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["notes"]
    lock = DirectoryLock.take(tmp_path / "a")
    lock.abandon()
    assert (tmp_path / "a").exists()


def test_another_directory_of_the_same_name_is_not_the_locked_one(tmp_path):
    lock = DirectoryLock.take(tmp_path / "run")
    assert lock.is_at(tmp_path / "run")
    (tmp_path / "run").rename(tmp_path / "moved")
    assert not lock.is_at(tmp_path / "run")
    (tmp_path / "run").mkdir()
    assert not lock.is_at(tmp_path / "run")
    assert lock.is_at(tmp_path / "moved")


# Trainings


def small(out, **more):
    options = {"model": "linear", "attack": "single-step", "epochs": 2, "batch_size": 400, "validation_examples": 20}
    return robustfw.train(out=out, steps=True, **options, **more)


def test_the_directory_is_taken_before_the_first_record(tmp_path, impatient):
    records = small(tmp_path / "run")
    manifest = (tmp_path / "run" / "manifest.json").read_bytes()
    for resume in (False, True):
        with pytest.raises(RunError, match="is being trained already"):
            small(tmp_path / "run", resume=resume)
    assert (tmp_path / "run" / "manifest.json").read_bytes() == manifest
    del records  # never begun: it must not keep the directory
    gc.collect()
    assert list(small(tmp_path / "run", resume=True))
    with pytest.raises(RunError, match="holds a run already"):
        small(tmp_path / "run")


@pytest.mark.parametrize("stage", ["data", "model"])
def test_a_training_that_cannot_begin_leaves_no_directory(stage, tmp_path, impatient):
    class Broken(robustfw.Model):
        def build(self, spec):
            raise robustfw.UsageError("no")

    parts = {"model": Broken()} if stage == "model" else {"dataset": "mnist", "data_dir": tmp_path / "nothing"}
    with pytest.raises(robustfw.errors.RobustfwError):
        list(robustfw.train(out=tmp_path / "runs" / "run", epochs=1, **parts))
    assert not (tmp_path / "runs").exists()


def test_a_run_that_is_renamed_does_not_write_into_its_successor(tmp_path):
    records = small(tmp_path / "run")
    next(records)
    (tmp_path / "run").rename(tmp_path / "moved")
    other = small(tmp_path / "run", seed=1)
    next(other)
    successor = (tmp_path / "run" / "checkpoints" / "last.safetensors").read_bytes()
    with pytest.raises(RunError, match=r"run was renamed or removed while it was trained: .* --resume --out with"):
        list(records)
    assert (tmp_path / "run" / "checkpoints" / "last.safetensors").read_bytes() == successor
    other.close()
    assert list(small(tmp_path / "moved", resume=True))


def started_together(arguments, count, folder):
    """Exit statuses and what was said by trainings that begin at the same moment."""
    command = [sys.executable, "-m", "robustfw", "train", *SMALL]
    processes = [
        subprocess.Popen([*command, *more], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for more in [arguments(i) for i in range(count)]
    ]
    said = [process.communicate(timeout=120) for process in processes]
    return [process.returncode for process in processes], said


def test_three_trainings_without_a_name_get_one_each(tmp_path):
    statuses, said = started_together(lambda i: ("--seed", str(i)), 3, tmp_path)
    assert statuses == [0, 0, 0], said
    runs = sorted((tmp_path / "runs").iterdir())
    assert [run.name for run in runs] == ["digits-linear-linf", "digits-linear-linf-2", "digits-linear-linf-3"]
    manifests = [json.loads((run / "manifest.json").read_text()) for run in runs]
    assert sorted(manifest["recipe"]["train"]["seed"] for manifest in manifests) == [0, 1, 2]
    assert all("result" in manifest for manifest in manifests)


def test_of_two_trainings_of_one_name_one_has_it(tmp_path):
    """The record and the weights are of the same training, whichever came first; the other is told so."""
    statuses, said = started_together(lambda i: ("--seed", str(i), "--out", "run"), 2, tmp_path)
    assert sorted(statuses) == [0, 1], said
    winner = statuses.index(0)
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["recipe"]["train"]["seed"] == winner
    refused = said[1 - winner][1]
    assert refused.startswith("Error: run ")
    assert "choose another --out" in refused
    alone = tmp_path / "alone"
    with pytest.raises(SystemExit) as ended:
        main(["train", *SMALL, "--seed", str(winner), "--out", str(alone)])
    assert not ended.value.code
    found, expected = (robustfw.load(path).state_dict() for path in (tmp_path / "run", alone))
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert not list(Path(tmp_path / "run").glob("**/*.tmp"))
