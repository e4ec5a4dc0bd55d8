"""Projections on intersections and sums of convex sets, from projections on the sets alone.

Both are the alternating direction method of multipliers (Boyd et al. 2011), with its penalty scaled to the size of the
sets, so that the number of rounds does not depend on how far the point is. Dykstra's algorithm and block descent, the
usual choices, need a number of rounds that grows with the distance, or stall at the border.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from robustfw.errors import RobustfwWarning
from robustfw.regions._rows import norms, per_row

RELAXATION, REBALANCE = 1.6, 50
PUSH_COMMON, PUSH_SUM = 3.0, 10.0
"""Over-relaxation, rounds between two looks at the balance of the residuals, and how hard the point pulls at first, in
sizes of the set: each the best of a small grid."""


class Projectable(Protocol):
    """What the methods need of a set; rows can be picked out, so that those that have converged are left alone."""

    def project(self, point: Tensor) -> Tensor:
        """The nearest member."""

    def __getitem__(self, rows: Tensor) -> Projectable: ...


def common_point(
    sets: Sequence[Projectable], drive: Tensor, weight: Tensor, size: Tensor, accuracy: float, rounds: int
) -> Tensor:
    """argmin ½·weight·‖x‖² − ⟨drive, x⟩ over 𝒰₁ ∩ … ∩ 𝒰ₘ (section 7.1); a member of the last of them.

    With drive = t·z and weight = t this is the projection of z, and with weight 0 the support in the direction of
    drive. ``size`` is the scale of the set, (batch,), to which ``accuracy`` is relative.
    """
    state = _State(sets, drive, size, accuracy)
    for done in range(1, rounds + 1):
        agreed = (state.drive + sum(state.parts) + sum(state.duals)) / (weight + len(sets))
        apart, step = torch.zeros_like(state.tolerance), torch.zeros_like(state.tolerance)
        for i, each in enumerate(state.sets):
            relaxed = RELAXATION * agreed + (1 - RELAXATION) * state.parts[i]
            moved = each.project(relaxed - state.duals[i])
            state.duals[i] = state.duals[i] + moved - relaxed
            apart, step = apart + norms(moved - agreed), step + norms(moved - state.parts[i])
            state.parts[i] = moved
        if done % REBALANCE == 0:  # section 3.4.1: neither residual may lag behind; ever less, or it never settles
            by = 2 ** (REBALANCE / done) ** 0.3
            by = per_row(torch.where(apart > 2 * step, 1 / by, torch.where(step > 2 * apart, by, 1.0)), weight)
            weight, state.drive, state.duals = weight * by, state.drive * by, [dual * by for dual in state.duals]
        going = state.settle(state.parts[-1], apart + step)
        if going is None:
            return state.settled
        weight = weight[going]
    state.warn(rounds)
    return state.settled


def nearest_sum(sets: Sequence[Projectable], point: Tensor, size: Tensor, accuracy: float, rounds: int) -> Tensor:
    """The projection on 𝒰₁ + … + 𝒰ₘ, as a sum of members.

    ADMM on the dual, min ½‖p‖² − ⟨z, p⟩ + Σ hᵢ(p) with hᵢ the support functions, whose proximal maps are the
    projections by Moreau's identity; z − p is the answer.
    """
    state = _State(sets, point, size, accuracy)
    length = norms(point)
    penalty = per_row(PUSH_SUM * size / torch.where(length > 0, length, size), point)
    for _ in range(rounds):
        agreed = (state.drive + penalty * (sum(state.parts) + sum(state.duals))) / (1 + penalty * len(sets))
        change, total = torch.zeros_like(state.tolerance), torch.zeros_like(state.drive)
        for i, each in enumerate(state.sets):
            relaxed = RELAXATION * agreed + (1 - RELAXATION) * state.parts[i]
            pulled = relaxed - state.duals[i]
            member = each.project(penalty * pulled)
            moved = pulled - member / penalty
            state.duals[i] = state.duals[i] + moved - relaxed
            change = change + norms(penalty * (moved - agreed)) + norms(penalty * (moved - state.parts[i]))
            state.parts[i], total = moved, total + member
        going = state.settle(total, change)
        if going is None:
            return state.settled
        penalty = penalty[going]
    return state.settled  # a sum of members, however close; at the border the last digits take very many rounds


class _State:
    """Parts, duals and the rows that still move; a row leaves as soon as it has converged, whatever the others do."""

    def __init__(self, sets: Sequence[Projectable], drive: Tensor, size: Tensor, accuracy: float) -> None:
        self.sets, self.drive = list(sets), drive
        least = torch.finfo(drive.dtype).tiny ** 0.5  # of a set that is one point, whose size is none
        self.tolerance = (max(accuracy, 16 * torch.finfo(drive.dtype).eps) * size).clamp(min=least)
        self.parts, self.duals = ([torch.zeros_like(drive) for _ in sets] for _ in range(2))
        self.rows = torch.arange(len(drive), device=drive.device)
        self.settled = torch.zeros_like(drive)
        self.change = torch.zeros_like(self.tolerance)

    def settle(self, found: Tensor, change: Tensor) -> Tensor | None:
        """Note what was found; the rows that go on, as a mask over those that did so far, or None at the end."""
        self.settled[self.rows], self.change = found, change
        going = change > self.tolerance
        if not going.any():
            return None
        if not going.all():
            self.rows, self.drive, self.tolerance = self.rows[going], self.drive[going], self.tolerance[going]
            self.sets = [each[going] for each in self.sets]
            self.parts, self.duals = ([t[going] for t in listed] for listed in (self.parts, self.duals))
        return going

    def warn(self, rounds: int) -> None:
        """Say so if the accuracy was missed by far; where there are many farthest points, the last digits take long."""
        if not (self.change > 100 * self.tolerance).any():
            return
        warnings.warn(
            f"a projection on combined sets stopped after {rounds} rounds with {len(self.rows)} rows still moving by "
            f"{float(self.change.max()):.1e}",
            RobustfwWarning,
            stacklevel=5,
        )
