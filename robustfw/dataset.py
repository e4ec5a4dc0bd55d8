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
"""Where data files are, if nobody says otherwise."""


class Dataset(ABC):
    """Examples in a declared range, split into train, validation and test.

    A subclass is a frozen attrs class whose fields are its options; every field has a default.
    """

    @abstractmethod
    def load(self, root: Path) -> Splits:
        """The splits; ``root`` is the folder where files are kept.

        Validation is cut from train, never from test. The same options give the same splits. Nothing
        is downloaded before this call.
        """


def data_root(given: Path | None, manifest: Mapping[str, Any] | None = None) -> Path:
    """Where data sets keep their files: as given, as in a run's manifest, or ROBUSTFW_DATA, or the user's cache.

    Args:
        given: what ``--data-dir`` says.
        manifest: of a run, which remembers the folder that it was given, as long as that is there.
    """
    remembered = (manifest or {}).get("data", {}).get("folder")
    if given is None and isinstance(remembered, str) and Path(remembered).is_dir():
        return Path(remembered)
    named = given or Path(os.environ.get("ROBUSTFW_DATA") or CACHE)
    try:
        return named.expanduser()
    except RuntimeError as error:  # no home directory, of this user or of the one that is named
        if named == Path(CACHE):
            return named  # data sets that need no files shall work
        raise UsageError(f"the home directory in {str(named)!r} is not known: give the whole path") from error
