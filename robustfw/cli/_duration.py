"""Durations as they are typed: 60s, 2m, 1.5h, or a number of seconds."""

from __future__ import annotations

import re

import click

SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
"""Seconds in each unit."""
FORM = re.compile(r"(\d+\.?\d*|\.\d+)\s*(s|min|m|h|)", re.ASCII)
"""A number and a unit."""


def read_duration(
    _: click.Context, __: click.Parameter, typed: str | None
) -> float | None:
    """A callback of click: a length of time in seconds.

    Raises:
        BadParameter: it is none, or not longer than 0.
    """
    if typed is None:
        return None
    match = FORM.fullmatch(typed.strip().lower())
    seconds = 0.0
    if match is not None:
        seconds = float(match[1]) * SECONDS[match[2]]
    if not seconds > 0:
        raise click.BadParameter(f"{typed!r} is no length of time: write 60s, 2m or 1h")
    return seconds
