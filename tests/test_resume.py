"""A training that was stopped, killed or starved of disk goes on as if nothing had happened, bit for bit."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

import pytest
from safetensors import safe_open

from robustfw import registry, runs
from robustfw.cli import main
from robustfw.records import Epoch, Step

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

        return nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3), nn.Flatten(), nn.Linear(256, 10)
        )


@robustfw.hookimpl
def robustfw_register(add):
    add("delicate", Delicate)


@robustfw.hookimpl
def robustfw_record(record):
    for watcher in watchers:
        watcher(record)
'''
DRIVER = "import sys; from robustfw import cli, runs; runs.SAVE_EVERY = 0.02; cli.main(sys.argv[1:])"
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


def metrics(run, without=("seconds",)):
    lines = [json.loads(line) for line in (Path(run) / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in without} for line in lines]


def assert_equal_runs(run, other, without=("seconds",)):
    """Weights, optimizer, schedule, counters and metrics, to the last bit."""
    for name in ("last", "best"):
        one, two = (Path(each) / "checkpoints" / f"{name}.safetensors" for each in (run, other))
        assert facts(one) == facts(two)
        assert one.read_bytes() == two.read_bytes(), name
    assert metrics(run, without) == metrics(other, without)


def facts(path):
    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()["facts"])


def interrupt(number=signal.SIGINT, *, epoch, batch):
    """A watcher that sends this process a signal after a certain step."""

    def watcher(record):
        if isinstance(record, Step) and (record.epoch, record.batch) == (epoch, batch):
            os.kill(os.getpid(), number)

    return watcher


def interrupted(robustfw, watchers, out, arguments, **moment):
    """A training that was stopped by Ctrl-C."""
    watchers[:] = [interrupt(**moment)]
    answer = robustfw("train", *arguments, "--out", out)
    watchers.clear()
    assert answer.status == 130, answer
    return answer


def test_x(robustfw, watchers):
    assert robustfw("train", *USUAL, "--out", "whole").status == 0
    a = interrupted(robustfw, watchers, "stopped", USUAL, epoch=2, batch=4)
    print(a)
    a = robustfw("train", *USUAL, "--out", "stopped", "--resume")
    print(a)
    for i in (0,1,2):
        print(metrics("whole")[i]); print(metrics("stopped")[i])
    assert_equal_runs("whole", "stopped")
