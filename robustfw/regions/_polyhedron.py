"""Polyhedra: linear inequalities and bounds, with oracles by an interior-point method."""

from __future__ import annotations

import warnings
from typing import final

import attrs
import torch
from torch import Tensor

from robustfw.errors import RobustfwWarning, UsageError
from robustfw.regions._base import MARGIN, Bound, Region
from robustfw.regions._interior_point import PRECISION, ROOM, solve
from robustfw.regions._programs import Answer, Normals, Program
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
"""Precision of the linear program of a step of ascent, relative to the size of the set."""
ROUNDING = 4
"""Violation of Aδ ≤ b that counts as rounding, in roundings of b and of ‖δ‖₂."""


@final
@attrs.frozen(eq=False)
class Polyhedron(Region):
    """{δ : A δ ≤ b, lower ≤ δ ≤ upper} with b ≥ 0, bounded: by the inequalities, or by the box.

    `project` is a quadratic and `support` a linear program, solved for all rows at once by an interior-point method to
    about 1e-10 of the size of the set. It works in float64 with matrices of min(k, n) × min(k, n) for k inequalities in
    n coordinates: a hundred of either take milliseconds.
    """

    like: Tensor
    normals: Normals
    """The matrix A, (k, n), whose rows have length 1 or 0, for δ flattened to (batch, n); all examples share it."""
    offsets: Tensor
    """The right sides b, (batch, k)."""
    lower: Tensor
    """Lower sides of the box, (batch, n), not positive."""
    upper: Tensor
    """Upper sides of the box, (batch, n), not negative."""

    @classmethod
    def from_inequalities(
        cls, like: Tensor, normals: Tensor, offsets: Tensor
    ) -> Polyhedron:
        """The set {δ : A δ ≤ b}, without a box.

        Args:
            like: a tensor of the shape, dtype and device of δ, (batch, …) with n coordinates for each row.
            normals: A, (k, n).
            offsets: b, (k,) or (batch, k).

        Raises:
            UsageError: shapes do not fit, or an offset is negative, so that 0 is no member.
        """
        size = like.flatten(1).shape[1]
        normals_fit = normals.dim() == 2 and normals.shape[1] == size
        if not normals_fit or offsets.shape[-1:] != normals.shape[:1]:
            raise UsageError(
                f"normals of shape {tuple(normals.shape)} and offsets of shape {tuple(offsets.shape)} do not fit "
                f"perturbations of {size} coordinates: give (inequalities, {size}) and (inequalities,)"
            )
        if not len(normals):
            raise UsageError(
                "a polyhedron needs an inequality: take a Box for bounds alone"
            )
        contains_zero = not bool((offsets < 0).any())
        if not contains_zero or not bool(normals.isfinite().all()):
            raise UsageError(
                "a polyhedron needs finite normals, and offsets that are not negative: 0 is a member"
            )
        # 1. rows of length 1, so that offsets are distances
        exact_normals = exact(normals).to(like.device)
        exact_offsets = exact(offsets).to(like.device)
        lengths = norms(exact_normals)
        lengths = torch.where(lengths > 0, lengths, 1)
        unit_normals = exact_normals / lengths[:, None]
        distances = exact_offsets / lengths
        # 2. no box
        infinite = torch.full_like(exact(like).flatten(1), torch.inf)
        return cls(
            like=like.detach(),
            normals=Normals(unit_normals),
            offsets=distances.expand(len(like), -1),
            lower=-infinite,
            upper=infinite,
        )

    def violation(self, delta: Tensor) -> Tensor:
        """The largest distance to one of the half-spaces, max (A δ − b), or to the box, (batch,)."""
        point = exact(delta).flatten(1)
        beyond = self.normals.times(point) - self.offsets
        beyond = torch.where(beyond > self._rounding(point), beyond, 0)
        outside_box = torch.maximum(self.lower - point, point - self.upper)
        largest = torch.cat([beyond, outside_box], 1).amax(1)
        return largest.clamp(min=0).to(delta.dtype)

    def _rounding(self, point: Tensor) -> Tensor:
        """The violation of each inequality that counts as rounding, (batch, k).

        It is the error of the products of A and δ, and for an inequality with b = 0 the room that `solve` gives it.
        """
        eps = ROUNDING * torch.finfo(point.dtype).eps
        length = norms(point)[:, None]
        size = self._size
        room = torch.where(self.offsets <= ROOM * size, 2 * ROOM * size, 0)
        return eps * (self.offsets + length) + room

    def project(self, point: Tensor) -> Tensor:
        """The nearest point, argmin ½‖δ − z‖²; members are returned as they are."""
        outside = self.violation(point) > 0
        nearest = point.clone()
        if outside.any():
            part = self[outside]
            far = exact(point[outside]).flatten(1)
            # 1. scale far points to length 1, with the weight of the square adapted
            pull = far / part._size
            length = norms(pull).clamp(min=1)[:, None]
            answer = part._solve(pull / length, 1 / length)
            # 2. turn the solution into members, in the shape and type of δ
            nearest[outside] = part._member(answer.point, point[outside])
        return nearest

    def support(self, direction: Tensor) -> Tensor:
        """A farthest point, argmax ⟨g, δ⟩; 0 where the direction vanishes."""
        answer = self._maximize(direction)
        has_direction = direction.flatten(1).ne(0).any(1).to(direction)
        moves = per_row(has_direction, direction) > 0
        return torch.where(moves, self._member(answer.point, direction), 0)

    def support_bound(self, direction: Tensor) -> Tensor:
        """The dual value bᵀy + max over the box of ⟨g − Aᵀy, δ⟩ ≥ ⟨g, δ⟩, for the multipliers y ≥ 0; (batch,).

        Raises:
            UsageError: there is no box, without which the second term is not bounded.
        """
        if bool(self.lower.isinf().any()) or bool(self.upper.isinf().any()):
            raise UsageError(
                "a polyhedron without a box has no proven bound on its support: take one within a range"
            )
        flat = exact(direction).flatten(1)
        length = norms(flat)
        # 1. the multipliers' part, bᵀy
        unit_multipliers = self._maximize(direction).multipliers.clamp(min=0)
        multipliers = unit_multipliers * length[:, None]
        inequality_terms = self.offsets * multipliers
        # 2. the box's part for the residual direction g − Aᵀy
        residual = flat - self.normals.times_transpose(multipliers)
        corner = torch.where(residual > 0, residual * self.upper, residual * self.lower)
        box_terms = torch.where(residual == 0, 0, corner)
        # 3. their sum and a margin for rounding
        terms = torch.cat([inequality_terms, box_terms], 1)
        magnitude = terms.abs().sum(1) + length * self._size[:, 0]
        rounding = MARGIN * torch.finfo(terms.dtype).eps * magnitude
        return terms.sum(1) + rounding

    def ascent(self, direction: Tensor, delta: Tensor, step: Tensor | float) -> Tensor:
        """``step`` times a farthest point, computed to a few digits.

        Args:
            direction: the gradient, of the shape of δ.
            delta: members at which the step starts.
            step: length relative to the set, one for all rows or one per row, (batch,).
        """
        unit = with_unit_maximum(direction)
        answer = self._maximize(unit, COARSE)
        farthest = self._member(answer.point, direction)
        # a point of this precision may gain nothing: such rows stay
        is_gain = (inner_products(unit, farthest) > 0).to(direction)
        gains = per_row(is_gain, direction) > 0
        goal = torch.where(gains, farthest, 0)
        return step_per_row(step, delta) * goal

    def _maximize(self, direction: Tensor, precision: float = PRECISION) -> Answer:
        """The solution of the linear program max ⟨direction, δ⟩, in units of the size of the set."""
        flat = exact(with_unit_maximum(direction)).flatten(1)
        length = norms(flat)[:, None]
        safe_length = torch.where(length > 0, length, 1)
        unit = flat / safe_length
        return self._solve(unit, torch.zeros_like(length), precision)

    @property
    def _size(self) -> Tensor:
        """The unit of length of each row, (batch, 1): the reach of the box, or the farthest half-space."""
        longer_sides = torch.maximum(-self.lower, self.upper)
        reach = longer_sides.amax(1, keepdim=True)
        finite_offsets = self.offsets.masked_fill(self.offsets.isinf(), 0)
        farthest = finite_offsets.amax(1, keepdim=True)
        size = torch.where(reach.isfinite(), reach, farthest)
        return torch.where(size > 0, size, 1)

    def _solve(
        self, drive: Tensor, weight: Tensor, precision: float = PRECISION
    ) -> Answer:
        """The solution of min ½·weight·‖δ‖² − ⟨drive, δ⟩ over the set, in units of the size of the set.

        It warns where rows were not solved to full accuracy.
        """
        size = self._size
        lower = self.lower / size
        upper = self.upper / size
        # an offset beyond the reach of the box has no effect, and is cut off there
        farthest_sides = torch.maximum(-lower, upper).clamp(max=1e6)
        reach = farthest_sides @ self.normals.matrix.abs().mT
        offsets = torch.minimum(self.offsets / size, 1 + reach)
        program = Program(
            normals=self.normals,
            offsets=offsets,
            lower=lower,
            upper=upper,
            drive=drive,
            weight=weight,
        )
        answer = solve(program, precision)
        unsolved = int(answer.unsolved.sum())
        if unsolved:
            warnings.warn(
                f"{unsolved} programs over a polyhedron were not solved to full accuracy: "
                "is it bounded, with coefficients of like size?",
                RobustfwWarning,
                stacklevel=4,
            )
        return answer

    def _member(self, solved: Tensor, like: Tensor) -> Tensor:
        """A member near a solution, (batch, n), in the shape and type of ``like``.

        It is clamped to the box and then shrunk into the half-spaces, which keeps it in the box since both contain 0.
        """
        point = torch.clamp(solved * self._size, self.lower, self.upper)
        heights = self.normals.times(point)
        has_room = self.offsets > ROOM * self._size
        over = (heights > self.offsets) & has_room
        safe_heights = torch.where(over, heights, 1)
        shares = torch.where(over, self.offsets / safe_heights, 1)
        member = point * shares.amin(1, keepdim=True)
        return member.reshape(like.shape).to(like.dtype)

    def clip(self, lower: Bound, upper: Bound) -> Polyhedron:
        """The polyhedron with these inequalities and the smaller of both boxes."""
        low = self._flatten_bound(lower)
        high = self._flatten_bound(upper)
        return attrs.evolve(
            self,
            lower=torch.maximum(self.lower, low),
            upper=torch.minimum(self.upper, high),
        )

    def _flatten_bound(self, bound: Bound) -> Tensor:
        """A bound on δ as sides of a box, (batch, n)."""
        side = torch.as_tensor(bound, dtype=self.lower.dtype, device=self.lower.device)
        return side.expand_as(self.like).flatten(1)

    def scale(self, factor: Tensor | float) -> Polyhedron:
        """factor·𝒰, by the offsets and the box."""
        factors = per_row(factor, self.offsets)
        low = torch.where(factors > 0, factors * self.lower, 0)
        high = torch.where(factors > 0, factors * self.upper, 0)
        return attrs.evolve(self, offsets=factors * self.offsets, lower=low, upper=high)

    def sample(self, generator: torch.Generator) -> Tensor:
        """A random share of the way from 0 to the farthest point in a random direction."""
        direction = normal_like(self.like, generator).to(self.like.dtype)
        farthest = self.support(direction)
        one_per_row = self.offsets.new_empty(len(self))
        share = uniform_like(one_per_row, generator)
        return per_row(share, farthest) * farthest
