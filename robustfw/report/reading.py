"""From JSON files to attrs classes, strictly: what is missing or of another form is an error that says where."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

import cattrs

from robustfw.errors import RunError

Read = TypeVar("Read")


def structured(value: object, cls: type[Read], file: Path) -> Read:
    """A JSON value as the class; extra keys are left out."""
    try:
        return _converter.structure(value, cls)
    except Exception as error:  # cattrs raises whatever a type happens to raise
        first = cattrs.transform_error(error)[0]
        raise damaged(file, first) from error


def read_json(file: Path) -> dict[str, Any]:
    """The object in a JSON file; characters that cannot be printed are replaced."""
    try:
        value = json.loads(file.read_bytes())
    except OSError as error:
        raise RunError(f"cannot read {file}: {error.strerror}; mend that, and try again") from error
    except (ValueError, RecursionError) as error:
        raise damaged(file, f"it is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise damaged(file, "it is not an object")
    return {printable(key): _printable(part) for key, part in value.items()}


def damaged(file: Path, why: str) -> RunError:
    """What to say of a file that cannot be used."""
    return RunError(
        f"{file} is damaged ({printable(why)}): make it again by the command that wrote it, or move it away"
    )


def printable(text: str) -> str:
    """Text without what neither HTML nor SVG can hold: control characters, and halves of characters."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


def _printable(value: Any) -> Any:
    if isinstance(value, dict):
        return {printable(key): _printable(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_printable(part) for part in value]
    return printable(value) if isinstance(value, str) else value


def _text(value: Any, _: type) -> str:
    """Budgets and the like may be numbers."""
    if isinstance(value, str | int | float):
        return str(value)
    raise TypeError("expected a text")


def _number(value: Any, cls: type) -> Any:
    """No text is a number, nor is null."""
    if isinstance(value, int | float):
        return cls(value)
    raise TypeError("expected a number")


_converter = cattrs.Converter()
_converter.register_structure_hook(str, _text)
_converter.register_structure_hook(int, _number)
_converter.register_structure_hook(float, _number)
