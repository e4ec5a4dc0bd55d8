"""Ctrl-C and SIGTERM: the first one asks, the second one stops at once."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator

import click


class Stopped(Exception):
    """Ended by a signal, on request. The exit status is a shell's: 128 + the signal, so 130 after Ctrl-C."""

    def __init__(self, message: str, signum: int = signal.SIGINT) -> None:
        super().__init__(message)
        self.exit_status = 128 + signum


@contextlib.contextmanager
def requests(*, quiet: bool) -> Iterator[Callable[[], int]]:
    """While inside, a function that tells which signal has asked to stop, or 0; a second one is a KeyboardInterrupt."""
    asked, process = 0, os.getpid()

    def ask(signum: int, _: object) -> None:
        nonlocal asked
        if os.getpid() != process:  # a forked worker, whom a terminal's Ctrl-C reaches too
            return
        if asked:
            raise KeyboardInterrupt
        asked = signum
        if not quiet:
            click.echo("stopping after this step …", err=True)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
