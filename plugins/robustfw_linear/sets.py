"""Uncertainty sets of linear constraints, each both an oracle (`at`) and a formula (`conic`): x is a batch of rows aᵢ.

Deviations may be one number for all coefficients, a vector with one for each column, or a matrix with one for each
coefficient of each row.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, final

import attrs
import numpy as np
from scipy.optimize import linprog, nnls
from torch import Tensor

import robustfw
from robustfw import Region, UncertaintySet, UsageError, regions
from robustfw_linear.conic import Conic
from robustfw_linear.formulas import (
    Array,
    ExplicitSet,
    as_tensor,
    broadcast,
    check_finite,
    check_not_negative,
    numbers,
    one_or_each,
)
from robustfw_linear.polyhedral import PolyhedronRegion, PolytopeRegion
from robustfw_linear.smooth import BudgetRegion, EllipsoidRegion


@final
@attrs.frozen(eq=False)
class Box(ExplicitSet):
    """{−below ≤ δ ≤ above}, each coefficient by itself: interval uncertainty (Soyster 1973). ``Box(0.1)`` is ±0.1."""

    above: Array = attrs.field(converter=numbers, validator=check_not_negative)
    """Upper bounds of δ."""
    below: Array = attrs.field(
        default=attrs.Factory(lambda self: self.above, takes_self=True),
        converter=numbers,
        validator=check_not_negative,
    )
    """Negated lower bounds of δ; those of ``above`` unless given."""

    def _sides(self, shape: tuple[int, ...]) -> tuple[Array, Array]:
        """``below`` and ``above`` for coefficients of this shape."""
        below = broadcast(self.below, shape, "below")
        above = broadcast(self.above, shape, "above")
        return below, above

    def at(self, x: Tensor) -> Region:
        """A box around every row of x, (rows, n)."""
        below, above = self._sides(tuple(x.shape))
        return regions.Box.broadcast(
            x.detach(), -as_tensor(below, x), as_tensor(above, x)
        )

    def conic(self, rows: int, width: int) -> list[Conic]:
        """The formula with D = (I, −I), d = (above, below)."""
        identity = np.eye(width)
        normals = np.vstack([identity, -identity])
        below, above = self._sides((rows, width))

        def conic(i: int) -> Conic:
            offsets = np.append(above[i], below[i])
            return Conic(identity, normals, offsets)

        return one_or_each(conic, rows, below, above)


@final
@attrs.frozen(eq=False)
class Ellipsoid(ExplicitSet):
    """{P u : ‖u‖₂ ≤ 1} (Ben-Tal & Nemirovski 1999). ``shape`` is P, or its diagonal, or one radius."""

    shape: Array = attrs.field(converter=numbers, validator=check_finite)

    def _matrix(self, width: int) -> Array:
        """P, (width, k)."""
        if self.shape.ndim < 2:
            return np.diag(broadcast(self.shape, (width,), "shape"))
        if self.shape.ndim > 2 or len(self.shape) != width:
            raise UsageError(
                f"an ellipsoid of {width} coefficients needs a shape of {width} rows"
            )
        return self.shape

    def at(self, x: Tensor) -> EllipsoidRegion:
        """One ellipsoid at every row of x, (rows, n), by the singular vectors of P."""
        rows, width = x.shape
        basis, lengths, _ = np.linalg.svd(self._matrix(width))
        missing = np.zeros(width - len(lengths))
        lengths = np.append(lengths, missing)
        # axes that are rounding do not move
        rounding = 1e-13 * lengths.max(initial=0)
        lengths[lengths < rounding] = 0
        all_bases = as_tensor(basis, x).expand(rows, width, width)
        all_lengths = as_tensor(lengths, x).expand(rows, width)
        return EllipsoidRegion(x.detach(), all_bases, all_lengths)

    def conic(self, rows: int, width: int) -> list[Conic]:
        """The formula with ρ = 1, and no inequalities."""
        matrix = self._matrix(width)
        no_normals = np.zeros((0, matrix.shape[1]))
        conic = Conic(matrix, no_normals, np.zeros(0), 1.0)
        return [conic] * rows


@final
@attrs.frozen(eq=False)
class Budget(ExplicitSet):
    """{|δ_j| ≤ d_j, Σ_j |δ_j|/d_j ≤ Γ}: at most Γ coefficients of a row deviate fully (Bertsimas & Sim 2004)."""

    deviation: Array = attrs.field(converter=numbers, validator=check_not_negative)
    """d, the largest deviation of each coefficient."""
    gamma: Array = attrs.field(converter=numbers, validator=check_not_negative)
    """Γ, one for all rows or one for each."""

    def _parts(self, shape: tuple[int, int]) -> tuple[Array, Array]:
        """d for coefficients of this shape, and Γ for its rows."""
        deviation = broadcast(self.deviation, shape, "deviation")
        gamma = broadcast(self.gamma, shape[:1], "gamma")
        return deviation, gamma

    def at(self, x: Tensor) -> BudgetRegion:
        """The set at every row of x, (rows, n)."""
        deviation, gamma = self._parts((len(x), x.shape[1]))
        gamma_column = as_tensor(gamma, x)[:, None]
        return BudgetRegion(x.detach(), as_tensor(deviation, x), gamma_column)

    def conic(self, rows: int, width: int) -> list[Conic]:
        """The formula δ = d∘(v − w) with u = (v, w), v, w ≥ 0, v + w ≤ 1, Σ(v + w) ≤ Γ."""
        identity = np.eye(width)
        is_positive = -np.eye(2 * width)
        sum_of_pairs = np.hstack([identity, identity])
        sum_of_all = np.ones(2 * width)
        normals = np.vstack([is_positive, sum_of_pairs, sum_of_all])
        offsets = np.concatenate([np.zeros(2 * width), np.ones(width)])
        deviation, gamma = self._parts((rows, width))

        def conic(i: int) -> Conic:
            diagonal = np.diag(deviation[i])
            matrix = np.hstack([diagonal, -diagonal])
            return Conic(matrix, normals, np.append(offsets, gamma[i]))

        return one_or_each(conic, rows, deviation, gamma)


@final
@attrs.frozen(eq=False)
class Polytope(ExplicitSet):
    """The convex hull of vertices, (k, n), which must contain 0: finitely many scenarios and all between them."""

    vertices: Array = attrs.field(converter=numbers, validator=check_finite)
    """One vertex in each row, (k, n)."""

    def __attrs_post_init__(self) -> None:
        if self.vertices.ndim != 2 or not self.vertices.size:
            raise UsageError("vertices must be a matrix with one vertex in each row")
        # 0 is in the hull if some weights λ ≥ 0 with Σλ = 1 have Vᵀλ = 0
        size = np.abs(self.vertices).max() or 1.0
        sum_row = np.ones(len(self.vertices))
        system = np.vstack([self.vertices.T / size, sum_row])
        weights, _ = nnls(system, _last_unit_vector(self.vertices))
        distance = np.abs(weights @ self.vertices).max()
        if distance > 1e-9 * size * weights.sum():
            raise UsageError(
                "the hull of the vertices must contain 0: move what they have in common into the rows"
            )

    def _check_width(self, width: int) -> None:
        """Refuse rows of another number of coefficients."""
        count = self.vertices.shape[1]
        if count != width:
            raise UsageError(f"vertices have {count} coefficients, rows have {width}")

    def at(self, x: Tensor) -> PolytopeRegion:
        """One hull at every row of x, (rows, n)."""
        self._check_width(x.shape[1])
        vertices = as_tensor(self.vertices, x).expand(len(x), *self.vertices.shape)
        return PolytopeRegion(x.detach(), vertices)

    def conic(self, rows: int, width: int) -> list[Conic]:
        """The formula with P = Vᵀ over {u ≥ 0, Σu ≤ 1}."""
        self._check_width(width)
        count = len(self.vertices)
        normals = np.vstack([-np.eye(count), np.ones(count)])
        matrix = self.vertices.T
        conic = Conic(matrix, normals, _last_unit_vector(matrix))
        return [conic] * rows


def _last_unit_vector(matrix: Array) -> Array:
    """The vector (0, …, 0, 1) that is one longer than a row of the matrix."""
    return np.append(np.zeros(matrix.shape[1]), 1.0)


@final
@attrs.frozen(eq=False)
class Polyhedron(ExplicitSet):
    """{δ : D δ ≤ d}, bounded and with d ≥ 0, so that it contains 0."""

    normals: Array = attrs.field(converter=numbers, validator=check_finite)
    """D, (k, n)."""
    offsets: Array = attrs.field(converter=numbers, validator=check_not_negative)
    """d, (k,)."""

    def __attrs_post_init__(self) -> None:
        if self.normals.ndim != 2 or self.offsets.shape != self.normals.shape[:1]:
            raise UsageError(
                "a polyhedron needs a matrix of normals and one offset for each of its rows"
            )
        # bounded means that no r ≠ 0 has D r ≤ 0: D has full rank, and positive multipliers balance it
        width = self.normals.shape[1]
        has_full_rank = np.linalg.matrix_rank(self.normals) >= width
        if not has_full_rank or not _is_balanced(self.normals):
            raise UsageError(
                "the polyhedron is not bounded: add inequalities until it is"
            )

    def _check_width(self, width: int) -> None:
        """Refuse rows of another number of coefficients."""
        count = self.normals.shape[1]
        if count != width:
            raise UsageError(f"normals have {count} coefficients, rows have {width}")

    def at(self, x: Tensor) -> PolyhedronRegion:
        """One polyhedron at every row of x, (rows, n)."""
        self._check_width(x.shape[1])
        normals = as_tensor(self.normals, x).expand(len(x), *self.normals.shape)
        offsets = as_tensor(self.offsets, x).expand(len(x), *self.offsets.shape)
        return PolyhedronRegion(x.detach(), normals, offsets)

    def conic(self, rows: int, width: int) -> list[Conic]:
        """The formula with P = I and ρ = ∞."""
        self._check_width(width)
        conic = Conic(np.eye(width), self.normals, self.offsets)
        return [conic] * rows


def _is_balanced(normals: Array) -> bool:
    """Whether Dᵀλ = 0 has a solution with λ ≥ 1 (Stiemke)."""
    count, width = normals.shape
    answer = linprog(
        np.zeros(count), A_eq=normals.T, b_eq=np.zeros(width), bounds=(1, None)
    )
    return bool(answer.success)


def _radii(value: Any) -> Array:
    """A ball's option ``radius`` as numbers: one, or one for each column."""
    if isinstance(value, tuple):
        return np.asarray([float(radius) for radius in value])
    return np.asarray(float(value))


def _ellipsoid_or_box(ball: Any) -> ExplicitSet:
    """The ℓ2 ball; with a radius for each column ‖δ_j‖₂ ≤ r_j is |δ_j| ≤ r_j, a box."""
    radii = _radii(ball.radius)
    return Box(radii) if radii.ndim else Ellipsoid(radii)


KNOWN: dict[str, Callable[[Any], ExplicitSet]] = {
    "linf": lambda ball: Box(_radii(ball.radius)),
    "l2": _ellipsoid_or_box,
    "l1": lambda ball: Budget(_radii(ball.radius), 1.0),
}
"""The name under which a set is registered to the function that writes it as a formula."""


def explicit(uncertainty: UncertaintySet) -> ExplicitSet | None:
    """The set as a formula; None where none is known."""
    if isinstance(uncertainty, ExplicitSet):
        return uncertainty
    for name, formula in KNOWN.items():
        # no plugin may be installed that registers the name
        with contextlib.suppress(UsageError):
            if type(uncertainty) is type(robustfw.make("uncertainty", name)):
                return formula(uncertainty)
    return None
