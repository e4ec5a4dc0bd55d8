"""Ctrl-C, SIGTERM and a closed terminal (SIGHUP): the first one asks, the second one stops at once."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator

import click

ECHO = 0.5
"""Seconds within which a second signal is the first one again: torchrun passes on what the terminal sends to all."""


SIGHUP = getattr(signal, "SIGHUP", None)  # Windows has none
ASKING = tuple(number for number in (signal.SIGINT, signal.SIGTERM, SIGHUP) if number is not None)


class Stopped(Exception):
    """Ended by a signal, on request. The exit status is a shell's: 128 + the signal, so 130 after Ctrl-C."""

    def __init__(self, message: str, signum: int = signal.SIGINT) -> None:
        super().__init__(message)
        self.exit_status = 128 + signum


@contextlib.contextmanager
def requests(*, quiet: bool) -> Iterator[Callable[[], int]]:
    """While inside, a function that tells which signal has asked to stop, or 0; a second one is a KeyboardInterrupt."""
    asked, since, process = 0, 0.0, os.getpid()
    terminals = [name for name in ("stdout", "stderr") if _is_terminal(name)]

    def ask(signum: int, _: object) -> None:
        nonlocal asked, since
        if os.getpid() != process:  # a forked worker, whom a terminal's Ctrl-C reaches too
            return
        if asked:
            if time.monotonic() - since > ECHO:
                raise KeyboardInterrupt
            return
        asked, since = signum, time.monotonic()
        if signum == SIGHUP:
            _silence(terminals)
        if not quiet:
            with contextlib.suppress(OSError):  # nobody may be left to be told, and the state is to be saved
                click.echo("stopping after this step …", err=True)

    # One that is ignored stays so: nohup ignores SIGHUP for a training that shall outlive its terminal.
    heard = [number for number in ASKING if number != SIGHUP or signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, ask) for number in heard}
    try:
        with _unblock(signal.SIGINT):
            yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_terminal(name: str) -> bool:
    try:
        return bool(getattr(sys, name).isatty())
    except (AttributeError, ValueError):  # there is none, or it is closed
        return False


def _silence(terminals: list[str]) -> None:
    """Let what is printed go nowhere from now on where the terminal is gone: a write would raise."""
    for name in terminals:
        if not _is_terminal(name):
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  # for the rest of the process


@contextlib.contextmanager
def _unblock(signum: int) -> Iterator[None]:
    """Inside, a signal arrives; at once, if one was blocked and has been sent (see `reproduction.running`)."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    mask = signal.pthread_sigmask(signal.SIG_UNBLOCK, {signum})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
