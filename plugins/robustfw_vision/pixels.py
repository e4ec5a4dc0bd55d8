"""What happens to pixels before the first layer that learns: standardisation, colours, memory layout."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from robustfw import DataSpec
from robustfw_kernels.layers import ChannelsLast, Standardize


class Seen(ChannelsLast):
    """The first rows and columns of x, in such memory: all that the layers after it use.

    A pool drops what does not fill a window, and with it goes the work for whatever has no other use. The function of
    the net is the same.
    """

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.size = rows, columns

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = self.size
        return super().forward(x[..., :rows, :columns])


def standardize(spec: DataSpec) -> nn.Module:
    """The standardisation by the data's own statistics, or nothing where they are unknown."""
    if spec.mean is None or spec.std is None:
        return nn.Identity()
    return Standardize(spec.mean, spec.std, len(spec.shape) - 1)


def standardize_padded(spec: DataSpec, pad: int) -> nn.Module:
    """Standardisation by the statistics of the images once ``pad`` zeros are put around them."""
    if spec.mean is None or spec.std is None:
        return nn.Identity()
    _, height, width = spec.shape
    padded_height = height + 2 * pad
    padded_width = width + 2 * pad
    share = height * width / (padded_height * padded_width)
    means = []
    stds = []
    for mean, std in zip(spec.mean, spec.std, strict=True):
        padded_mean = share * mean
        mean_square = share * (std * std + mean * mean)
        means.append(padded_mean)
        stds.append(math.sqrt(mean_square - padded_mean * padded_mean))
    return Standardize(means, stds)


class Yuv(nn.Module):
    """RGB to YUV (BT.601), a linear map of the channels; other images pass."""

    matrix: Tensor

    def __init__(self) -> None:
        super().__init__()
        rows = [
            [0.299, 0.587, 0.114],
            [-0.14713, -0.28886, 0.436],
            [0.615, -0.51499, -0.10001],
        ]
        self.register_buffer("matrix", torch.tensor(rows).reshape(3, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.matrix) if x.shape[1] == 3 else x
