"""A first layer whose outputs are uncorrelated on the training images."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from robustfw.data.splits import Split

SIDE = 2
"""Of a patch."""
IMAGES = 5000
"""Of which patches are taken: the first ones."""
SHARE = 5e-5
"""Variances are raised by so much of the largest one: directions that hardly occur are not blown up without end."""


def learnt_from(train: Split) -> Tensor:
    """The filters of its first images."""
    return filters(torch.cat([x for x, _ in train.first(IMAGES).in_order(500)]))


def filters(images: Tensor) -> Tensor:
    """W with W·C·Wᵀ = I, C the covariance of patches in (count, channels, height, width), up to `SHARE`.

    The rows are the principal directions over the standard deviations along them, so that a filter's response to the
    patches of an image is a principal component of variance 1, the most common one last; (count, channels, 2, 2).
    """
    channels = images.shape[1]
    patches = functional.unfold(images.double(), SIDE).transpose(1, 2).flatten(0, 1)
    variances, directions = torch.linalg.eigh(torch.cov(patches.t()))
    scale = (variances.clamp(min=0) + SHARE * variances.amax()).rsqrt()
    return (directions * scale).t().reshape(-1, channels, SIDE, SIDE).float()
