"""Lines of progress where no bar can be drawn: how far, and about how long it still takes."""

from __future__ import annotations

import attrs
import pytest
import torch

from robustfw import console
from robustfw.console import _bars
from robustfw.evaluation import Verdicts
from robustfw.inner.problem import Passes


class Clock:
    """A clock that is put forward by hand."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(_bars, "time", made)
    return made


def verdicts(n, seconds):
    right = torch.ones(n, dtype=torch.bool)
    half = torch.arange(n) % 2 == 0
    return Verdicts(torch.zeros(n), right, half, 0, 0, 0, Passes(), seconds)


def test_an_evaluation_says_the_time_left_at_its_rate(clock, capsys):
    def parts():
        for _ in range(10):
            clock.now += 20
            yield verdicts(100, 20)

    list(console.batches(parts(), 1000, "test", quiet=False))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "100 of 1000 test examples attacked, 50.0% robust so far, about 3 min left"
    assert lines[-1] == "900 of 1000 test examples attacked, 50.0% robust so far, about 20 s left"
    assert len(lines) == 9


def test_what_an_earlier_command_measured_counts_with_the_time_that_it_took_then(clock, capsys):
    def parts():
        # read from a file in no time
        yield verdicts(500, 1000)
        clock.now += 20
        yield attrs.evolve(verdicts(10, 20))
        clock.now += 960
        yield verdicts(490, 960)

    list(console.batches(parts(), 1000, "test", quiet=False))
    assert "510 of 1000 test examples attacked, 50.0% robust so far, about 16 min left" in capsys.readouterr().err


def test_other_commands_say_it_too(clock, capsys):
    def batches():
        for size in (300, 300, 400):
            clock.now += 4000
            yield range(size)

    list(console.track(batches(), 1000, "sweeping", size=len))
    assert capsys.readouterr().err.splitlines() == [
        "sweeping: 300 of 1000, about 2.6 h left",
        "sweeping: 600 of 1000, about 89 min left",
    ]


def test_nothing_is_said_too_often_or_where_it_shall_be_quiet(clock, capsys):
    def items():
        for _ in range(10):
            clock.now += 1
            yield 0

    list(console.track(items(), 10, "auditing"))
    clock.now += 100
    list(console.track(iter([clock.now]), 10, "auditing", quiet=True))
    assert capsys.readouterr() == ("", "")
