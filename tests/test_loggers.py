"""Loggers hear of a training's start, records and end; their failures are warnings that name the plugin."""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path

import pytest

from robustfw import RobustfwWarning, hookimpl
from robustfw.plugin.registry import Registry
from robustfw.training._loggers import Loggers

RUN = Path("runs/one")
RECIPE = {"attack": {"use": "pgd"}}


class Diary:
    """Hears everything."""

    def __init__(self):
        self.heard = []

    @hookimpl
    def robustfw_start(self, run, recipe):
        self.heard.append(("start", run, recipe))

    @hookimpl
    def robustfw_record(self, run, record):
        self.heard.append(("record", run, record))

    @hookimpl
    def robustfw_end(self, run, outcome):
        self.heard.append(("end", run, outcome))


class Old:
    """A logger of the first edition, which takes the record alone."""

    def __init__(self):
        self.heard = []

    @hookimpl
    def robustfw_record(self, record):
        self.heard.append(record)


class Failing:
    """Raises in each hook."""

    @hookimpl
    def robustfw_start(self):
        raise OSError("no network")

    @hookimpl
    def robustfw_record(self, record):
        raise ValueError(f"cannot log {record}\nat all")

    @hookimpl
    def robustfw_end(self, outcome):
        raise RuntimeError


def train(loggers, records):
    """A training, as the session runs it: a generator that may be closed early."""
    with loggers.training(RECIPE):
        for record in records:
            loggers.record(record)
            yield record


def test_start_records_and_end_in_order():
    diary = Diary()
    assert list(train(Loggers(Registry({"diary": diary}), RUN), [1, 2])) == [1, 2]
    assert diary.heard == [
        ("start", RUN, RECIPE),
        ("record", RUN, 1),
        ("record", RUN, 2),
        ("end", RUN, "finished"),
    ]


def test_a_training_without_a_directory_and_a_logger_that_takes_the_record_alone():
    diary, old = Diary(), Old()
    list(train(Loggers(Registry({"diary": diary, "old": old}), None), [1]))
    assert old.heard == [1]
    assert diary.heard[0] == ("start", None, RECIPE)


@pytest.mark.parametrize("stop", ["close", KeyboardInterrupt, SystemExit])
def test_a_training_that_is_stopped(stop):
    diary = Diary()
    training = train(Loggers(Registry({"diary": diary}), RUN), [1, 2])
    next(training)
    if stop == "close":
        training.close()
    else:
        with pytest.raises(stop):
            training.throw(stop())
    assert diary.heard[-1] == ("end", RUN, "stopped")


def test_a_training_that_fails_tells_the_exception_and_raises_it():
    diary, error = Diary(), ValueError("the loss is nan")

    def records():
        yield 1
        raise error

    with pytest.raises(ValueError, match="the loss is nan"):
        list(train(Loggers(Registry({"diary": diary}), RUN), records()))
    assert diary.heard[-1] == ("end", RUN, error)


def test_a_logger_that_fails_is_a_warning_and_the_training_and_other_loggers_go_on():
    diary = Diary()
    registry = Registry({"failing": Failing(), "diary": diary}, {"failing": "some-logger 1.2"})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert list(train(Loggers(registry, RUN), [1, 2, 3])) == [1, 2, 3]
    assert [heard[0] for heard in diary.heard] == ["start", "record", "record", "record", "end"]
    assert {warning.category for warning in caught} == {RobustfwWarning}
    start, record, end = (str(warning.message) for warning in caught)  # once for each hook, not for each record
    assert start.startswith("the plugin failing (some-logger 1.2) failed in robustfw_start: OSError: no network; ")
    assert record.startswith(
        "the plugin failing (some-logger 1.2) failed in robustfw_record: ValueError: cannot log 1; "
    )
    assert end.startswith("the plugin failing (some-logger 1.2) failed in robustfw_end: RuntimeError: ; ")


def test_only_the_first_process_logs():
    diary = Diary()
    list(train(Loggers(Registry({"diary": diary}), RUN, first_process=False), [1]))
    assert diary.heard == []


def test_a_wrapper_of_pluggy_still_wraps():
    class Wrapper:
        heard = 0

        @hookimpl(wrapper=True)
        def robustfw_record(self, record):
            Wrapper.heard += 1
            return (yield)

    diary = Diary()
    with contextlib.closing(train(Loggers(Registry({"wrapper": Wrapper(), "diary": diary}), RUN), [1])) as training:
        assert list(training) == [1]
    assert Wrapper.heard == 1
    assert ("record", RUN, 1) in diary.heard


def test_an_argument_that_no_hook_has_is_a_broken_plugin():
    class Wrong:
        @hookimpl
        def robustfw_record(self, record, epoch):
            """There is no epoch."""

    (broken,) = Registry({"wrong": Wrong()}).broken
    assert "epoch" in broken.reason
