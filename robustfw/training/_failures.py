"""Raw errors of torch and of the system that a user can mend, each told in a sentence; free of torch."""

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
"""What torch and Python say where something is larger than memory, or than numbers of 64 bits can count."""
LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "Socket closed", "recv, got 0 bytes")
"""What gloo and torch's store say where another process is gone."""
GONE = "the working directory is gone: change to one that is there"
DISTRIBUTED = ("DistBackendError", "DistNetworkError", "DistStoreError", "DistError")


def sentence(error: BaseException) -> str | None:
    """What to do about a raw error, for those that are known; None for any other."""
    text = str(error)
    name = type(error).__name__
    if isinstance(error, MemoryError) or name == "OutOfMemoryError" or _says(error, NO_MEMORY):
        asked = re.search(r"(?:allocate|sizes?=) *(\[[-\d, ]+\]|[\d.]+ ?\w+)", text)
        amount = f" (it would take {asked[1]})" if asked else ""
        return f"there is not enough memory for this{amount}: take a smaller batch, model or data set"
    if name in DISTRIBUTED or ("gloo" in text and isinstance(error, RuntimeError)) or _says(error, LOST):
        return (
            "another process of this training has ended, so that this one cannot go on: see what that one said; "
            "robustfw train --resume goes on from the last checkpoint, with as many processes"
        )
    if isinstance(error, FileNotFoundError) and not has_directory():
        return GONE
    return None


def _says(error: BaseException, texts: tuple[str, ...]) -> bool:
    kinds = RuntimeError | OverflowError | ValueError | TypeError
    return isinstance(error, kinds) and any(each in str(error) for each in texts)


def has_directory() -> bool:
    """Whether the working directory is still there; without it not even torch can be loaded."""
    try:
        os.getcwd()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Inside, raw errors that `sentence` knows are raised as `RobustfwError`."""
    try:
        yield
    except RobustfwError:
        raise
    except Exception as error:  # what is not known goes on as it is
        words = sentence(error)
        if words is None:
            raise
        raise RobustfwError(words) from error
