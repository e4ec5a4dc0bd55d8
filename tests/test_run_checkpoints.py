"""Checkpoints of a run: what is saved, what comes back, and clear words about what is damaged."""

from __future__ import annotations

import errno
import os
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from robustfw import RunError
from robustfw.storage import runs
from robustfw.training._state import State
from robustfw.training.recipe import TrainOptions

from .run_contents import contents, epoch, step


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
