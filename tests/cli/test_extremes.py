"""Extreme arguments end in one sentence and exit status 2, whatever the command; no memory is said so."""

from __future__ import annotations

import random

import pytest
import torch

from robustfw import cli

EXTREMES = [
    f"linf:radius={'9' * 5000}",
    "linf:radius=1e999",
    f"linf:radius={'[' * 3000}{']' * 3000}",
    f"linf:{'(' * 3000}",
    "linf:radius=nan",
    "linf:radius=٨/٢٥٥",
    "linf\0",
    "linf:radius=\0",
    "".join(["linf:radius="] * 500),
    "\ud800",
    "[",
    ":",
    "=",
    "",
]


@pytest.mark.parametrize("spec", EXTREMES, ids=range(len(EXTREMES)))
@pytest.mark.parametrize("command", [["train", "--uncertainty"], ["check", "uncertainty"], ["show", "uncertainty"]])
def test_an_extreme_spec(command, spec, robustfw):
    answer = robustfw(*command, spec)
    answer.refused(2)
    assert len(answer.err) < 700


@pytest.mark.parametrize(
    "flags",
    [
        ["--batch-size", "1e20"],
        ["--batch-size", "1" + 30 * "0"],
        ["--epochs", "9" * 5000],
        ["--learning-rate", "nan"],
        ["--seed", "1e400"],
        ["--data-dir", "a\0b"],
        ["--out", "a\0b"],
        ["--validation-examples", "٣"],
        ["--ema", "[[[[0.5]]]]"],
    ],
    ids=lambda flags: flags[0],
)
def test_an_extreme_flag(flags, robustfw):
    robustfw("train", *flags).refused(2)


def test_random_specs_never_end_unexpectedly(robustfw):
    source = random.Random(1)
    pieces = [*"[](){}=,:\"'/\\#.+-_eE \t\n9", "nan", "inf", "1e400", "9" * 4400, "radius", "8/255", "٣", "\0", "pgd:"]
    for _ in range(300):
        spec = f"linf:{''.join(source.choices(pieces, k=source.randint(1, 9)))}=x"
        answer = robustfw("check", "uncertainty", spec)
        answer.refused(2)


@pytest.mark.parametrize(
    ("error", "words", "status"),
    [
        (MemoryError(), "not enough memory for this: take a smaller batch, model or data set", 1),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate\n2 GiB"), "not enough memory", 1),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "not enough memory", 1),
        (RuntimeError("Storage size calculation overflowed with sizes=[1, 2]"), "not enough memory", 1),
        (OverflowError("int too large to convert to float"), "a number is too large: int too large", 2),
        (RuntimeError("something else"), "RuntimeError: something else (unexpected: see robustfw --debug …)", 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_a_command_may_end_in(error, words, status, robustfw, monkeypatch):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(cli.plugins, "callback", fail)
    answer = robustfw("plugins")
    (line,) = answer.err.splitlines()
    assert answer.status == status
    assert words in line


def test_a_net_that_no_memory_holds(robustfw):
    answer = robustfw("train", "--model", "mlp:hidden=[1000000000,1000000000]")
    answer.refused(2, "of memory here: choose fewer hidden units")
