"""min: the interfaces of an optimizer and of a learning-rate schedule."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    import torch
    from torch import nn
    from torch.optim.lr_scheduler import LRScheduler


class Optimizer(ABC):
    """A recipe for a ``torch.optim.Optimizer``. A subclass is a frozen attrs class whose fields are its options."""

    @abstractmethod
    def build(
        self, parameters: Iterable[nn.Parameter], learning_rate: float
    ) -> torch.optim.Optimizer:
        """The optimizer of a net.

        Args:
            parameters: the net's parameters that ask for a gradient.
            learning_rate: the rate at which it starts.
        """


class Schedule(ABC):
    """A recipe for a learning-rate scheduler, which is stepped after each update."""

    @abstractmethod
    def build(self, optimizer: torch.optim.Optimizer, updates: int) -> LRScheduler:
        """The scheduler of a training.

        Args:
            optimizer: the optimizer whose learning rates it changes.
            updates: the number of updates in the whole training.
        """
