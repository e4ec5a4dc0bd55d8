"""Local principal components: the tangent space as the directions in which the nearest examples differ."""

from __future__ import annotations

import torch
from torch import Tensor

from robustfw import UsageError
from robustfw.data.splits import Split
from robustfw_manifold.linear import singular_vectors


def collect_examples(train: Split, most: int) -> Tensor:
    """The first training examples, (n, *shape) with n ≤ ``most``.

    Raises:
        UsageError: there is no training example.
    """
    batches = [x for x, _ in train.first(most).iterate(1000)]
    if not batches:
        raise UsageError(
            "there is not one training example to find a tangent space from: give other data"
        )
    return torch.cat(batches)


def components(x: Tensor, points: Tensor, neighbors: int, n_components: int) -> Tensor:
    """The leading principal components of the points nearest to each row of x, (batch, n_components, *shape).

    Args:
        x: examples, (batch, *shape).
        points: training examples, (n, *shape).
        neighbors: how many of the points are near.
        n_components: how many components are wanted; where there are fewer, the last ones are zeros.

    Raises:
        UsageError: x and the points have different shapes.
    """
    if points.shape[1:] != x.shape[1:]:
        raise UsageError(
            f"x has examples of shape {tuple(x.shape[1:])}, the training data of the basis {tuple(points.shape[1:])}: "
            "fit the set to the data that it is used on"
        )
    flat = points.flatten(1).to(x)
    distances = torch.cdist(x.flatten(1), flat, compute_mode="use_mm_for_euclid_dist")
    nearest = distances.topk(min(neighbors, len(flat)), largest=False).indices
    neighborhood = flat[nearest]
    deviations = neighborhood - neighborhood.mean(1, keepdim=True)
    return singular_vectors(deviations, n_components).unflatten(2, x.shape[1:])
