"""(x, y): the interface of a data set."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from robustfw.splits import Splits


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
