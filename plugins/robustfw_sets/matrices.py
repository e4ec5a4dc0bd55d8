"""Matrices that are options: written out, or the name of a file."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from robustfw import UsageError

if TYPE_CHECKING:
    from robustfw_sets import Matrix, Vector


def read_matrix(source: Matrix) -> Tensor:
    """The numbers of a matrix, (rows, columns), float64.

    Raises:
        UsageError: the file cannot be read, or holds no matrix.
    """
    numbers = _load(source) if isinstance(source, Path) else np.array([[float(n) for n in row] for row in source])
    if numbers.ndim != 2 or not numbers.size:
        raise UsageError(f"a must be a matrix with rows and columns, not of shape {numbers.shape}")
    return torch.from_numpy(numbers)


def read_vector(source: Vector) -> Tensor:
    """The numbers of a vector, (rows,), float64.

    Raises:
        UsageError: the file cannot be read.
    """
    numbers = _load(source).reshape(-1) if isinstance(source, Path) else np.array([float(n) for n in source])
    return torch.from_numpy(numbers)


def _load(path: Path) -> np.ndarray:
    return _load_unchanged(path.expanduser().absolute(), *_identity(path))


def _identity(path: Path) -> tuple[int, int]:
    """Time and size of a file, by which it is known to be the one that was read before."""
    try:
        found = path.expanduser().stat()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    return found.st_mtime_ns, found.st_size


@functools.lru_cache(maxsize=16)
def _load_unchanged(path: Path, modified: int, size: int) -> np.ndarray:
    """The numbers of a file, read once as long as it stays the same; no pickled objects, which could run code."""
    del modified, size
    try:
        if path.suffix == ".npy":
            return np.asarray(np.load(path, allow_pickle=False), dtype=np.float64)
        return np.loadtxt(path, delimiter=",", ndmin=1, dtype=np.float64)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read numbers from {path}: {error}") from error
