"""A first layer whose outputs are uncorrelated on the training images."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from robustfw.data.splits import Split

SIDE = 2
"""Side of a patch in pixels."""
IMAGES = 5000
"""The most images that patches are taken of: the first ones."""
SHARE = 5e-5
"""Share of the largest variance that is added to each, so that directions of hardly any variance are not blown up."""


def learn_filters(train: Split) -> Tensor:
    """The whitening filters of the first training images, see `filters`."""
    return filters(torch.cat([x for x, _ in train.first(IMAGES).iterate(500)]))


def filters(images: Tensor) -> Tensor:
    """W with W·C·Wᵀ = I up to `SHARE`, C the covariance of patches, (count, channels, 2, 2).

    ``images`` are (n, channels, height, width). The rows of W are the principal directions divided by the standard
    deviations along them, so that a filter's response to the patches of an image is a principal component of variance
    1, the most common one last.
    """
    channels = images.shape[1]
    patches = functional.unfold(images.double(), SIDE).transpose(1, 2).flatten(0, 1)
    variances, directions = torch.linalg.eigh(torch.cov(patches.t()))
    scale = (variances.clamp(min=0) + SHARE * variances.amax()).rsqrt()
    return (directions * scale).t().reshape(-1, channels, SIDE, SIDE).float()
