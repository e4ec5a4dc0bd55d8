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
SIGHUP = getattr(signal, "SIGHUP", None)
"""The signal of a closed terminal; None on Windows, which has none."""
STOP_SIGNALS = tuple(
    number for number in (signal.SIGINT, signal.SIGTERM, SIGHUP) if number is not None
)
"""Signals that ask to stop."""


class Stopped(Exception):
    """The end of a command that a signal asked for. The exit status is 128 + the signal, so 130 after Ctrl-C."""

    def __init__(self, message: str, signum: int = signal.SIGINT) -> None:
        super().__init__(message)
        self.exit_status = 128 + signum


@contextlib.contextmanager
def requests(*, quiet: bool) -> Iterator[Callable[[], int]]:
    """While inside, a function that tells which signal has asked to stop, or 0; a second one is a KeyboardInterrupt."""
    asked = 0
    since = 0.0
    process = os.getpid()
    terminals = [name for name in ("stdout", "stderr") if _is_terminal(name)]

    def ask(signum: int, _: object) -> None:
        nonlocal asked, since
        # a forked worker, whom a terminal's Ctrl-C reaches too
        if os.getpid() != process:
            return
        if asked:
            if time.monotonic() - since > ECHO:
                raise KeyboardInterrupt
            return
        asked = signum
        since = time.monotonic()
        if signum == SIGHUP:
            _silence(terminals)
        if not quiet:
            # nobody may be left to be told, and the state is to be saved
            with contextlib.suppress(OSError):
                click.echo("stopping after this step …", err=True)

    # A SIGHUP that is ignored stays so: nohup ignores it for a training that shall outlive its terminal.
    ignored = [
        number
        for number in STOP_SIGNALS
        if number == SIGHUP and signal.getsignal(number) == signal.SIG_IGN
    ]
    old_handlers = {
        number: signal.signal(number, ask)
        for number in STOP_SIGNALS
        if number not in ignored
    }
    try:
        with _unblock(signal.SIGINT):
            yield lambda: asked
    finally:
        for number, handler in old_handlers.items():
            signal.signal(number, handler)


def _is_terminal(name: str) -> bool:
    try:
        return bool(getattr(sys, name).isatty())
    except (AttributeError, ValueError):
        # there is none, or it is closed
        return False


def _silence(terminals: list[str]) -> None:
    """Let streams lead nowhere from now on where their terminal is gone: a write would raise."""
    for name in terminals:
        if not _is_terminal(name):
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  # for the rest of the process


@contextlib.contextmanager
def _unblock(signum: int) -> Iterator[None]:
    """Inside, a signal arrives; at once, if one was blocked and has been sent (see `reproduction.running`)."""
    # Windows blocks no signals
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    mask = signal.pthread_sigmask(signal.SIG_UNBLOCK, {signum})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
