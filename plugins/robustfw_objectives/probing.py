"""Squared Frobenius norms of the Jacobians between a net's layers, by Hutchinson's probes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor, nn

from robustfw_objectives.passes import inputs_of_layers

Draw: TypeAlias = Callable[[Tensor], Tensor]
"""U[0, 1) of the shape of a tensor whose rows are examples."""


def squared_jacobians(model: nn.Module, x: Tensor, probes: int, draw: Draw) -> Tensor:
    """Σ_l ‖∂h_{l+1}/∂h_l‖_F², (batch,), differentiable in the parameters; x must ask for a gradient."""
    layers, logits = inputs_of_layers(model, x)
    path = [given for _, given in layers] or [x]
    total = x.new_zeros(len(x))
    for before, after in itertools.pairwise([*path, logits]):
        if before is not after:  # two branches may begin at the same place
            total = total + squared_jacobian(before, after, probes, draw)
    return total


def squared_jacobian(before: Tensor, after: Tensor, probes: int, draw: Draw) -> Tensor:
    """‖∂after/∂before‖_F², (batch,): the mean of ‖vᵀ∂after/∂before‖² over ``probes`` random sign vectors v.

    The signs v_j are independent, so that E v vᵀ = 1 and the mean is unbiased. Where ``after`` has no more units than
    there are probes, the sum over its unit vectors is as cheap, and exact.
    """
    units = after[0].numel() if len(after) else 0
    if units <= probes:
        directions = list(torch.eye(units, dtype=after.dtype, device=after.device))
        share = 1.0
    else:
        directions = [2.0 * (draw(after.detach()) < 0.5).to(after) - 1 for _ in range(probes)]
        share = 1 / probes
    total = before.new_zeros(len(before))
    for direction in directions:
        pull = direction.reshape(after.shape if units > probes else after.shape[1:]).expand(after.shape)
        (found,) = torch.autograd.grad(after, before, pull, create_graph=True, allow_unused=True)
        if found is not None:  # two branches from one input: the second does not follow from the first
            total = total + share * found.flatten(1).square().sum(1)
    return total
