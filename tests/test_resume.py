"""A training that was stopped, killed or starved of disk goes on as if nothing had happened, bit for bit."""

from __future__ import annotations

import contextlib
import importlib
import itertools
import json
import os
import random
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image
from safetensors import safe_open

from robustfw.cli import main
from robustfw.plugin import registry
from robustfw.records import Step
from robustfw.storage import runs

PLUGIN = '''
"""A net with what a resumed training could get wrong, and a hook that the tests can look through."""

import attrs

import robustfw

watchers = []


@attrs.frozen
class Delicate(robustfw.Model):
    """A convolution, batch norm, dropout."""

    def build(self, spec):
        from torch import nn

        features = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3)
        return nn.Sequential(*features, nn.Flatten(), nn.Linear(256, 10))


@robustfw.hookimpl
def robustfw_register(add):
    add("delicate", Delicate)


@robustfw.hookimpl
def robustfw_record(record):
    for watcher in watchers:
        watcher(record)
'''
DRIVER = """
import sys
from robustfw import cli
from robustfw.storage import runs
runs.SAVE_EVERY = 0.02
cli.main(sys.argv[1:])
"""
BASE = (
    "--model", "delicate", "--attack", "pgd:steps=2", "--batch-size", "128", "--validation-examples", "60",
    "--threads", "1", "--device", "cpu",
)  # fmt: skip
USUAL = (*BASE, "--epochs", "3", "--ema", "0.9")


class Answer(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture(scope="module")
def distribution(tmp_path_factory):
    """A folder that holds the plugin as if it were installed there."""
    folder = tmp_path_factory.mktemp("distribution")
    info = folder / "delicate-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: delicate\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[robustfw]\ndelicate = delicate_plugin\n")
    (folder / "delicate_plugin.py").write_text(PLUGIN)
    return folder


@pytest.fixture
def watchers(distribution, monkeypatch, tmp_path):
    """With the plugin installed: what is called with each record of a training. Every step is saved."""
    monkeypatch.syspath_prepend(distribution)
    monkeypatch.setattr(runs, "SAVE_EVERY", -1.0)
    monkeypatch.chdir(tmp_path)
    registry.installed.cache_clear()
    plugin = importlib.import_module("delicate_plugin")
    yield plugin.watchers
    plugin.watchers.clear()
    registry.installed.cache_clear()


@pytest.fixture
def robustfw(watchers, capsys):
    """The command line in this process."""

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        return Answer(ended.value.code or 0, *capsys.readouterr())

    return run


@pytest.fixture
def whole(robustfw):
    """The usual training, never interrupted."""
    assert robustfw("train", *USUAL, "--out", "whole").status == 0
    return Path("whole")


def checkpoint(run, name="last"):
    return Path(run) / "checkpoints" / f"{name}.safetensors"


def facts(path):
    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()["facts"])


def metrics(run):
    lines = [json.loads(line) for line in (Path(run) / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def assert_equal_runs(run, other):
    """Weights, optimizer, schedule, counters, to the last bit; metrics but for the time they took."""
    for name in ("last", "best"):
        one, two = checkpoint(run, name), checkpoint(other, name)
        assert facts(one) == facts(two)
        assert one.read_bytes() == two.read_bytes(), name
    assert metrics(run) == metrics(other)


def at(epoch, batch, act):
    """A watcher that acts after a certain step."""

    def watcher(record):
        if isinstance(record, Step) and (record.epoch, record.batch) == (epoch, batch):
            act()

    return watcher


def signalled(number=signal.SIGINT):
    return lambda: os.kill(os.getpid(), number)


def interrupted(robustfw, watchers, out, arguments, *, epoch=2, batch=4, number=signal.SIGINT):
    """A training that was told to stop after a step."""
    watchers[:] = [at(epoch, batch, signalled(number))]
    answer = robustfw("train", *arguments, "--out", out)
    watchers.clear()
    assert answer.status == 128 + number, answer
    return answer


# Ctrl-C and SIGTERM


@pytest.mark.parametrize("batch", [1, 4, 9], ids=["first batch", "mid-epoch", "last batch"])
def test_stopped_and_resumed_equals_uninterrupted(batch, robustfw, watchers, whole):
    answer = interrupted(robustfw, watchers, "run", USUAL, batch=batch)
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
    interrupted(robustfw, watchers, "run", USUAL, number=number)
    assert robustfw("train", *USUAL, "--resume", "--out", "run").status == 0
    assert_equal_runs("run", whole)


def test_stopped_again_and_again(robustfw, watchers, whole):
    interrupted(robustfw, watchers, "run", USUAL, epoch=1, batch=2)
    for epoch, batch in ((1, 7), (1, 8), (3, 1)):
        interrupted(robustfw, watchers, "run", (*USUAL, "--resume"), epoch=epoch, batch=batch)
    assert robustfw("train", "--resume", "--out", "run").status == 0
    assert_equal_runs("run", whole)


def test_a_second_request_does_not_wait_for_the_step(robustfw, watchers, whole):
    def hang():
        for delay in (0.1, 0.2, 1):  # the second is an echo of the first
            threading.Timer(delay, signalled()).start()
        time.sleep(60)

    watchers[:] = [at(2, 4, hang)]
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
    interrupted(robustfw, watchers, "run", USUAL)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_ctrl_c_in_the_final_evaluation_loses_nothing(robustfw, watchers, whole, monkeypatch):
    from robustfw.evaluation import Verdicts

    monkeypatch.setattr(Verdicts, "concatenate", lambda parts: signal.raise_signal(signal.SIGINT))
    answer = robustfw("train", "--resume", "--out", whole)
    assert (answer.status, answer.err) == (130, "stopped at once; to go on: robustfw train --resume --out whole\n")


def test_the_path_in_the_advice_can_be_pasted(robustfw, watchers):
    answer = interrupted(robustfw, watchers, "my runs/it's", USUAL)
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


# Kills


def wait_for(path, process):
    """Until a file has something in it."""
    deadline = time.monotonic() + 120
    while not (path.exists() and path.stat().st_size):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def killed(out, delay, arguments, environment):
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
            pool.submit(killed, f"run{i}", moments.uniform(0, 0.9 * duration), arguments, environment)
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
    interrupted(robustfw, watchers, "run", USUAL)
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


# What else is in a state


@pytest.mark.parametrize(
    "schedule",
    ["constant", "cosine", "multistep:milestones=[0.3,0.6,0.9]", "one-cycle:pct_start=0.5", "inverse-time:decay=0.1"],
)
@pytest.mark.parametrize("optimizer", ["sgd:momentum=0.9", "sgd:momentum=0", "adamw:weight_decay=0.1", "muon"])
def test_optimizers_and_schedules(optimizer, schedule, robustfw, watchers):
    rate = "0.01" if optimizer.startswith("adamw") else "0.1"
    arguments = (*BASE, "--epochs", "2", "--learning-rate", rate, "--optimizer", optimizer, "--schedule", schedule)
    assert robustfw("train", *arguments, "--out", "whole").status == 0
    interrupted(robustfw, watchers, "run", arguments, epoch=1, batch=5)
    assert robustfw("train", "--resume", "--out", "run").status == 0
    assert_equal_runs("run", "whole")
    assert len({line["learning_rate"] for line in metrics("run")}) == (1 if schedule == "constant" else 2)


def test_momentum_of_filters(robustfw, watchers):
    arguments = (*BASE, "--model", "fast-cifar:widths=[8]", "--epochs", "2", "--optimizer", "muon")
    assert robustfw("train", *arguments, "--out", "whole").status == 0
    interrupted(robustfw, watchers, "run", arguments, epoch=1, batch=5)
    with safe_open(checkpoint("run"), framework="pt") as file:
        kept = [name for name in file.keys() if name.endswith(".filter_momentum")]  # noqa: SIM118  # not a mapping
    assert len(kept) == 2, "of both convolutions that learn; the first one is fixed"
    assert robustfw("train", "--resume", "--out", "run").status == 0
    assert_equal_runs("run", "whole")


def test_weights_to_roll_back_to(robustfw, watchers):
    """The net learns against a weak attack, overfits, is rolled back: before the interruption and after it."""
    arguments = (
        *BASE, "--epochs", "5", "--attack", "random:samples=1", "--uncertainty", "linf:radius=0.2",
        "--validation-attack", "pgd:steps=5", "--on-overfitting", "roll-back", "--learning-rate", "0.02",
        "--schedule", "one-cycle:pct_start=0.9",
    )  # fmt: skip
    assert robustfw("train", *arguments, "--out", "whole").status == 0
    rolled_back = [line["epoch"] for line in metrics("whole") if "rolled back" in " ".join(line["warnings"])]
    assert 1 < rolled_back[0] < rolled_back[-1]
    interrupted(robustfw, watchers, "run", arguments, epoch=rolled_back[-1], batch=3)
    with safe_open(checkpoint("run"), framework="pt") as file:
        good = {name.removeprefix("good.") for name in file.keys() if name.startswith("good.")}  # noqa: SIM118
        assert good == {name.removeprefix("model.") for name in file.keys() if name.startswith("model.")}  # noqa: SIM118
    assert robustfw("train", "--resume", "--out", "run").status == 0
    assert_equal_runs("run", "whole")


def test_warm_up_clipping_augmentation_and_ascent_in_training_mode(robustfw, watchers):
    arguments = (*USUAL, "--radius-warmup", "2.5", "--clip", "0.5", "--ascent-mode", "train", "--seed", "7")
    assert robustfw("train", *arguments, "--out", "whole").status == 0
    interrupted(robustfw, watchers, "run", arguments)
    assert robustfw("train", "--resume", "--out", "run").status == 0
    assert_equal_runs("run", "whole")


# A run that is finished, a run that is not there


def test_a_finished_run_is_evaluated_again_and_left_alone(robustfw, whole):
    before = checkpoint(whole).read_bytes(), checkpoint(whole).stat().st_mtime_ns, metrics(whole)
    result = json.loads((whole / "manifest.json").read_text())["result"]
    answer = robustfw("train", "--resume", "--out", whole)
    assert answer.status == 0
    assert answer.out.splitlines()[0] == "the training in whole is finished"
    assert "robust accuracy" in answer.out
    assert (checkpoint(whole).read_bytes(), checkpoint(whole).stat().st_mtime_ns, metrics(whole)) == before
    again = json.loads((whole / "manifest.json").read_text())["result"]
    assert {**again, "seconds": 0} == {**result, "seconds": 0}


def test_without_a_run_yet_resume_starts_one(robustfw, whole):
    assert robustfw("train", *USUAL, "--resume", "--out", "run").status == 0
    assert_equal_runs("run", whole)


def test_a_program_stops_and_resumes(watchers, robustfw, whole):
    import robustfw as package

    options = {
        "model": "delicate", "attack": "pgd:steps=2", "batch_size": 128, "validation_examples": 60, "threads": 1,
        "device": "cpu", "epochs": 3, "ema": 0.9, "out": "run",
    }  # fmt: skip
    with contextlib.closing(package.train(**options, steps=True)) as records:
        for record in records:
            if isinstance(record, Step) and (record.epoch, record.batch) == (2, 4):
                break
    assert facts(checkpoint("run"))["batch"] == 4
    assert [record.epoch for record in package.train(**options, resume=True)] == [2, 3]
    assert_equal_runs("run", whole)
