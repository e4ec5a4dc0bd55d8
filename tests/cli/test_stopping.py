"""Requests to stop, as signals that a process sends to itself."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

import pytest

from robustfw.cli._stopping import Stopped, requests
from robustfw.reproduction import _running as running

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")


def interrupt():
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)


def test_a_signal_is_a_request_and_handlers_come_back():
    before = signal.getsignal(signal.SIGINT)
    with requests(quiet=True) as asked:
        assert asked() == 0
        interrupt()
        assert asked() == signal.SIGINT
    assert signal.getsignal(signal.SIGINT) is before


def test_one_that_was_sent_before_the_training_began_is_not_lost():
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        interrupt()
        with requests(quiet=True) as asked:
            assert asked() == signal.SIGINT
        assert signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()), "blocked as before"
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def test_one_that_another_thread_was_given_is_kept_for_the_training():
    """As in a process of `robustfw reproduce`: numpy has threads that do not block it."""
    handler, mask = signal.signal(signal.SIGINT, running._forward_signal), signal.pthread_sigmask(signal.SIG_BLOCK, ())
    ready, done = threading.Event(), threading.Event()

    def other():
        ready.set()
        done.wait()

    thread = threading.Thread(target=other)
    thread.start()
    ready.wait()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        signal.pthread_kill(thread.ident, signal.SIGINT)
        for _ in range(10**6):  # Python runs the handler between two steps of the main thread
            if signal.SIGINT in signal.sigpending():
                break
            time.sleep(0.001)  # the other thread must have run to be given the signal
        with requests(quiet=True) as asked:
            assert asked() == signal.SIGINT
    finally:
        done.set()
        thread.join()
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, handler)


def test_a_closed_terminal_is_a_request_as_well():
    before = signal.getsignal(signal.SIGHUP)
    with requests(quiet=False) as asked:
        signal.raise_signal(signal.SIGHUP)
        assert asked() == signal.SIGHUP
        assert Stopped("", asked()).exit_status == 129
    assert signal.getsignal(signal.SIGHUP) is before


def test_what_nohup_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with requests(quiet=True) as asked:
            signal.raise_signal(signal.SIGHUP)
            assert asked() == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_terminal_that_is_gone_is_not_written_to(monkeypatch):
    """The state is saved and the exit status is 129, though a write to the terminal would now raise."""
    first, second = os.openpty()
    with open(second, "w", encoding="utf-8", buffering=1, closefd=False) as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        with requests(quiet=True) as asked:
            os.close(first)
            signal.raise_signal(signal.SIGHUP)
            print("epoch 1", flush=True)  # noqa: T201  # what the console would say
            assert asked() == signal.SIGHUP
        assert sys.stdout is not terminal
        sys.stdout.close()
    os.close(second)
