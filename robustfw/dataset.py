"""(x, y): the interface of a data set."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustfw.errors import DataError, UsageError

if TYPE_CHECKING:
    from robustfw.data.splits import Splits

CACHE = "~/.cache/robustfw"
"""Default folder of data files."""


class Dataset(ABC):
    """Examples in a declared range, split into train, validation and test.

    A subclass is a frozen attrs class whose fields are its options; every field has a default.
    """

    @abstractmethod
    def load(self, root: Path) -> Splits:
        """Load the splits from files in the folder ``root``, which are downloaded there if need be.

        Validation is cut from train, never from test. Equal options give equal splits. Nothing is downloaded before
        this call.
        """


def data_root(given: Path | None, manifest: Mapping[str, Any] | None = None) -> Path:
    """The folder of data files: the given one, else the manifest's, else that of ROBUSTFW_DATA, else the user's cache.

    Args:
        given: the folder of the option ``--data-dir``; None: not given.
        manifest: the manifest of a run, which holds the folder of its training; ignored if that folder is gone.

    Raises:
        UsageError: the folder is in a home directory that is not known.
    """
    recorded = (manifest or {}).get("data", {}).get("folder")
    if given is None and isinstance(recorded, str) and Path(recorded).is_dir():
        return Path(recorded)
    folder = given or Path(os.environ.get("ROBUSTFW_DATA") or CACHE)
    try:
        return folder.expanduser()
    except RuntimeError as error:
        # there is no home directory of this user, or of the user that the path names
        if folder == Path(CACHE):
            # data sets that need no files work all the same
            return folder
        raise UsageError(
            f"the home directory in {str(folder)!r} is not known: give the whole path"
        ) from error


def absolute_path(path: str) -> str:
    """A path that exists, seen from the current directory, as an absolute one; any other as it is.

    A run opens from elsewhere, and finds its data again. A path that does not exist here is relative to the
    data folder.
    """
    expanded = os.path.expanduser(path)
    if not os.path.isabs(expanded) and os.path.exists(expanded):
        return os.path.abspath(expanded)
    return expanded


def find_data(path: str, root: Path) -> Path:
    """The file or folder of a path, which is absolute or relative to the data folder.

    Args:
        path: as the option has it.
        root: the data folder.

    Raises:
        DataError: there is nothing.
    """
    place = Path(path) if os.path.isabs(path) else root / path
    if not place.exists():
        raise DataError(
            f"there is no {path}, neither in the current directory nor in the data folder {root}: check the path, or "
            "name the folder by --data-dir"
        )
    return place
