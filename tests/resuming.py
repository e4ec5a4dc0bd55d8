"""Trainings that are interrupted and resumed: a delicate net, what a run holds, and equality to the last bit."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

from safetensors import safe_open

from robustfw.records import Step

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
BASE = (
    "--model", "delicate", "--attack", "pgd:steps=2", "--batch-size", "128", "--validation-examples", "60",
    "--threads", "1", "--device", "cpu",
)  # fmt: skip
USUAL = (*BASE, "--epochs", "3", "--ema", "0.9")


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


def act_after(epoch, batch, act):
    """A watcher that acts after a certain step."""

    def watcher(record):
        if isinstance(record, Step) and (record.epoch, record.batch) == (epoch, batch):
            act()

    return watcher


def signal_sender(number=signal.SIGINT):
    return lambda: os.kill(os.getpid(), number)


def interrupt(robustfw, watchers, out, arguments, *, epoch=2, batch=4, number=signal.SIGINT):
    """A training that was told to stop after a step."""
    watchers[:] = [act_after(epoch, batch, signal_sender(number))]
    answer = robustfw("train", *arguments, "--out", out)
    watchers.clear()
    assert answer.status == 128 + number, answer
    return answer


def wait_for(path, process):
    """Until a file has something in it."""
    deadline = time.monotonic() + 120
    while not (path.exists() and path.stat().st_size):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
