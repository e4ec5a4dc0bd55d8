"""An option that is a vector or a matrix: numbers in the spec, or the path of a file whose content is recorded."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from robustfw.errors import DataError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

MOST_INLINE = 64
"""Most numbers that a record holds itself; for more it holds the path of their file and a hash of its content."""
MARK = "#sha256:"
"""Stands in a record between the path of a file and the beginning of the hash of its numbers."""
HASH_LENGTH = 16
"""Hexadecimal digits of the hash that a record holds."""


@final
class Array:
    """Numbers of shape (n,), (m, n), …: an immutable value, equal to any other of the same shape and numbers.

    As an option it is written ``A=[[1,2],[3,4]]`` or ``A=constraints.npy``; in Python, ``Array([[1, 2], [3, 4]])``,
    ``Array("constraints.npy")`` or an ndarray. Numbers are float64; infinities are allowed, NaN is not. Files are
    ``.npy``, ``.csv`` and ``.safetensors`` with one tensor. A run's record holds up to 64 numbers themselves; of more,
    it holds the path and a hash of the numbers, by which another file under that path is noticed.
    """

    __slots__ = ("_digest", "_path", "_values")

    _values: np.ndarray[Any, np.dtype[np.float64]]
    _path: Path | None
    _digest: str

    def __init__(self, given: Any) -> None:
        """Take numbers, the path of a file, or the path with the hash that a record adds to it.

        Raises:
            UsageError: the numbers have no shape, or are none.
            DataError: the file can't be read, or holds other numbers than the hash says.
        """
        path = None
        expected_hash = ""
        if isinstance(given, Array):
            values = given._values
            path = given._path
        elif isinstance(given, str | Path):
            name, _, expected_hash = str(given).partition(MARK)
            path = _resolve(name)
            values = _copy_as_float64(_read(path), f"the file {path}")
        else:
            values = _copy_as_float64(given, "the array")
        digest = _hash(values)
        if not digest.startswith(expected_hash):
            raise DataError(
                f"{path} holds other numbers than those that were recorded (sha256 {digest[:HASH_LENGTH]}, not "
                f"{expected_hash}): give the file as it was, or leave out what follows the #"
            )
        self._set(values, path, digest)

    def _set(
        self,
        values: np.ndarray[Any, np.dtype[np.float64]],
        path: Path | None,
        digest: str,
    ) -> None:
        """Set the fields, which nothing else can."""
        values.flags.writeable = False
        object.__setattr__(self, "_values", values)
        object.__setattr__(self, "_path", path)
        object.__setattr__(self, "_digest", digest)

    def __setattr__(self, name: str, _: Any) -> None:
        raise AttributeError(f"an Array is immutable; {name} can't be set")

    @property
    def values(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """The numbers as a read-only ndarray of float64."""
        return self._values

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the numbers."""
        return self._values.shape

    def like(self, x: Tensor) -> Tensor:
        """The numbers as a tensor of x's dtype and device."""
        import torch

        return torch.tensor(self._values, dtype=x.dtype, device=x.device)

    def record(self) -> Any:
        """The array as a run's record holds it: nested lists, or a path with a hash. ``Array(record)`` is equal."""
        if self._path is None or self._values.size <= MOST_INLINE:
            return self._values.tolist()
        return f"{self._path}{MARK}{self._digest[:HASH_LENGTH]}"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Array):
            return self._digest == other._digest
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self._digest)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the numbers, so that a copy needs no file."""
        return _restore, (self._values, self._path)

    def __repr__(self) -> str:
        return f"Array({self.record()!r})"


def _restore(values: np.ndarray[Any, np.dtype[np.float64]], path: Path | None) -> Array:
    """The array of a pickle, made from its numbers; the file is not read."""
    array = Array(values)
    array._set(array._values, path, array._digest)
    return array


def _resolve(name: str) -> Path:
    """The absolute path of a file by its name; ~ is the home directory."""
    if not name or "\0" in name:
        raise UsageError(f"{name!r} is no path of a file with numbers")
    try:
        return Path(name).expanduser().absolute()
    except (RuntimeError, OSError) as error:
        raise UsageError(
            f"the path {name!r} can't be followed ({error}): write it in full"
        ) from error


def _copy_as_float64(given: Any, what: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """A copy of numbers as float64 in C order; −0 becomes 0, so that equal numbers have equal hashes.

    Raises:
        UsageError: they have no shape, are none or not numbers; the message calls them ``what``.
    """
    import numpy as np

    try:
        if isinstance(given, bool | str) or given is None:
            raise ValueError(given)
        is_tensor = hasattr(given, "detach")
        array = np.asarray(given.detach().cpu().double() if is_tensor else given)
        if array.dtype.kind not in "iuf":
            raise ValueError(array.dtype)
        values = np.array(array, dtype=np.float64, order="C") + 0.0
    except (ValueError, TypeError, OverflowError) as error:
        raise UsageError(
            f"{what} must hold numbers in rows of one length, such as [[1,2],[3,4]], or be the path of a file with them"
        ) from error
    if not values.ndim or not values.size:
        raise UsageError(
            f"{what} has shape {values.shape}: there must be at least one number, in a list"
        )
    if np.isnan(values).any():
        raise UsageError(f"{what} holds NaN, which is no number")
    return values


def _hash(values: np.ndarray[Any, np.dtype[np.float64]]) -> str:
    """SHA-256 of the shape and the little-endian bytes, in hexadecimal digits."""
    digest = hashlib.sha256(repr(values.shape).encode())
    digest.update(values.astype("<f8", copy=False).tobytes())
    return digest.hexdigest()


def _read(path: Path) -> Any:
    """Read the numbers in a file, whose format its name's ending says; nothing in it is executed.

    Raises:
        UsageError: the name has another ending.
        DataError: the file does not exist, cannot be read, or holds no numbers.
    """
    readers = {".npy": _read_npy, ".csv": _read_csv, ".safetensors": _read_safetensors}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise UsageError(
            f"{path.name!r} is neither numbers like [[1,2],[3,4]] nor a file whose name ends in .npy, .csv or "
            ".safetensors"
        )
    if not os.path.isfile(path):  # Path.is_file raises for a name that is too long
        raise DataError(f"there is no file {path}: give the path of one with numbers")
    try:
        return reader(path)
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror or error}") from error
    except DataError:
        raise
    except Exception as error:  # a damaged file makes its reader raise anything
        first_line = str(error).partition("\n")[0]
        raise DataError(
            f"{path} holds no numbers that can be read: {first_line}"
        ) from error


def _read_npy(path: Path) -> Any:
    """The array in numpy's own format, without objects."""
    import numpy as np

    return np.load(path, allow_pickle=False)


def _read_csv(path: Path) -> Any:
    """Rows of numbers with commas between; one row is a vector."""
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    rows = []
    for line in lines:
        if line.strip():
            rows.append(list(map(float, line.split(","))))
    if len(rows) == 1:
        return rows[0]
    return rows


def _read_safetensors(path: Path) -> Any:
    """The only tensor in a file."""
    from safetensors.numpy import load_file

    tensors = load_file(path)
    if len(tensors) != 1:
        raise DataError(
            f"{path} holds {len(tensors)} tensors ({', '.join(sorted(tensors))}): give a file with one"
        )
    return next(iter(tensors.values()))
