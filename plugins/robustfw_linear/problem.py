"""The form that every method works on: min cᵀz over constraints whose first coefficients are uncertain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias, final

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import robustfw
from robustfw import Region, UncertaintySet, UsageError
from robustfw.regions import Box, inner_products
from robustfw_linear.cones import ConicProgram
from robustfw_linear.conic import Conic
from robustfw_linear.sets import explicit

Array = NDArray[np.float64]
Uncertainty: TypeAlias = str | dict[str, Any] | UncertaintySet | Region | None
"""A spec (``"linf:radius=0.1"``), a set, a region with a row for each constraint, or None: certain."""

NOT_AFFINE = "this set changes rows in a way that is not affine in δ, so that their worst case is not one support of it"
"""The message for sets to which no method here applies."""
AFFINE = 1e-6
"""Largest relative deviation from an affine effect of δ that counts as rounding."""


@final
@attrs.frozen(eq=False)
class UncertainRows:
    """sᵢ⟨aᵢ + δᵢ, x⟩ + ⟨gᵢ, rest of z⟩ ≤ bᵢ for all δᵢ ∈ 𝒰ᵢ, with z = (x, rest): the region's batch is the rows."""

    data: Tensor
    """aᵢ, (rows, n)."""
    region: Region
    conics: list[Conic] | None
    """The sets in formulas, one per row; None where only the oracles are known."""
    rest: Array
    """gᵢ, the certain coefficients, (rows, width of z − n)."""
    limits: Array
    """b, (rows,)."""
    signs: Array
    """s, (rows,), 1 or −1."""

    @property
    def nominal(self) -> Array:
        """The coefficients at δ = 0, (rows, width of z)."""
        return self.rows_at(self.region.zero())

    def rows_at(self, delta: Tensor) -> Array:
        """The coefficients at δ, (rows, width of z)."""
        perturbed = self.region.apply(self.data, delta).detach().cpu().numpy()
        return np.hstack([self.signs[:, None] * perturbed, self.rest])

    def direction(self, z: Array) -> Tensor:
        """∇_δ of the left sides at z, (rows, …): sᵢx, unless δ is a parameter that the set applies its own way."""
        x = z[: self.data.shape[1]]
        weights = torch.as_tensor(self.signs[:, None] * x).to(self.data)
        start = self.region.zero().requires_grad_()
        with torch.enable_grad():
            total = (self.region.apply(self.data, start) * weights).sum()
        return torch.autograd.grad(total, start)[0]

    def pessimize(self, z: Array) -> Array:
        """The worst coefficients at z, (rows, width of z): one call of `support` for all rows.

        Raises:
            UsageError: the set's effect on a row is not affine in δ.
        """
        direction = self.direction(z)
        delta = self.region.support(direction)
        rows = self.rows_at(delta)
        gains = inner_products(direction, delta).detach().cpu().numpy()
        expected = self.nominal @ z + gains
        error = np.abs(rows @ z - expected)
        size = 1 + np.abs(rows) @ np.abs(z)
        if (error > AFFINE * size).any():
            raise UsageError(NOT_AFFINE)
        return rows

    def check_affine(self) -> None:
        """Check that half of a δ has half of its effect; where the gradient at 0 vanishes, `pessimize` cannot tell.

        Raises:
            UsageError: the set's effect on a row is not affine in δ.
        """
        far = self.region.support(torch.ones_like(self.region.like))
        mean = (self.rows_at(far) + self.nominal) / 2
        middle = self.rows_at(far / 2)
        error = np.abs(mean - middle)
        size = 1 + np.abs(middle)
        if (error > AFFINE * size).any():
            raise UsageError(NOT_AFFINE)


@final
@attrs.frozen(eq=False)
class Problem:
    """min cᵀz over uncertain rows, bounds and certain equations."""

    cost: Array
    """c, (width,)."""
    lower: Array
    """Lower bounds of z, (width,)."""
    upper: Array
    """Upper bounds of z, (width,)."""
    groups: tuple[UncertainRows, ...]
    equations: tuple[Array, Array]
    """E and f in Ez = f."""

    def program(
        self, rows: Sequence[Array] | None = None
    ) -> tuple[ConicProgram, slice]:
        """The program with these coefficients of each group, by default the nominal ones; and its columns of z."""
        if rows is None:
            rows = [group.nominal for group in self.groups]
        program, z = self.certain_program()
        for group, matrix in zip(self.groups, rows, strict=True):
            program.add_inequalities([(z, matrix)], group.limits)
        return program, z

    def certain_program(self) -> tuple[ConicProgram, slice]:
        """The program without the uncertain rows, and its columns of z."""
        program = ConicProgram()
        z = program.add_columns(len(self.cost), self.cost, self.lower, self.upper)
        program.add_equations([(z, self.equations[0])], self.equations[1])
        return program, z

    def excess(self, z: Array) -> tuple[list[Array], list[Array]]:
        """For each group the worst rows at z, and by how much they are violated, relative to the sizes in them."""
        worst_rows = []
        excesses = []
        for group in self.groups:
            rows = group.pessimize(z)
            terms = np.abs(rows) * np.abs(z)
            largest_term = terms.max(1, initial=0)
            largest = np.maximum(np.abs(group.limits), largest_term)
            size = np.maximum(1, largest)
            excess = rows @ z - group.limits
            worst_rows.append(rows)
            excesses.append(excess / size)
        return worst_rows, excesses

    def recession(self) -> Problem:
        """The problem of the directions in which z may go without end, within a unit box: all right sides are 0."""
        homogeneous = [
            attrs.evolve(group, limits=np.zeros_like(group.limits))
            for group in self.groups
        ]
        matrix, values = self.equations
        return Problem(
            cost=self.cost,
            lower=np.where(np.isfinite(self.lower), 0.0, -1.0),
            upper=np.where(np.isfinite(self.upper), 0.0, 1.0),
            groups=tuple(homogeneous),
            equations=(matrix, np.zeros_like(values)),
        )


def uncertain_rows(
    data: Array,
    limits: Array,
    uncertainty: Uncertainty,
    *,
    rest: Array | None = None,
    signs: Array | None = None,
    data_range: tuple[float, float] | None = None,
) -> UncertainRows:
    """Uncertain rows with the set that a spec names.

    Args:
        data: aᵢ, (rows, n).
        limits: bᵢ, (rows,).
        uncertainty: the spec of a set, a set, a region with a row for each constraint, or None for certain rows.
        rest: gᵢ, coefficients of the other variables, (rows, width of z − n); none by default.
        signs: sᵢ, 1 or −1, (rows,); 1 by default.
        data_range: bounds that aᵢ + δᵢ keep.

    Raises:
        UsageError: the region has another number of rows, or its effect is not affine in δ.
    """
    x = torch.as_tensor(np.array(data, dtype=float))
    conics: list[Conic] | None = None
    if isinstance(uncertainty, Region):
        region = uncertainty
        if len(region) != len(data):
            raise UsageError(
                f"the region has {len(region)} rows for {len(data)} constraints"
            )
    elif uncertainty is None:
        region = Box.broadcast(x, 0.0, 0.0)
        no_columns = np.zeros((data.shape[1], 0))
        nothing = Conic(no_columns, np.zeros((0, 0)), np.zeros(0))
        conics = [nothing] * len(data)
    else:
        chosen = uncertainty
        if not isinstance(chosen, UncertaintySet):
            chosen = robustfw.make("uncertainty", chosen)
        region = chosen.at(x)
        formula = explicit(chosen)
        conics = None if formula is None else formula.conic(*data.shape)
    if data_range is not None:
        low, high = data_range
        region = region.clip(low - x, high - x)
        if conics is not None:
            sides = zip(conics, low - data, high - data, strict=True)
            conics = [conic.clip(lower, upper) for conic, lower, upper in sides]
    if rest is None:
        rest = np.zeros((len(data), 0))
    if signs is None:
        signs = np.ones(len(data))
    rows = UncertainRows(
        data=x,
        region=region,
        conics=conics,
        rest=rest,
        limits=np.asarray(limits, dtype=float),
        signs=signs,
    )
    rows.check_affine()
    return rows
