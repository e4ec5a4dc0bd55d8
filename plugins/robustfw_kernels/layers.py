"""Layers before the first convolution that the kernels know: standardisation and memory layout."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Standardize(nn.Module):
    """(x − mean)/std per channel or feature: the layer that lets everything outside the net stay in the data's units.

    Args:
        mean: one number for each channel or feature, which are the first axis of an example.
        std: as many; what never changes (0) is only shifted.
        axes: how many axes an example has after the first.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, mean: Sequence[float], std: Sequence[float], axes: int = 2
    ) -> None:
        super().__init__()
        ones = [1] * axes
        self.register_buffer("mean", torch.tensor(mean).reshape(-1, *ones))
        # constant channels stay as they are
        divisors = torch.tensor([s or 1.0 for s in std])
        self.register_buffer("std", divisors.reshape(-1, *ones))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std


class ChannelsLast(nn.Module):
    """x in channels-last memory, where the convolutions and pools of a CPU are fastest, or in another layout."""

    def __init__(self) -> None:
        super().__init__()
        self.memory_format = torch.channels_last
        """What follows is laid out like this; a training may set it (`robustfw.training._tuning`)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.contiguous(memory_format=self.memory_format)
