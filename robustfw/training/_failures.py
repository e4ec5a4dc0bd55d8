"""Errors of torch and of the system that a user can mend, each explained in a sentence; imports no torch."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator

from robustfw.errors import RobustfwError

NO_MEMORY = (
    "DefaultCPUAllocator",
    "not enough memory",
    "out of memory",
    "Cannot allocate memory",
    "Storage size calculation overflowed",
    "multiplication overflow",
    "Overflow when unpacking long",
    "int too big to convert",
    "too large to convert to C",
)
"""Messages of torch and Python where something is larger than memory, or than numbers of 64 bits can count."""
LOST = (
    "Connection closed by peer",
    "Connection reset by peer",
    "Broken pipe",
    "Socket closed",
    "recv, got 0 bytes",
)
"""Messages of gloo and of torch's store where another process has ended."""
GONE = "the working directory is gone: change to one that is there"
"""The sentence for a working directory that was removed."""
DISTRIBUTED = ("DistBackendError", "DistNetworkError", "DistStoreError", "DistError")
"""Names of torch's errors in communication between processes."""


def sentence(error: BaseException) -> str | None:
    """What to do about an error, in a sentence; None for an error that is not known here."""
    text = str(error)
    name = type(error).__name__
    if (
        isinstance(error, MemoryError)
        or name == "OutOfMemoryError"
        or _has_message(error, NO_MEMORY)
    ):
        request = re.search(r"(?:allocate|sizes?=) *(\[[-\d, ]+\]|[\d.]+ ?\w+)", text)
        amount = f" (it would take {request[1]})" if request else ""
        return f"there is not enough memory for this{amount}: take a smaller batch, model or data set"
    from_gloo = "gloo" in text and isinstance(error, RuntimeError)
    if name in DISTRIBUTED or from_gloo or _has_message(error, LOST):
        return (
            "another process of this training has ended, so that this one cannot go on: see what that one said; "
            "robustfw train --resume goes on from the last checkpoint, with as many processes"
        )
    if isinstance(error, FileNotFoundError) and not has_directory():
        return GONE
    return None


def _has_message(error: BaseException, messages: tuple[str, ...]) -> bool:
    """Whether an error of the kinds that torch and Python raise contains one of the messages."""
    kinds = RuntimeError | OverflowError | ValueError | TypeError
    return isinstance(error, kinds) and any(
        message in str(error) for message in messages
    )


def has_directory() -> bool:
    """Whether the working directory still exists; without it not even torch can be loaded."""
    try:
        os.getcwd()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def explain() -> Iterator[None]:
    """Inside, errors that `sentence` knows are raised as `RobustfwError`; all others go on as they are."""
    try:
        yield
    except RobustfwError:
        raise
    except (
        Exception
    ) as error:  # all are looked at, and those that nothing is known of go on
        explanation = sentence(error)
        if explanation is None:
            raise
        raise RobustfwError(explanation) from error
