"""Slacks and duals of inequalities, lower sides and upper sides: their distances and steps."""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import Tensor

from robustfw.regions._programs import Program

Parts: TypeAlias = tuple[Tensor, ...]
"""Three tensors: for the inequalities (batch, k), the lower sides (batch, n) and the upper sides (batch, n)."""


def distances(program: Program, has: Parts, point: Tensor) -> Parts:
    """The distances b − Aδ, δ − lower and upper − δ; 1 where there is no side.

    Args:
        program: the inequalities and sides.
        has: 1 where there is such an inequality or side, see `_State.has`.
        point: δ, (batch, n).
    """
    _, has_lower, has_upper = has
    above = torch.where(has_lower > 0, point - program.lower, 1)
    below = torch.where(has_upper > 0, program.upper - point, 1)
    inequalities = program.offsets - program.normals.times(point)
    return inequalities, above, below


def longest_step(values: Parts, moves: Parts) -> Tensor:
    """The longest step up to 1 that keeps all values positive, (batch, 1)."""
    lengths = []
    for value, move in zip(values, moves, strict=True):
        if not value.shape[1]:
            continue
        to_zero = torch.where(move < 0, -value / move, torch.inf)
        lengths.append(to_zero.amin(1, keepdim=True))
    return torch.stack(lengths).amin(0).clamp(max=1)


def advance(values: Parts, moves: Parts, length: Tensor) -> Parts:
    """values + length · moves."""
    return tuple(
        value + length * move for value, move in zip(values, moves, strict=True)
    )
