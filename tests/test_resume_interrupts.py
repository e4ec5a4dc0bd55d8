"""A training that was stopped by Ctrl-C or a signal goes on as if nothing had happened, bit for bit."""

from __future__ import annotations

import contextlib
import itertools
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from PIL import Image

from .resuming import (
    USUAL,
    act_after,
    assert_equal_runs,
    checkpoint,
    facts,
    interrupt,
    metrics,
    signal_sender,
    wait_for,
)


@pytest.mark.parametrize("batch", [1, 4, 9], ids=["first batch", "mid-epoch", "last batch"])
def test_stopped_and_resumed_equals_uninterrupted(batch, robustfw, watchers, whole):
    answer = interrupt(robustfw, watchers, "run", USUAL, batch=batch)
    assert facts(checkpoint("run"))["batch"] == batch
    assert len(metrics("run")) == 1
    assert answer.err.splitlines() == [
        "stopping after this step …",
        "stopped, all is saved; to go on: robustfw train --resume --out run",
    ]
    assert robustfw("train", "--resume", "--out", "run").status == 0
    assert_equal_runs("run", whole)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_termination_is_a_request_as_well(number, robustfw, watchers, whole):
    interrupt(robustfw, watchers, "run", USUAL, number=number)
    assert robustfw("train", *USUAL, "--resume", "--out", "run").status == 0
    assert_equal_runs("run", whole)


def test_stopped_again_and_again(robustfw, watchers, whole):
    interrupt(robustfw, watchers, "run", USUAL, epoch=1, batch=2)
    for epoch, batch in ((1, 7), (1, 8), (3, 1)):
        interrupt(robustfw, watchers, "run", (*USUAL, "--resume"), epoch=epoch, batch=batch)
    assert robustfw("train", "--resume", "--out", "run").status == 0
    assert_equal_runs("run", whole)


def test_a_second_request_does_not_wait_for_the_step(robustfw, watchers, whole):
    def hang():
        for delay in (0.1, 0.2, 1):  # the second is an echo of the first
            threading.Timer(delay, signal_sender()).start()
        time.sleep(60)

    watchers[:] = [act_after(2, 4, hang)]
    start = time.monotonic()
    answer = robustfw("train", *USUAL, "--out", "run")
    assert time.monotonic() - start < 30
    assert answer.status == 130
    assert answer.err.splitlines()[-1] == "stopped at once; to go on: robustfw train --resume --out run"
    watchers.clear()
    assert robustfw("train", "--resume", "--out", "run").status == 0
    assert_equal_runs("run", whole)


def test_the_handlers_are_put_back(robustfw, watchers):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    interrupt(robustfw, watchers, "run", USUAL)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_ctrl_c_in_the_final_evaluation_loses_nothing(robustfw, watchers, whole, monkeypatch):
    from robustfw.evaluation import Verdicts

    monkeypatch.setattr(Verdicts, "concatenate", lambda parts: signal.raise_signal(signal.SIGINT))
    answer = robustfw("train", "--resume", "--out", whole)
    assert (answer.status, answer.err) == (130, "stopped at once; to go on: robustfw train --resume --out whole\n")


def test_the_path_in_the_advice_can_be_pasted(robustfw, watchers):
    answer = interrupt(robustfw, watchers, "my runs/it's", USUAL)
    assert shlex.split(answer.err.splitlines()[-1].partition("robustfw ")[2])[-1] == "my runs/it's"


@pytest.mark.skipif(sys.platform == "win32", reason="process groups")
def test_ctrl_c_in_a_terminal_reaches_the_workers_too(tmp_path):
    """The signal goes to the whole process group, of which the workers that read images are a part."""
    for part, name, i in itertools.product(("train", "test"), ("dark", "light"), range(200)):
        folder = tmp_path / "data" / "images" / part / name
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (i // 2 if name == "dark" else 255 - i // 2,) * 3).save(folder / f"{i}.png")
    data = "image-folder:size=8,workers=1,augment=none,validation=0.2"
    command = [sys.executable, "-m", "robustfw", "train", "--dataset", data, "--data-dir", str(tmp_path / "data")]
    with subprocess.Popen(
        [*command, "--epochs", "50", "--batch-size", "1", "--out", "run"],
        cwd=tmp_path, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        wait_for(checkpoint(tmp_path / "run"), process)
        time.sleep(0.5)  # in the first epoch of 320 steps
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.splitlines() == [
        "stopping after this step …",
        "stopped, all is saved; to go on: robustfw train --resume --out run",
    ]


def test_ctrl_c_reaches_several_processes_and_the_first_decides(tmp_path):
    """Twice within a moment, from the terminal and from torchrun, which passes it on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    command = [sys.executable, "-m", "robustfw", "train", "--epochs", "500", "--threads", "1", "--out", "run"]
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    command, env=environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)}, cwd=tmp_path,
                    stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                )
            )
            for rank in (0, 1)
        ]  # fmt: skip
        wait_for(tmp_path / "run" / "metrics.jsonl", processes[0])
        for process in processes * 2:
            process.send_signal(signal.SIGINT)
        first, second = (process.communicate(timeout=60)[1] for process in processes)
    assert [process.returncode for process in processes] == [130, 130], first + second
    assert "stopped, all is saved" in first
    assert second == ""
