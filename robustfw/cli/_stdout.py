"""What a command prints where one JSON object is promised."""

from __future__ import annotations

import contextlib
import json
import sys
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    pass


def alone_on_stdout(as_json: bool) -> contextlib.AbstractContextManager[object]:
    """Where one JSON object is promised, whatever else is printed meanwhile (by a plugin, say) goes to stderr."""
    if as_json:
        return contextlib.redirect_stdout(sys.stderr)
    return contextlib.nullcontext()


def print_json(result: dict[str, Any]) -> None:
    """One object on one line, valid JSON in any encoding."""
    from robustfw.storage.files import json_value

    click.echo(json.dumps(json_value(result), allow_nan=False))
