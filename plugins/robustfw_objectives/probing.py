"""Squared Frobenius norms of the Jacobians between a net's layers, by Hutchinson's probes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor, nn

from robustfw_objectives.layers import inputs_of_layers

Draw: TypeAlias = Callable[[Tensor], Tensor]
"""A tensor whose rows are examples to random numbers from U[0, 1) of its shape."""


def estimate_jacobians(model: nn.Module, x: Tensor, probes: int, draw: Draw) -> Tensor:
    """Σ_l ‖∂h_{l+1}/∂h_l‖_F², (batch,), differentiable in the parameters.

    Args:
        model: the net, whose layers with weights have the inputs h_0, h_1, …; the last h are the logits.
        x: examples, (batch, *shape), which require a gradient.
        probes: random sign vectors for each layer and example.
        draw: gives the random numbers for the signs.
    """
    calls, logits = inputs_of_layers(model, x)
    path = [layer_input for _, layer_input in calls] or [x]
    total = x.new_zeros(len(x))
    for before, after in itertools.pairwise([*path, logits]):
        if before is not after:  # two branches may begin at the same place
            total = total + estimate_jacobian(before, after, probes, draw)
    return total


def estimate_jacobian(before: Tensor, after: Tensor, probes: int, draw: Draw) -> Tensor:
    """‖∂after/∂before‖_F², (batch,): the mean of ‖vᵀ∂after/∂before‖² over ``probes`` random sign vectors v.

    The signs v_j are independent, so that E v vᵀ = 1 and the mean is unbiased. Where ``after`` has no more units than
    there are probes, the sum over its unit vectors is as cheap, and exact.

    Args:
        before: input of the layer, (batch, *shape), a part of the graph of ``after``.
        after: input of the next layer, (batch, *shape).
        probes: random sign vectors for each example.
        draw: gives the random numbers for the signs.
    """
    units = after[0].numel() if len(after) else 0
    if units <= probes:
        directions = list(torch.eye(units, dtype=after.dtype, device=after.device))
        share = 1.0
    else:
        directions = [
            2.0 * (draw(after.detach()) < 0.5).to(after) - 1 for _ in range(probes)
        ]
        share = 1 / probes
    total = before.new_zeros(len(before))
    for direction in directions:
        pull = direction.reshape(
            after.shape if units > probes else after.shape[1:]
        ).expand(after.shape)
        (gradient,) = torch.autograd.grad(
            after, before, pull, create_graph=True, allow_unused=True
        )
        if (
            gradient is not None
        ):  # None: two branches from one input, where the second does not follow from the first
            total = total + share * gradient.flatten(1).square().sum(1)
    return total
