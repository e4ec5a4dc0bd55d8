"""(x, y): the interface of a data set."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustfw.errors import UsageError

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
