"""Run directories: whole or not at all, one training at a time, and clear words about what is damaged."""

from __future__ import annotations

import errno
import json
import os
import pickle
import shutil
from pathlib import Path

import attrs
import pytest
import torch
from torch import nn

from robustfw import RunError, UsageError
from robustfw.records import Epoch, Step
from robustfw.storage import _locks as locks
from robustfw.storage import runs
from robustfw.storage.files import json_value
from robustfw.storage.runs import Run
from robustfw.training._state import State
from robustfw.training.recipe import TrainOptions

RECIPE = {"dataset": {"use": "digits"}, "model": {"use": "linear"}, "uncertainty": {"use": "l2"}} | {
    "attack": {"use": "pgd"}, "objective": {"use": "robust"}, "train": {"epochs": 2},
}  # fmt: skip
MANIFEST = {"recipe": RECIPE, "data": {"hash": "abc", "spec": {"shape": [2], "classes": 2}}}


@pytest.fixture
def state():
    return State.fresh(lambda: nn.Linear(2, 2), TrainOptions(epochs=2), torch.device("cpu"), updates=4)


@pytest.fixture
def run(tmp_path):
    return Run.create(tmp_path / "run", MANIFEST)


def epoch(number, **values):
    fields = {field.name: 0 for field in attrs.fields(Epoch)} | {"warnings": (), "model": nn.Identity(), "best": False}
    return Epoch(**(fields | {"epoch": number} | values))


def step(batch):
    return Step(1, batch, 2, torch.zeros(()), 0.1)


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# Making and opening


def test_a_run_is_made_and_opened(run):
    assert Run.open(run.path).manifest() == MANIFEST
    assert run.metrics() == []


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("manifest.json", "holds a run already: go on with it by --resume, or choose another --out"),
        ("metrics.jsonl", r"manifest.json is missing, .*: put it back, or choose another --out"),
        ("checkpoints/last.safetensors", r"manifest.json is missing, .*: put it back, or choose another --out"),
    ],
)
def test_what_is_left_of_a_run_is_left_alone(name, reason, tmp_path):
    file = tmp_path / "run" / name
    file.parent.mkdir(parents=True)
    file.write_text("precious")
    with pytest.raises(RunError, match=reason):
        Run.create(tmp_path / "run", MANIFEST)
    if name != "manifest.json":
        with pytest.raises(RunError, match=reason):
            Run.open(tmp_path / "run")
    assert contents(tmp_path) == {file.relative_to(tmp_path): b"precious"}


def test_other_files_in_the_directory_are_left_alone(tmp_path, state):
    (tmp_path / ".notes.tmp").write_text("precious")
    list(Run.create(tmp_path, MANIFEST).keep(iter(()), state))
    assert (tmp_path / ".notes.tmp").read_text() == "precious"


@pytest.mark.parametrize("name", ["file", "file/run", "file/a/b"])
def test_a_directory_that_cannot_be_made(name, tmp_path):
    (tmp_path / "file").write_text("precious")
    with pytest.raises(
        RunError, match=r"cannot make the run directory .*: (Not a directory|File exists); choose anoth"
    ):
        Run.create(tmp_path / name, MANIFEST)
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write and read everywhere")
def test_a_directory_without_permissions(tmp_path, run):
    tmp_path.chmod(0o500)
    with pytest.raises(RunError, match="Permission denied; choose another --out"):
        Run.create(tmp_path / "new", MANIFEST)
    run.path.chmod(0o000)
    try:
        with pytest.raises(RunError, match="Permission denied"):
            Run.open(run.path)
    finally:
        run.path.chmod(0o700)
        tmp_path.chmod(0o700)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not JSON"),
        ("{", "is not JSON"),
        ("\x00\xff", "is not JSON"),
        ("[]", "is not the manifest of a run"),
        ("3", "is not the manifest of a run"),
        ("{}", "is not the manifest of a run"),
        ('{"recipe": 3, "data": 3}', "is not the manifest of a run"),
        ('{"recipe": {}, "data": {}}', "is not the manifest of a run"),
        (json.dumps(MANIFEST | {"data": {}}), "is not the manifest of a run"),
        (json.dumps(MANIFEST | {"recipe": RECIPE | {"attack": "pgd"}}), "is not the manifest of a run"),
    ],
)
def test_a_manifest_that_is_garbage(text, reason, run):
    run.manifest_path.write_bytes(text.encode("latin-1"))
    with pytest.raises(RunError, match=f"manifest.json {reason}.*; without it the run cannot be used") as caught:
        Run.open(run.path)
    assert "\n" not in str(caught.value)


def test_what_is_no_run(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "odd" / "manifest.json").mkdir(parents=True)
    for name, reason in (
        ("nothing", "there is no run in"),
        ("file", "is a file"),
        ("odd", "cannot read .*Is a direct"),
    ):
        with pytest.raises(RunError, match=reason):
            Run.open(tmp_path / name)


# Metrics


def test_metrics_are_a_line_per_epoch_and_what_is_no_number_is_null(run, state):
    records = iter([epoch(1, loss=0.5), epoch(2, loss=float("nan"), warnings=("beware",))])
    assert len(list(run.keep(records, state))) == 2
    first, second = run.metrics()
    assert first["loss"] == 0.5
    assert second["loss"] is None
    assert second["warnings"] == ["beware"]
    assert "model" not in first
    assert "NaN" not in run.metrics_path.read_text()


@pytest.mark.parametrize("torn", ['{"epoch": 2, "lo', '{"epoch": 2}', "δ"[:1]])
def test_a_line_that_was_cut_off_is_no_epoch(torn, run, state):
    run.metrics_path.write_text('{"epoch": 1}\n' + torn)
    assert run.metrics() == [{"epoch": 1}]
    state.epoch = 1
    list(run.keep(iter([epoch(2)]), state))
    assert [line["epoch"] for line in run.metrics()] == [1, 2]


@pytest.mark.parametrize("line", ["{", "3", "{}", "null"])
def test_a_damaged_line_is_an_error_and_nothing_is_overwritten(line, run, state):
    run.metrics_path.write_text(f'{line}\n{{"epoch": 2}}\n')
    before = contents(run.path)
    with pytest.raises(RunError, match=r"metrics.jsonl is damaged: move it away to go on"):
        list(run.keep(iter([step(1)]), state))
    assert contents(run.path) == before


def test_epochs_that_will_be_trained_again_are_dropped(run, state):
    run.metrics_path.write_text('{"epoch": 1}\n{"epoch": 2}\n')
    state.epoch = 1
    list(run.keep(iter(()), state))
    assert run.metrics() == [{"epoch": 1}]


def test_plain_values():
    assert json_value({"a": (1, float("inf"), [float("nan"), "NaN", True, None, 0.5])}) == {
        "a": [1, None, [None, "NaN", True, None, 0.5]]
    }


# Checkpoints


def test_the_state_is_saved_first_and_last_and_comes_back(run, state):
    records = run.keep(iter([step(1), step(2)]), state)
    next(records)
    assert run.checkpoint_path("last").exists()
    with torch.no_grad():
        state.model.weight.fill_(3)
    state.batch = 1
    records.close()
    fresh = State.fresh(lambda: nn.Linear(2, 2), TrainOptions(epochs=2), torch.device("cpu"), updates=4)
    run.restore(fresh)
    assert fresh.batch == 1
    assert torch.equal(fresh.model.weight, torch.full((2, 2), 3.0))
    assert torch.equal(run.weights("last")["weight"], fresh.model.weight)


def test_best_weights_are_those_of_the_best_epoch(run, state):
    for best, value in ((True, 1.0), (False, 2.0)):
        with torch.no_grad():
            state.model.weight.fill_(value)
        list(run.keep(iter([epoch(1, best=best)]), state))
    assert run.weights("best")["weight"][0, 0] == 1
    assert run.weights("last")["weight"][0, 0] == 2


def test_a_loss_that_is_not_finite_does_not_replace_the_last_checkpoint(run, state):
    list(run.keep(iter(()), state))
    before = run.checkpoint_path("last").read_bytes()
    state.total_loss.fill_(float("nan"))
    state.batch = 1
    run.keep(iter([step(1)]), state).close()
    list(run.keep(iter([step(1)]), state))
    assert run.checkpoint_path("last").read_bytes() == before


@pytest.mark.parametrize("name", ["last", "best"])
@pytest.mark.parametrize("size", [0, 4, 100, -1])
def test_a_truncated_checkpoint(name, size, run, state):
    list(run.keep(iter([epoch(1, best=True)]), state))
    path, other = run.checkpoint_path(name), {"last": "best", "best": "last"}[name]
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(RunError, match=f"{name}.safetensors is damaged.*evaluate .* --weights {other}") as caught:
        run.weights(name)
    assert "\n" not in str(caught.value)
    run.weights(other)
    if name == "last":
        with pytest.raises(RunError, match="is damaged"):
            run.restore(state)


class Bomb:
    """What a pickle may do when it is read."""

    def __reduce__(self):
        return Path.touch, (Path("exploded"),)


def test_a_checkpoint_executes_nothing(run, state, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for content in (pickle.dumps(Bomb()), pickle.dumps({"facts": Bomb()})):
        run.checkpoint_path("last").write_bytes(content)
        with pytest.raises(RunError, match="is damaged"):
            run.restore(state)
    assert not Path("exploded").exists()


def test_a_checkpoint_of_another_net(run, state):
    list(run.keep(iter(()), state))
    other = State.fresh(lambda: nn.Linear(3, 2), TrainOptions(epochs=2), torch.device("cpu"), updates=4)
    with pytest.raises(RunError, match=r"does not fit this recipe .*weight.*; train again with") as caught:
        run.restore(other)
    assert "\n" not in str(caught.value)


def test_a_missing_checkpoint(run, state):
    run.restore(state)  # nothing to restore: from the beginning
    assert state.epoch == 0
    with pytest.raises(RunError, match=r"has no best checkpoint \(.* is missing\); put the folder checkpoints back"):
        run.weights("best")
    list(run.keep(iter(()), state))
    with pytest.raises(RunError, match=r"has no best checkpoint .*; the last weights may be there: robustfw evaluate"):
        run.weights("best")


@pytest.mark.parametrize("lost", ["checkpoints", "checkpoints/last.safetensors"])
def test_a_lost_checkpoint_does_not_begin_the_training_anew(lost, run, state):
    list(run.keep(iter([epoch(1, best=True)]), state))
    path = run.path / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    before = contents(run.path)
    with pytest.raises(RunError, match=r"last.safetensors is missing, though 1 epochs were trained: put it back"):
        run.restore(state)
    assert contents(run.path) == before


def test_a_checkpoint_that_may_not_be_read_is_not_called_missing(run, state, monkeypatch):
    list(run.keep(iter(()), state))
    real = Path.open

    def refuse(path, *args, **more):
        if path.name == "last.safetensors":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path, *args, **more)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(RunError, match=r"cannot read .*last.safetensors: Permission denied; mend that, or"):
        run.weights("last")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "is whole: make room, then go on with: robustfw train --resume"),
        (errno.EDQUOT, "is whole: make room, then"),
        (errno.EACCES, "is whole: make it writable for you, then"),
        (errno.EROFS, "is whole: make it writable for you, then"),
        (errno.EIO, "is whole: mend that, then"),
    ],
)
def test_the_advice_is_that_of_the_error(code, words, run, state, monkeypatch):
    def fail(*_, **__):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(runs, "write_whole", fail)
    with pytest.raises(RunError, match=words):
        run.save(state)


# Failures, and others


def test_what_a_kill_left_half_written_is_cleared_away(run, state):
    leftover = run.path / "checkpoints" / ".last.safetensors.123.tmp"
    leftover.write_text("half")
    list(run.keep(iter(()), state))
    assert not leftover.exists()


def test_a_recipe_that_cannot_make_a_step_leaves_no_run(run, state):
    def records():
        raise UsageError("2 radii do not fit 1 channels")
        yield

    with pytest.raises(UsageError):
        list(run.keep(records(), state))
    assert contents(run.path) == {}
    Run.create(run.path, MANIFEST)


def test_a_usage_error_after_that_keeps_what_there_is(run, state):
    def records():
        state.batch = 1
        yield step(1)
        raise UsageError("something else")

    with pytest.raises(UsageError):
        list(run.keep(records(), state))
    assert run.manifest() == MANIFEST
    assert run.checkpoint_path("last").exists()


def test_one_training_at_a_time(run, state, monkeypatch):
    pytest.importorskip("fcntl")
    monkeypatch.setattr(locks, "PATIENCE", 0.2)
    first = run.keep(iter([step(1), step(2)]), state)
    next(first)
    before = contents(run.path)
    with pytest.raises(RunError, match="is being trained already, by another process or by records"):
        next(run.keep(iter([step(1)]), state))
    assert contents(run.path) == before
    first.close()
    assert len(list(run.keep(iter([step(1)]), state))) == 1
