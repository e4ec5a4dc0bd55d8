"""Projections on intersections and sums of convex sets, from projections on the single sets.

Both use the alternating direction method of multipliers (ADMM, Boyd et al. 2011) with a penalty scaled to the size of
the sets, so that the number of rounds does not depend on the distance of the point. Dykstra's algorithm and block
descent, the usual choices, need a number of rounds that grows with the distance, or stall at the border.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from robustfw.errors import RobustfwWarning
from robustfw.regions._rows import norms, per_row

RELAXATION = 1.6
"""Over-relaxation of ADMM (Boyd et al. 2011, section 3.4.3); the best of a small grid."""

REBALANCE = 50
"""Number of rounds between two adjustments of the penalty; the best of a small grid."""

PUSH_COMMON = 3.0
"""Initial length of the drive in `common_point`, in sizes of the set; the best of a small grid."""

PUSH_SUM = 10.0
"""Initial penalty of `nearest_sum`, in sizes of the set per length of the point; the best of a small grid."""

SEVERE = 100
"""Last change of a row, in units of the tolerance, above which missed accuracy gives a warning."""


class Projectable(Protocol):
    """The part of a region that both methods use; rows are selected so that converged ones are left alone."""

    def project(self, point: Tensor) -> Tensor:
        """The nearest member of the set."""

    def __getitem__(self, rows: Tensor) -> Projectable: ...


def common_point(
    sets: Sequence[Projectable],
    drive: Tensor,
    weight: Tensor,
    size: Tensor,
    accuracy: float,
    rounds: int,
) -> Tensor:
    """argmin ½·weight·‖x‖² − ⟨drive, x⟩ over 𝒰₁ ∩ … ∩ 𝒰ₘ (section 7.1); a member of the last of them.

    With drive = t·z and weight = t this is the projection of z, and with weight 0 the support in the direction of
    drive.

    Args:
        sets: the sets 𝒰ᵢ, with a row for each row of ``drive``.
        drive: the linear term, (batch, *shape).
        weight: the quadratic term, (batch, 1, …, 1).
        size: the scale of the set, (batch,), to which the accuracy is relative.
        accuracy: change of all parts in a round below which a row has converged.
        rounds: largest number of rounds; a row that is far from converged then gives a warning.
    """
    state = _State(sets, drive, size, accuracy)
    for done in range(1, rounds + 1):
        # 1. the common point: the average of parts and duals, pulled by the drive
        total = state.drive + sum(state.parts) + sum(state.duals)
        agreed = total / (weight + len(sets))
        primal = torch.zeros_like(state.tolerance)
        dual = torch.zeros_like(state.tolerance)
        # 2. each set's part: the projection of the relaxed common point less its dual
        for i, region in enumerate(state.sets):
            relaxed = RELAXATION * agreed + (1 - RELAXATION) * state.parts[i]
            part = region.project(relaxed - state.duals[i])
            state.duals[i] = state.duals[i] + part - relaxed
            primal = primal + norms(part - agreed)
            dual = dual + norms(part - state.parts[i])
            state.parts[i] = part
        # 3. another penalty where one residual lags behind (section 3.4.1); by ever less, or it would not converge
        if done % REBALANCE == 0:
            factor = 2 ** (REBALANCE / done) ** 0.3
            raised = torch.where(dual > 2 * primal, factor, 1.0)
            factors = torch.where(primal > 2 * dual, 1 / factor, raised)
            change = per_row(factors, weight)
            weight = weight * change
            state.drive = state.drive * change
            state.duals = [values * change for values in state.duals]
        # 4. rows that have converged leave
        going = state.record(state.parts[-1], primal + dual)
        if going is None:
            return state.result
        weight = weight[going]
    state.warn(rounds)
    return state.result


def nearest_sum(
    sets: Sequence[Projectable],
    point: Tensor,
    size: Tensor,
    accuracy: float,
    rounds: int,
) -> Tensor:
    """The projection on 𝒰₁ + … + 𝒰ₘ, as a sum of members.

    ADMM on the dual, min ½‖p‖² − ⟨z, p⟩ + Σ hᵢ(p) with hᵢ the support functions, whose proximal maps are the
    projections by Moreau's identity; z − p is the projection.

    Args:
        sets: the sets 𝒰ᵢ, with a row for each row of ``point``.
        point: the point z, (batch, *shape).
        size: the scale of the set, (batch,), to which the accuracy is relative.
        accuracy: change of all members in a round below which a row has converged.
        rounds: largest number of rounds. The result is a sum of members after any number; at the border the last
            digits take very many.
    """
    state = _State(sets=sets, drive=point, size=size, accuracy=accuracy)
    length = norms(point)
    safe_length = torch.where(length > 0, length, size)
    penalty = per_row(PUSH_SUM * size / safe_length, point)
    for _ in range(rounds):
        # 1. the common dual point
        pulls = sum(state.parts) + sum(state.duals)
        agreed = (state.drive + penalty * pulls) / (1 + penalty * len(sets))
        change = torch.zeros_like(state.tolerance)
        total = torch.zeros_like(state.drive)
        # 2. each support function's proximal map, by the projection on its set
        for i, region in enumerate(state.sets):
            relaxed = RELAXATION * agreed + (1 - RELAXATION) * state.parts[i]
            pulled = relaxed - state.duals[i]
            member = region.project(penalty * pulled)
            part = pulled - member / penalty
            state.duals[i] = state.duals[i] + part - relaxed
            primal = norms(penalty * (part - agreed))
            dual = norms(penalty * (part - state.parts[i]))
            change = change + primal + dual
            state.parts[i] = part
            total = total + member
        # 3. rows that have converged leave
        going = state.record(total, change)
        if going is None:
            return state.result
        penalty = penalty[going]
    return state.result


class _State:
    """Parts, duals and the rows that still move; a row is dropped as soon as it has converged."""

    def __init__(
        self, sets: Sequence[Projectable], drive: Tensor, size: Tensor, accuracy: float
    ) -> None:
        self.sets = list(sets)
        self.drive = drive
        # a set that is one point has size 0, and its tolerance must be positive all the same
        finfo = torch.finfo(drive.dtype)
        least = finfo.tiny**0.5
        relative = max(accuracy, 16 * finfo.eps)
        self.tolerance = (relative * size).clamp(min=least)
        self.parts = [torch.zeros_like(drive) for _ in sets]
        self.duals = [torch.zeros_like(drive) for _ in sets]
        self.rows = torch.arange(len(drive), device=drive.device)
        """Indices of the rows that still move."""
        self.result = torch.zeros_like(drive)
        """The latest answer of every row."""
        self.change = torch.zeros_like(self.tolerance)
        """The change of the moving rows in the last round."""

    def record(self, answer: Tensor, change: Tensor) -> Tensor | None:
        """Store the answers of a round and drop the rows that have converged.

        Returns:
            A mask, over the rows that moved so far, of those that go on; None where none does.
        """
        self.result[self.rows] = answer
        self.change = change
        going = change > self.tolerance
        if not going.any():
            return None
        if not going.all():
            self.rows = self.rows[going]
            self.drive = self.drive[going]
            self.tolerance = self.tolerance[going]
            self.sets = [region[going] for region in self.sets]
            self.parts = [part[going] for part in self.parts]
            self.duals = [dual[going] for dual in self.duals]
        return going

    def warn(self, rounds: int) -> None:
        """Warn if a row missed the accuracy by far; with many farthest points the last digits take many rounds."""
        far_off = self.change > SEVERE * self.tolerance
        if not far_off.any():
            return
        largest_change = float(self.change.max())
        warnings.warn(
            f"a projection on combined sets stopped after {rounds} rounds with {len(self.rows)} rows still moving by "
            f"{largest_change:.1e}",
            RobustfwWarning,
            stacklevel=5,
        )
