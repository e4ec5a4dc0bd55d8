"""Laws of the projection on an uncertainty set."""

from __future__ import annotations

import torch
from torch import Tensor

from robustfw.regions import inner_products, norms, per_row
from robustfw.testing._cases import (
    Case,
    members_of,
    stretch_to_border,
)


def check_members_fixed(case: Case) -> None:
    """violation(z) = 0 ⇒ Pz = z: inside, and at the border, reached by stretching until violation turns positive."""
    for member in (*members_of(case), stretch_to_border(case), case.points):
        outside = case.region.violation(member) > 0
        projected = case.region.project(member)
        distance = norms(projected - member)
        holds = outside | (distance <= case.slack(norms(member)))
        case.require(holds, "a member is moved by {}", distance, z=member, Pz=projected)


def check_nearest(case: Case) -> None:
    """⟨z − Pz, s − Pz⟩ ≤ tolerance for all members s, of which support(z − Pz) is the worst: Pz is the nearest point.

    For feasible Pz the left side bounds the squared distance to the true projection. Where the set is not convex, no
    member that can be found may be nearer.
    """
    if not case.region.convex:
        _check_none_nearer(case)
        return
    z = case.points
    projected = case.region.project(z)
    residual = z - projected
    gap = inner_products(residual, case.region.support(residual) - projected)
    # rounding in z alone changes the left side by eps·‖z‖·‖s‖
    holds = gap <= case.slack(norms(residual)) * (
        1 + norms(projected)
    ) + case.tolerance * norms(z)
    if not holds.all():
        distance = _distances_to_projection(case, projected)
        case.require(
            holds, "P(z) is {} from the true projection", distance, z=z, Pz=projected
        )


def _check_none_nearer(case: Case) -> None:
    """Check that no member that can be found is nearer to z than P(z)."""
    z = case.points
    projected = case.region.project(z)
    for member in members_of(case):
        candidates = [member]
        # where all rows have one set, members of one row are members of all
        if _same_rows(case):
            order = torch.randperm(len(member), generator=case.generator())
            candidates.append(member[order])
        for other in candidates:
            nearer = norms(z - projected) - norms(z - other)
            holds = (case.region.violation(other) > 0) | (
                nearer <= case.slack(norms(z))
            )
            case.require(holds, "a member is nearer by {}", nearer, z=z, member=other)


def _same_rows(case: Case) -> bool:
    """Whether all rows have one and the same set, so that members of one row are members of all."""
    return case.name.startswith("bare")


def _distances_to_projection(case: Case, projected: Tensor) -> Tensor:
    """‖Pz − z*‖, with z* by Frank-Wolfe with exact line search, which needs nothing but `support`."""
    region = case.region
    z = case.points
    is_member = region.violation(projected) <= 0
    inside = per_row(is_member.to(z.dtype), z) > 0
    nearest = torch.where(inside, projected, 0)
    for _ in range(2000):
        away = z - nearest
        step = region.support(away) - nearest
        # the share of the step that goes nearest to z
        squares = inner_products(step, step).clamp(min=1e-300)
        share = inner_products(away, step) / squares
        nearest = nearest + per_row(share.clamp(0, 1), step) * step
    return norms(nearest - projected)


def check_non_expansive(case: Case) -> None:
    """‖Pz − Pw‖ ≤ ‖z − w‖ for a convex set: evidence on P that does not lean on `support`."""
    if not case.region.convex:
        return
    z = case.points
    noise = torch.randn(z.shape, generator=case.generator(), dtype=torch.float64).to(z)
    for w in (z + 0.1 * noise, 0.5 * z, noise):
        before = norms(z - w)
        projected_z = case.region.project(z)
        projected_w = case.region.project(w)
        after = norms(projected_z - projected_w)
        holds = after <= before + case.slack(before, norms(z))
        case.require(
            holds, "projecting moves z and w apart by {}", after - before, z=z, w=w
        )
