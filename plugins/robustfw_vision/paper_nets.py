"""The nets of papers on robust training: those of section 5, and Madry's for MNIST."""

from __future__ import annotations

import math

from torch import nn

from robustfw import DataSpec
from robustfw_kernels.layers import ChannelsLast
from robustfw_vision.nets import FlattenLast, first_dense, ready, require_images
from robustfw_vision.pixels import Seen, Yuv, standardize_padded


def paper_mnist(spec: DataSpec, input_norm: str) -> nn.Module:
    """Section 5.1, with the padding to 32x32 of the authors' scripts, of which the pools leave 28x28 in use."""
    require_images(spec, "paper-mnist", 24)
    channels, height, width = spec.shape
    # 1. the map after both pools, and the pixels that it sees
    rows = (height // 3 - 4) // 2
    columns = (width // 3 - 4) // 2
    seen_rows = 3 * (2 * rows + 4) + 4
    seen_columns = 3 * (2 * columns + 4) + 4
    # 2. the padding: cut off after a batch norm, whose statistics are those of the whole image, else before
    first: list[nn.Module] = []
    before: list[nn.Module] = []
    if input_norm == "batch":
        norm = nn.BatchNorm2d(channels, affine=False)
        first = [nn.ZeroPad2d(2), norm, Seen(seen_rows, seen_columns)]
    else:
        below = seen_rows - height - 2
        right = seen_columns - width - 2
        pad = nn.ZeroPad2d((2, right, 2, below))
        before = [pad, standardize_padded(spec, 2), ChannelsLast()]
    # 3. the net
    return ready(
        nn.Sequential(
            *first,
            nn.Sequential(*before, nn.Conv2d(channels, 32, 5), nn.MaxPool2d(3)),
            nn.ReLU(),
            nn.Conv2d(32, 64, 5),
            nn.MaxPool2d(2),
            nn.ReLU(),
            FlattenLast(),
            first_dense(64 * rows * columns, 200, "paper-mnist"),
            nn.ReLU(),
            nn.Linear(200, spec.outputs),
        )
    )


def paper_cifar(spec: DataSpec, dropout: bool) -> nn.Module:
    """Section 5.2: 64-64, 128-128, 256x3, 512x3, 512x3 with batch norm, five 2x2 pools, 512 units.

    The authors' data is YUV, normalised; here a fixed colour layer and a batch norm without parameters do both.
    """
    require_images(spec, "paper-cifar", 32)
    channels, height, width = spec.shape
    layers: list[nn.Module] = [
        Yuv(),
        nn.BatchNorm2d(channels, affine=False),
        ChannelsLast(),
    ]
    before = channels
    blocks = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
    for width_of_block, convolutions in blocks:
        share = 0.3 if width_of_block == 64 else 0.4
        for i in range(convolutions):
            layers += [
                nn.Conv2d(before, width_of_block, 3, padding=1),
                nn.BatchNorm2d(width_of_block, eps=1e-3),
                nn.ReLU(),
            ]
            before = width_of_block
            if dropout and i < convolutions - 1:
                layers.append(nn.Dropout(share))
        layers.append(nn.MaxPool2d(2, ceil_mode=True))
    halved = math.ceil(height / 32) * math.ceil(width / 32)
    half = nn.Dropout(0.5) if dropout else nn.Identity()
    layers += [
        nn.Flatten(),
        half,
        first_dense(512 * halved, 512, "paper-cifar"),
        nn.BatchNorm1d(512),
        nn.ReLU(),
        half,
    ]
    return ready(nn.Sequential(*layers, nn.Linear(512, spec.outputs)))


def madry_mnist(spec: DataSpec) -> nn.Module:
    """Two padded 5x5 convolutions, each with a 2x2 pool, and 1024 units."""
    require_images(spec, "madry-mnist", 4)
    channels, height, width = spec.shape
    return ready(
        nn.Sequential(
            ChannelsLast(),
            nn.Sequential(nn.Conv2d(channels, 32, 5, padding=2), nn.MaxPool2d(2)),
            nn.ReLU(),
            nn.Conv2d(32, 64, 5, padding=2),
            nn.MaxPool2d(2),
            nn.ReLU(),
            FlattenLast(),
            first_dense(64 * (height // 4) * (width // 4), 1024, "madry-mnist"),
            nn.ReLU(),
            nn.Linear(1024, spec.outputs),
        )
    )
