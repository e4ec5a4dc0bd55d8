"""Requests to stop, as signals that a process sends to itself."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from robustfw.cli.stopping import requests
from robustfw.reproduction import running

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
    handler, mask = signal.signal(signal.SIGINT, running._kept), signal.pthread_sigmask(signal.SIG_BLOCK, ())
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
        with requests(quiet=True) as asked:
            assert asked() == signal.SIGINT
    finally:
        done.set()
        thread.join()
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, handler)
