"""Local principal components: the tangent space as the directions in which the nearest examples differ."""

from __future__ import annotations

import torch
from torch import Tensor

from robustfw import UsageError
from robustfw.data.splits import Split
from robustfw_manifold.linear import leading


def gathered(train: Split, most: int) -> Tensor:
    """The first training examples, (n, *shape), at most so many."""
    parts = [x for x, _ in train.first(most).in_order(1000)]
    if not parts:
        raise UsageError("there is not one training example to find a tangent space from: give other data")
    return torch.cat(parts)


def components(x: Tensor, points: Tensor, neighbors: int, dim: int) -> Tensor:
    """The leading principal components of the points nearest to each row of x, (batch, dim, *shape).

    Where there are fewer of them than ``dim``, the rest are zeros.
    """
    if points.shape[1:] != x.shape[1:]:
        raise UsageError(
            f"x has examples of shape {tuple(x.shape[1:])}, the training data of the basis {tuple(points.shape[1:])}: "
            "fit the set to the data that it is used on"
        )
    among = points.flatten(1).to(x)
    nearest = (
        torch.cdist(x.flatten(1), among, compute_mode="use_mm_for_euclid_dist")
        .topk(min(neighbors, len(among)), largest=False)
        .indices
    )
    around = among[nearest]
    return leading(around - around.mean(1, keepdim=True), dim).unflatten(2, x.shape[1:])
