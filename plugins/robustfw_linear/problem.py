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
from robustfw_linear.cones import Program
from robustfw_linear.sets import Conic, explicit

Array = NDArray[np.float64]
Uncertainty: TypeAlias = str | dict[str, Any] | UncertaintySet | Region | None
"""A spec (``"linf:radius=0.1"``), a set, a region with a row for each constraint, or None: certain."""

NOT_AFFINE = "this set changes rows in a way that is not affine in δ, so that their worst case is not one support of it"
AFFINE = 1e-6
"""Relative deviation from an affine effect of δ that is put down to rounding."""


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
    """gᵢ, (rows, width of z − n)."""
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
        moved = self.region.apply(self.data, delta).detach().cpu().numpy()
        return np.hstack([self.signs[:, None] * moved, self.rest])

    def direction(self, z: Array) -> Tensor:
        """∇_δ of the left sides at z, (rows, …): sᵢx, unless δ is a parameter that the set applies its own way."""
        weights = torch.as_tensor(self.signs[:, None] * z[: self.data.shape[1]]).to(self.data)
        start = self.region.zero().requires_grad_()
        with torch.enable_grad():
            total = (self.region.apply(self.data, start) * weights).sum()
        return torch.autograd.grad(total, start)[0]

    def pessimize(self, z: Array) -> Array:
        """The worst members at z, as coefficients (rows, width of z): one call of `support` for all rows."""
        direction = self.direction(z)
        delta = self.region.support(direction)
        rows = self.rows_at(delta)
        gains = inner_products(direction, delta).detach().cpu().numpy()
        expected = self.nominal @ z + gains
        if (np.abs(rows @ z - expected) > AFFINE * (1 + np.abs(rows) @ np.abs(z))).any():
            raise UsageError(NOT_AFFINE)
        return rows

    def check_affine(self) -> None:
        """Halfway to a member is half of its effect; where the gradient at 0 vanishes, only this tells."""
        far = self.region.support(torch.ones_like(self.region.like))
        ends, middle = self.rows_at(far) + self.nominal, self.rows_at(far / 2)
        if (np.abs(ends / 2 - middle) > AFFINE * (1 + np.abs(middle))).any():
            raise UsageError(NOT_AFFINE)


@final
@attrs.frozen(eq=False)
class Problem:
    """min cᵀz over uncertain rows, bounds and certain equations."""

    cost: Array
    lower: Array
    upper: Array
    groups: tuple[UncertainRows, ...]
    equations: tuple[Array, Array]
    """E and f in Ez = f."""

    def program(self, rows: Sequence[Array] | None = None) -> tuple[Program, slice]:
        """The program with these coefficients of the groups' rows (the nominal ones), and the columns of z in it."""
        program, z = self.certain()
        for group, matrix in zip(self.groups, rows or [group.nominal for group in self.groups], strict=True):
            program.at_most([(z, matrix)], group.limits)
        return program, z

    def certain(self) -> tuple[Program, slice]:
        """The program without the uncertain rows."""
        program = Program()
        z = program.columns(len(self.cost), self.cost, self.lower, self.upper)
        program.equal([(z, self.equations[0])], self.equations[1])
        return program, z

    def excess(self, z: Array) -> tuple[list[Array], list[Array]]:
        """For each group the worst rows at z, and by how much they are violated, relative to the sizes in them."""
        worst = [group.pessimize(z) for group in self.groups]
        beyond = [rows @ z - group.limits for rows, group in zip(worst, self.groups, strict=True)]
        sizes = [
            np.maximum(1, np.maximum(np.abs(group.limits), (np.abs(rows) * np.abs(z)).max(1, initial=0)))
            for rows, group in zip(worst, self.groups, strict=True)
        ]
        return worst, [over / size for over, size in zip(beyond, sizes, strict=True)]

    def recession(self) -> Problem:
        """The directions in which z may go without end, within a unit box: the same rows with 0 on the right."""
        return Problem(
            self.cost,
            np.where(np.isfinite(self.lower), 0.0, -1.0),
            np.where(np.isfinite(self.upper), 0.0, 1.0),
            tuple(attrs.evolve(group, limits=np.zeros_like(group.limits)) for group in self.groups),
            (self.equations[0], np.zeros_like(self.equations[1])),
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
    """Rows with a set from whatever names one; with a data range, aᵢ + δᵢ stays in it."""
    x = torch.as_tensor(np.array(data, dtype=float))
    conics: list[Conic] | None = None
    if isinstance(uncertainty, Region):
        region = uncertainty
        if len(region) != len(data):
            raise UsageError(f"the region has {len(region)} rows for {len(data)} constraints")
    elif uncertainty is None:
        region = Box.around(x, 0.0, 0.0)
        conics = [_certain(data.shape[1])] * len(data)
    else:
        made = uncertainty if isinstance(uncertainty, UncertaintySet) else robustfw.make("uncertainty", uncertainty)
        region = made.at(x)
        known = explicit(made)
        conics = None if known is None else known.conic(*data.shape)
    if data_range is not None:
        low, high = data_range
        region = region.within(low - x, high - x)
        sides = zip(low - data, high - data, strict=True)
        conics = conics and [conic.within(*side) for conic, side in zip(conics, sides, strict=True)]
    rows = UncertainRows(
        x,
        region,
        conics,
        np.zeros((len(data), 0)) if rest is None else rest,
        np.asarray(limits, dtype=float),
        np.ones(len(data)) if signs is None else signs,
    )
    rows.check_affine()
    return rows


def _certain(width: int) -> Conic:
    return Conic(np.zeros((width, 0)), np.zeros((0, 0)), np.zeros(0))
