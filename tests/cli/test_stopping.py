"""Requests to stop, as signals that a process sends to itself."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from robustfw.cli.stopping import requests

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
