"""Nets and data that a program passes in as objects, as parts of a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import final

from torch import nn

from robustfw.data.spec import DataSpec
from robustfw.data.splits import Splits
from robustfw.dataset import Dataset
from robustfw.model import Model


@final
class GivenModel(Model):
    """The recipe of a net that exists already, and is trained in place."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def build(self, spec: DataSpec) -> nn.Module:
        """The net itself."""
        return self.module


@final
class GivenDataset(Dataset):
    """A data set whose splits are in memory already."""

    def __init__(self, splits: Splits) -> None:
        self.splits = splits

    def load(self, root: Path) -> Splits:
        """The splits themselves."""
        return self.splits
