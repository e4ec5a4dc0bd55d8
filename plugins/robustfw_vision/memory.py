"""A check that something fits into memory, before the system ends the program."""

from __future__ import annotations

import os

from robustfw import UsageError

BYTES = 4
"""Bytes of a number in float32."""


def require_memory(numbers: int, owner: str, advice: str) -> None:
    """Refuse what has more float32 numbers than the machine has memory for.

    Args:
        numbers: how many the owner has.
        owner: what has them, in words.
        advice: what to choose instead, in words.

    Raises:
        UsageError: they do not fit.
    """
    available = _physical_memory()
    if available is not None and numbers * BYTES > available:
        raise UsageError(
            f"{owner} would take {numbers * BYTES / 2**30:,.0f} GiB, more than the {available / 2**30:.0f} GiB of "
            f"memory here: choose {advice}"
        )


def _physical_memory() -> int | None:
    """Bytes of physical memory; None where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
