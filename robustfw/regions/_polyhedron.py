"""Polyhedra: linear inequalities and bounds, with oracles of their own."""

from __future__ import annotations

import warnings
from typing import final

import attrs
import torch
from torch import Tensor

from robustfw.errors import RobustfwWarning, UsageError
from robustfw.regions._base import Bound, Region
from robustfw.regions._interior_point import PRECISION, ROOM, Answer, Normals, Program, solve
from robustfw.regions._rows import (
    exact,
    inner_products,
    normal_like,
    norms,
    per_row,
    step_per_row,
    uniform_like,
    with_unit_maximum,
)

COARSE = 1e-4
"""Precision of a step of ascent, relative to the set."""
ROUNDING = 4
"""Roundings, relative to the offsets and to δ, that Aδ may be above b."""


@final
@attrs.frozen(eq=False)
class Polyhedron(Region):
    """{δ : A δ ≤ b, lower ≤ δ ≤ upper} with b ≥ 0, bounded: by the inequalities, or by the box.

    Both oracles are quadratic and linear programs, solved for all rows at once by an interior-point method to about
    1e-10 of the size of the set (see `robustfw.regions.interior_point`). It works in float64 with matrices of
    min(k, n) × min(k, n) for k inequalities in n coordinates: some hundred of either are a matter of milliseconds.
    """

    like: Tensor
    normals: Normals
    """A, (k, n), rows of length 1 or 0, for δ flattened to (batch, n): the same for all rows."""
    offsets: Tensor
    """b, (batch, k)."""
    lower: Tensor
    """(batch, n), not positive."""
    upper: Tensor
    """(batch, n), not negative."""

    @classmethod
    def of(cls, like: Tensor, normals: Tensor, offsets: Tensor) -> Polyhedron:
        """The set {δ : A δ ≤ b} for A of (k, n), b of (k,) or (batch, k), δ of the shape of ``like``.

        Raises:
            UsageError: shapes that do not fit, or an offset that is negative, so that 0 is no member.
        """
        size = like.flatten(1).shape[1]
        if normals.dim() != 2 or normals.shape[1] != size or offsets.shape[-1:] != normals.shape[:1]:
            raise UsageError(
                f"normals of shape {tuple(normals.shape)} and offsets of shape {tuple(offsets.shape)} do not fit "
                f"perturbations of {size} coordinates: give (inequalities, {size}) and (inequalities,)"
            )
        if not len(normals):
            raise UsageError("a polyhedron needs an inequality: take a Box for bounds alone")
        if bool((offsets < 0).any()) or not bool(normals.isfinite().all()):
            raise UsageError("a polyhedron needs finite normals, and offsets that are not negative: 0 is a member")
        wide_normals, wide_offsets = exact(normals).to(like.device), exact(offsets).to(like.device)
        lengths = norms(wide_normals)
        lengths = torch.where(lengths > 0, lengths, 1)
        free = torch.full_like(exact(like).flatten(1), torch.inf)
        return cls(
            like.detach(),
            Normals(wide_normals / lengths[:, None]),
            (wide_offsets / lengths).expand(len(like), -1),
            -free,
            free,
        )

    def violation(self, delta: Tensor) -> Tensor:
        """The largest distance to a half-space or to the box, max (A δ − b)."""
        point = exact(delta).flatten(1)
        beyond = self.normals.times(point) - self.offsets
        beyond = torch.where(beyond > self._rounding(point), beyond, 0)
        box = torch.maximum(self.lower - point, point - self.upper)
        return torch.cat([beyond, box], 1).amax(1).clamp(min=0).to(delta.dtype)

    def _rounding(self, point: Tensor) -> Tensor:
        """What products of A and δ may be off by, and the room that an inequality with b = 0 is given, (batch, k)."""
        eps = ROUNDING * torch.finfo(point.dtype).eps
        flat = torch.where(self.offsets <= ROOM * self._size, 2 * ROOM * self._size, 0)
        return eps * (self.offsets + norms(point)[:, None]) + flat

    def project(self, point: Tensor) -> Tensor:
        """The nearest point, argmin ½‖δ − z‖²; members stay as they are."""
        outside = self.violation(point) > 0
        nearest = point.clone()
        if outside.any():
            some, far = self[outside], exact(point[outside]).flatten(1)
            # 1. bring far points to length 1, with the weight of the square adapted
            pull = far / some._size
            length = norms(pull).clamp(min=1)[:, None]
            answer = some._solve(pull / length, 1 / length)
            # 2. members, in the shape that was asked for
            nearest[outside] = some._member(answer.point, point[outside])
        return nearest

    def support(self, direction: Tensor) -> Tensor:
        """A farthest point, argmax ⟨g, δ⟩; 0 where the direction vanishes."""
        answer = self._farthest(direction)
        moves = per_row(direction.flatten(1).ne(0).any(1).to(direction), direction) > 0
        return torch.where(moves, self._member(answer.point, direction), 0)

    def support_bound(self, direction: Tensor) -> Tensor:
        """Weak duality: ⟨g, δ⟩ ≤ bᵀy + max over the box of ⟨g − Aᵀy, δ⟩, for the multipliers y ≥ 0 of the program.

        Raises:
            UsageError: there is no box, which has to bound what the multipliers miss.
        """
        if bool(self.lower.isinf().any()) or bool(self.upper.isinf().any()):
            raise UsageError("a polyhedron without a box has no proven bound on its support: take one within a range")
        flat = exact(direction).flatten(1)
        length = norms(flat)
        multipliers = self._farthest(direction).multipliers.clamp(min=0) * length[:, None]
        rest = flat - self.normals.times_transpose(multipliers)
        corner = torch.where(rest > 0, rest * self.upper, rest * self.lower)
        terms = torch.cat([self.offsets * multipliers, torch.where(rest == 0, 0, corner)], 1)
        rounding = 64 * torch.finfo(terms.dtype).eps * (terms.abs().sum(1) + length * self._size[:, 0])
        return terms.sum(1) + rounding

    def ascent(self, direction: Tensor, delta: Tensor, step: Tensor | float) -> Tensor:
        """``step`` times a farthest point, to a few digits: the caller projects δ + s."""
        towards = with_unit_maximum(direction)
        farthest = self._member(self._farthest(towards, COARSE).point, direction)
        # what the precision leaves open may be all there is to gain
        gains = per_row((inner_products(towards, farthest) > 0).to(direction), direction) > 0
        return step_per_row(step, delta) * torch.where(gains, farthest, 0)

    def _farthest(self, direction: Tensor, precision: float = PRECISION) -> Answer:
        flat = exact(with_unit_maximum(direction)).flatten(1)
        length = norms(flat)[:, None]
        unit = flat / torch.where(length > 0, length, 1)
        return self._solve(unit, torch.zeros_like(length), precision)

    @property
    def _size(self) -> Tensor:
        """The unit of length of each row, (batch, 1): the reach of the box, or the farthest half-space."""
        reach = torch.maximum(-self.lower, self.upper).amax(1, keepdim=True)
        offsets = self.offsets
        farthest = offsets.masked_fill(offsets.isinf(), 0).amax(1, keepdim=True)
        size = torch.where(reach.isfinite(), reach, farthest)
        return torch.where(size > 0, size, 1)

    def _solve(self, drive: Tensor, weight: Tensor, precision: float = PRECISION) -> Answer:
        """The program in units of the size of the set."""
        size = self._size
        lower, upper = self.lower / size, self.upper / size
        # an inequality that the box alone fulfils may be as far away as it likes
        reach = torch.maximum(-lower, upper).clamp(max=1e6) @ self.normals.matrix.abs().mT
        offsets = torch.minimum(self.offsets / size, 1 + reach)
        answer = solve(Program(self.normals, offsets, lower, upper, drive, weight), precision)
        if answer.unsolved.any():
            warnings.warn(
                f"{int(answer.unsolved.sum())} programs over a polyhedron were not solved to full accuracy: "
                "is it bounded, with coefficients of like size?",
                RobustfwWarning,
                stacklevel=4,
            )
        return answer

    def _member(self, solved: Tensor, like: Tensor) -> Tensor:
        """The point, clamped to the box and shrunk into the half-spaces, which keeps it in the box: 0 is in both."""
        point = torch.clamp(solved * self._size, self.lower, self.upper)
        reached = self.normals.times(point)
        over = (reached > self.offsets) & (self.offsets > ROOM * self._size)
        share = torch.where(over, self.offsets / torch.where(over, reached, 1), 1)
        return (point * share.amin(1, keepdim=True)).reshape(like.shape).to(like.dtype)

    def within(self, lower: Bound, upper: Bound) -> Polyhedron:
        """The same inequalities and a smaller box."""
        bounds = (torch.as_tensor(b, dtype=self.lower.dtype, device=self.lower.device) for b in (lower, upper))
        low, high = (bound.expand_as(self.like).flatten(1) for bound in bounds)
        return attrs.evolve(self, lower=torch.maximum(self.lower, low), upper=torch.minimum(self.upper, high))

    def scaled(self, factor: Tensor | float) -> Polyhedron:
        """factor·𝒰: offsets and box."""
        by = per_row(factor, self.offsets)
        low, high = (torch.where(by > 0, by * side, 0) for side in (self.lower, self.upper))
        return attrs.evolve(self, offsets=by * self.offsets, lower=low, upper=high)

    def sample(self, generator: torch.Generator) -> Tensor:
        """A random share of the way from 0 to the farthest point in a random direction."""
        corner = self.support(normal_like(self.like, generator).to(self.like.dtype))
        share = uniform_like(self.offsets.new_empty(len(self)), generator)
        return per_row(share, corner) * corner
