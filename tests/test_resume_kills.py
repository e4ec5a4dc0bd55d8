"""A training that was killed or starved of disk goes on as if nothing had happened, bit for bit."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from robustfw.cli import main
from robustfw.storage import runs

from .resuming import BASE, USUAL, assert_equal_runs, checkpoint, interrupt, metrics, wait_for

DRIVER = """
import sys
from robustfw import cli
from robustfw.storage import runs
runs.SAVE_EVERY = 0.02
cli.main(sys.argv[1:])
"""


# Kills


def kill_training(out, delay, arguments, environment):
    """Exit status of a training that gets a SIGKILL so many seconds after its first checkpoint."""
    command = [sys.executable, "-c", DRIVER, "train", *arguments, "--out", str(out)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        wait_for(checkpoint(out), process)
        time.sleep(delay)
        process.kill()
        return process.wait()


@pytest.mark.parametrize("kills", [3, pytest.param(10, marks=pytest.mark.slow)])
def test_killed_at_random_moments_and_resumed_equals_uninterrupted(kills, robustfw, distribution, monkeypatch):
    monkeypatch.setattr(runs, "SAVE_EVERY", 0.02)
    arguments, start = (*BASE, "--epochs", "20", "--ema", "0.9"), time.monotonic()
    assert robustfw("train", *arguments, "--out", "whole").status == 0
    duration, moments = time.monotonic() - start, random.Random(kills)
    environment = os.environ | {"PYTHONPATH": str(distribution)}
    with ThreadPoolExecutor(max_workers=3) as pool:
        ends = [
            pool.submit(kill_training, f"run{i}", moments.uniform(0, 0.9 * duration), arguments, environment)
            for i in range(kills)
        ]
    assert -signal.SIGKILL in [end.result() for end in ends]
    for i in range(kills):
        answer = robustfw("train", *arguments, "--resume", "--out", f"run{i}")
        assert answer.status == 0, answer
        assert_equal_runs(f"run{i}", "whole")
        assert not list(Path(f"run{i}").glob("**/*.tmp"))


class Killed(BaseException):
    """What ends a process at a chosen moment; unlike a signal it can be caught, by the test."""


@pytest.mark.parametrize("after", [False, True], ids=["before the rename", "after it"])
def test_killed_at_each_write_and_resumed_equals_uninterrupted(after, robustfw, whole, monkeypatch):
    """Manifest, metrics, first state; then at each epoch a line, the best weights, the state."""
    rename, writes = Path.replace, itertools.count()

    def replace(path, target):
        if after:
            rename(path, target)
        if next(writes) == moment:
            raise Killed
        return None if after else rename(path, target)

    monkeypatch.setattr(runs, "SAVE_EVERY", 1e9)
    best = [line["best"] for line in metrics(whole)]
    for moment in range(after, 3 + len(best) + sum(best)):  # before the manifest is in place there is no run
        run, writes = f"run{moment}", itertools.count()
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", replace)
            with pytest.raises(Killed):
                main(["train", *USUAL, "--out", run])
        assert robustfw("train", *USUAL, "--resume", "--out", run).status == 0
        assert_equal_runs(run, whole)


# A full disk


@contextlib.contextmanager
def full_disk(size):
    """No file grows beyond so many bytes."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    assert signal.getsignal(signal.SIGXFSZ) == signal.SIG_IGN  # so Python starts: writing raises instead
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_the_last_checkpoint_whole(robustfw, watchers, whole):
    interrupt(robustfw, watchers, "run", USUAL)
    before = checkpoint("run").read_bytes()
    with full_disk(len(before) - 1):
        answer = robustfw("train", "--resume", "--out", "run")
    assert answer.status == 1
    assert answer.err == (
        "Error: cannot write run/checkpoints/last.safetensors: File too large; what was saved before is whole: make "
        "room, then go on with: robustfw train --resume --out run\n"
    )
    assert checkpoint("run").read_bytes() == before
    assert not list(Path("run").glob("**/*.tmp"))
    assert robustfw("train", "--resume", "--out", "run").status == 0
    assert_equal_runs("run", whole)


def test_a_disk_that_is_full_from_the_start(robustfw, whole):
    with full_disk(100):
        answer = robustfw("train", *USUAL, "--out", "run")
    assert answer.status == 1
    assert answer.err.startswith("Error: cannot write run/manifest.json: File too large; make room or choose another")
    with full_disk(8000):
        answer = robustfw("train", *USUAL, "--out", "run")
    assert answer.err.startswith("Error: cannot write run/checkpoints/last.safetensors: File too large; what was saved")
    assert robustfw("train", "--resume", "--out", "run").status == 0
    assert_equal_runs("run", whole)
