"""Files of runs, which may come from anywhere, as values: strictly, and never a file outside."""

from __future__ import annotations

import functools
import json
import math
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from robustfw.errors import RunError
from robustfw.plugin import options
from robustfw.results._words import printable

if TYPE_CHECKING:
    import cattrs
    import numpy as np
    from numpy.typing import NDArray

Read = TypeVar("Read")


class Misfit(ValueError):
    """A JSON value is not what a class asks for: where, and why."""


def structure(value: object, cls: type[Read]) -> Read:
    """A JSON value as an attrs class; extra keys are left out.

    Raises:
        Misfit: a key is missing, or a value of another type.
    """
    import cattrs

    try:
        return _reader().structure(value, cls)
    except Exception as error:
        # cattrs raises whatever a type happens to raise
        raise Misfit(cattrs.transform_error(error)[0]) from error


def structure_file(value: object, cls: type[Read], file: Path) -> Read:
    """The JSON value of a file as an attrs class.

    Args:
        value: what the file holds.
        cls: the attrs class.
        file: is named where the value does not fit.

    Raises:
        RunError: a key is missing, or a value is of another type.
    """
    try:
        return structure(value, cls)
    except Misfit as error:
        raise damage_error(file, str(error)) from error


def parse_json(text: bytes) -> Any:
    """A JSON value whose texts can be printed and whose numbers are finite.

    Raises:
        ValueError: it is not JSON, in one short sentence.
    """
    try:
        return _make_printable(
            json.loads(text, parse_constant=_refuse_constant, parse_int=_parse_integer)
        )
    except RecursionError as error:
        raise ValueError("its lists and objects are nested too deeply") from error


def read_json(file: Path) -> dict[str, Any]:
    """The object in a JSON file, which must be a file itself and no link.

    Raises:
        RunError: it cannot be read, or holds no JSON object.
    """
    try:
        value = parse_json(plain_file(file).read_bytes())
    except OSError as error:
        raise RunError(
            f"cannot read {printable(str(file))}: {error.strerror}; mend that, and try again"
        ) from error
    except ValueError as error:
        raise damage_error(file, f"it is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise damage_error(file, "it is not an object")
    return value


def damage_error(file: Path, why: str) -> RunError:
    """The error for a file that cannot be used: what is wrong with it, and what to do."""
    place = printable(str(file))
    mend = "make it again by the command that wrote it, or move it away"
    return RunError(f"{place} is damaged ({printable(why)}): {mend}")


def plain_file(file: Path) -> Path:
    """The path of a file; one that is a link, a pipe or a device, or lies in a folder that is a link, is refused.

    A run from elsewhere could otherwise have any file of its reader shown. The run directory itself, which its reader
    names, may be a link; so only ``results`` is looked at above the file.

    Raises:
        RunError: it is not a plain file.
        OSError: it cannot be looked at.
    """
    place = printable(str(file))
    in_results = file.parent.name == "results"
    if file.is_symlink() or (in_results and file.parent.is_symlink()):
        raise RunError(
            f"{place} leads out of its run by a link: put the file itself there, or take the link away"
        )
    if not stat.S_ISREG(file.stat().st_mode):
        raise RunError(f"{place} is no plain file: move it away")
    return file


def read_tensors(
    run: Path, name: str, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, NDArray[np.float32]]:
    """Tensors from a safetensors file in the results of a run.

    Args:
        run: The run directory.
        name: The name of the file, as a result gives it: no path.
        shapes: The names of the tensors, and their shapes.

    Returns:
        The tensors by their names.

    Raises:
        RunError: the name leads elsewhere, or the file cannot be read or holds something else.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    if not re.fullmatch(r"[\w-][\w.-]*", name):
        raise RunError(
            f"a result of {printable(str(run))} names the pictures {name!r}, which is not a file beside it: make the "
            "result again, or move it away"
        )
    file = run / "results" / name
    try:
        tensors = load_file(plain_file(file))
        tensors = {key: tensors[key] for key in shapes}
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise damage_error(file, f"no images can be read: {error}") from error
    if any(tensors[key].shape != shape for key, shape in shapes.items()):
        raise damage_error(file, "its images are not those of its result")
    return tensors


def _make_printable(value: Any) -> Any:
    """A JSON value with all its texts printable; a `ValueError` where a number is not finite."""
    if isinstance(value, dict):
        return {printable(key): _make_printable(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_make_printable(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number is too large")
    if isinstance(value, str):
        return printable(value)
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _parse_integer(digits: str) -> int:
    """An integer; Python refuses longer ones by a sentence of several lines' advice."""
    if len(digits) > 4300:
        raise ValueError(f"an integer has {len(digits)} digits")
    return int(digits)


def _read_text(value: Any, _: type) -> str:
    """A text; a number counts as one, since budgets and the like may be numbers."""
    if isinstance(value, str | int | float):
        return str(value)
    raise TypeError("expected a text")


def _read_number(value: Any, cls: type) -> Any:
    """A number, or a ratio such as 8/255; no other text is one, nor is null."""
    if isinstance(value, str) and "/" in value:
        value = options.number(value)
    if isinstance(value, int | float):
        return cls(value)
    raise TypeError("expected a number")


@functools.cache
def _reader() -> cattrs.Converter:
    """The converter from JSON values; made at the first use, since cattrs is slow to import."""
    import cattrs

    converter = cattrs.Converter()
    converter.register_structure_hook(str, _read_text)
    converter.register_structure_hook(int, _read_number)
    converter.register_structure_hook(float, _read_number)
    return converter
