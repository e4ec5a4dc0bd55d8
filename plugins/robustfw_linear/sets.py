"""Uncertainty sets of linear constraints, each both an oracle (`at`) and a formula (`conic`): x is a batch of rows aᵢ.

A number, a vector or a matrix of deviations is one for all coefficients, one for each column, or one for each
coefficient of each row.
"""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, final

import attrs
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linprog, nnls
from torch import Tensor

import robustfw
from robustfw import Region, UncertaintySet, UsageError, regions
from robustfw_linear.polyhedral import PolyhedronRegion, PolytopeRegion
from robustfw_linear.smooth import BudgetRegion, EllipsoidRegion

Array = NDArray[np.float64]


@final
@attrs.frozen(eq=False)
class Conic:
    """{P u : D u ≤ d, ‖u‖₂ ≤ ρ}, of which every set here is a case.

    By strong duality its support function is min dᵀλ + ρ‖Pᵀx − Dᵀλ‖₂ over λ ≥ 0, and for ρ = ∞ the same with
    Pᵀx = Dᵀλ: what turns a constraint for all members into finitely many (Ben-Tal, El Ghaoui & Nemirovski 2009, §1.3).
    """

    basis: Array
    normals: Array
    offsets: Array
    radius: float = np.inf

    def within(self, lower: Array, upper: Array) -> Conic:
        """The members between two bounds."""
        normals = np.vstack([self.normals, self.basis, -self.basis])
        return attrs.evolve(self, normals=normals, offsets=np.concatenate([self.offsets, upper, -lower]))


def _numbers(value: ArrayLike) -> Array:
    return np.asarray(value, dtype=float)


def _not_negative(_: object, field: attrs.Attribute[Any], value: Array) -> None:
    if not (np.isfinite(value).all() and (value >= 0).all()):
        raise UsageError(f"{field.name} must be finite and not negative, not {value}")


def _finite(_: object, field: attrs.Attribute[Any], value: Array) -> None:
    if not np.isfinite(value).all():
        raise UsageError(f"{field.name} must be finite, not {value}")


def _for_rows(value: Array, shape: tuple[int, ...], name: str) -> Array:
    try:
        return np.broadcast_to(value, shape)
    except ValueError as error:
        raise UsageError(
            f"{name} of shape {value.shape} does not fit coefficients of shape {shape}: "
            "give a number, one per column, or one per coefficient"
        ) from error


def _like(value: Array, x: Tensor) -> Tensor:
    return torch.as_tensor(np.array(value)).to(torch.float64).to(x.device)


def _shared(conic: Callable[[int], Conic], rows: int, *numbers: Array) -> list[Conic]:
    """One set for all rows where they have the same numbers (broadcast: a stride of 0), else one for each."""
    if rows and not any(part.strides[0] for part in numbers):
        return [conic(0)] * rows
    return [conic(i) for i in range(rows)]


class ExplicitSet(UncertaintySet):
    """A set of rows that is known in formulas, not only by its oracles. Subclasses are frozen attrs classes."""

    @abstractmethod
    def conic(self, rows: int, width: int) -> list[Conic]:
        """The set of each of the rows, of as many coefficients as the width says."""


@final
@attrs.frozen(eq=False)
class Box(ExplicitSet):
    """{−below ≤ δ ≤ above}, each coefficient by itself: interval uncertainty (Soyster 1973). ``Box(0.1)`` is ±0.1."""

    above: Array = attrs.field(converter=_numbers, validator=_not_negative)
    below: Array = attrs.field(
        default=attrs.Factory(lambda self: self.above, takes_self=True), converter=_numbers, validator=_not_negative
    )

    def _sides(self, shape: tuple[int, ...]) -> tuple[Array, Array]:
        return _for_rows(self.below, shape, "below"), _for_rows(self.above, shape, "above")

    def at(self, x: Tensor) -> Region:
        """A box around every row."""
        below, above = (_like(side, x) for side in self._sides(tuple(x.shape)))
        return regions.Box.around(x.detach(), -below, above)

    def conic(self, rows: int, width: int) -> list[Conic]:
        """D = (I, −I), d = (above, below)."""
        identity = np.eye(width)
        normals = np.vstack([identity, -identity])
        below, above = self._sides((rows, width))
        return _shared(lambda i: Conic(identity, normals, np.append(above[i], below[i])), rows, below, above)


@final
@attrs.frozen(eq=False)
class Ellipsoid(ExplicitSet):
    """{P u : ‖u‖₂ ≤ 1} (Ben-Tal & Nemirovski 1999). ``shape`` is P, or its diagonal, or one radius."""

    shape: Array = attrs.field(converter=_numbers, validator=_finite)

    def _matrix(self, width: int) -> Array:
        if self.shape.ndim < 2:
            return np.diag(_for_rows(self.shape, (width,), "shape"))
        if self.shape.ndim > 2 or len(self.shape) != width:
            raise UsageError(f"an ellipsoid of {width} coefficients needs a shape of {width} rows")
        return self.shape

    def at(self, x: Tensor) -> EllipsoidRegion:
        """The same ellipsoid at every row, by the singular vectors of P."""
        basis, lengths, _ = np.linalg.svd(self._matrix(x.shape[1]))
        lengths = np.append(lengths, np.zeros(x.shape[1] - len(lengths)))
        lengths[lengths < 1e-13 * lengths.max(initial=0)] = 0
        size = (len(x), x.shape[1])
        return EllipsoidRegion(x.detach(), _like(basis, x).expand(*size, size[1]), _like(lengths, x).expand(size))

    def conic(self, rows: int, width: int) -> list[Conic]:
        """ρ = 1, and no inequalities."""
        matrix = self._matrix(width)
        return [Conic(matrix, np.zeros((0, matrix.shape[1])), np.zeros(0), 1.0)] * rows


@final
@attrs.frozen(eq=False)
class Budget(ExplicitSet):
    """{|δ_j| ≤ d_j, Σ_j |δ_j|/d_j ≤ Γ}: at most Γ coefficients of a row deviate fully (Bertsimas & Sim 2004)."""

    deviation: Array = attrs.field(converter=_numbers, validator=_not_negative)
    gamma: Array = attrs.field(converter=_numbers, validator=_not_negative)
    """Γ, one for all rows or one for each."""

    def _parts(self, shape: tuple[int, int]) -> tuple[Array, Array]:
        return _for_rows(self.deviation, shape, "deviation"), _for_rows(self.gamma, shape[:1], "gamma")

    def at(self, x: Tensor) -> BudgetRegion:
        """The budget of every row."""
        deviation, gamma = self._parts((len(x), x.shape[1]))
        return BudgetRegion(x.detach(), _like(deviation, x), _like(gamma, x)[:, None])

    def conic(self, rows: int, width: int) -> list[Conic]:
        """δ = d∘(v − w) with v, w ≥ 0, v + w ≤ 1, Σ(v + w) ≤ Γ."""
        identity = np.eye(width)
        normals = np.vstack([-np.eye(2 * width), np.hstack([identity, identity]), np.ones(2 * width)])
        fixed = np.concatenate([np.zeros(2 * width), np.ones(width)])
        deviation, gamma = self._parts((rows, width))

        def conic(i: int) -> Conic:
            spread = np.diag(deviation[i])
            return Conic(np.hstack([spread, -spread]), normals, np.append(fixed, gamma[i]))

        return _shared(conic, rows, deviation, gamma)


@final
@attrs.frozen(eq=False)
class Polytope(ExplicitSet):
    """The convex hull of vertices, (k, n), which must contain 0: finitely many scenarios and all between them."""

    vertices: Array = attrs.field(converter=_numbers, validator=_finite)

    def __attrs_post_init__(self) -> None:
        if self.vertices.ndim != 2 or not self.vertices.size:
            raise UsageError("vertices must be a matrix with one vertex in each row")
        size = np.abs(self.vertices).max() or 1.0
        weights, _ = nnls(np.vstack([self.vertices.T / size, np.ones(len(self.vertices))]), _last(self.vertices))
        if np.abs(weights @ self.vertices).max() > 1e-9 * size * weights.sum():
            raise UsageError("the hull of the vertices must contain 0: move what they have in common into the rows")

    def _check(self, width: int) -> None:
        if self.vertices.shape[1] != width:
            raise UsageError(f"vertices have {self.vertices.shape[1]} coefficients, rows have {width}")

    def at(self, x: Tensor) -> PolytopeRegion:
        """The same hull at every row."""
        self._check(x.shape[1])
        return PolytopeRegion(x.detach(), _like(self.vertices, x).expand(len(x), *self.vertices.shape))

    def conic(self, rows: int, width: int) -> list[Conic]:
        """P = Vᵀ over {u ≥ 0, Σu ≤ 1}."""
        self._check(width)
        count = len(self.vertices)
        normals = np.vstack([-np.eye(count), np.ones(count)])
        return [Conic(self.vertices.T, normals, _last(self.vertices.T))] * rows


def _last(matrix: Array) -> Array:
    """(0, …, 0, 1), one longer than a row of the matrix."""
    return np.append(np.zeros(matrix.shape[1]), 1.0)


@final
@attrs.frozen(eq=False)
class Polyhedron(ExplicitSet):
    """{δ : D δ ≤ d}, bounded and with d ≥ 0, so that it contains 0."""

    normals: Array = attrs.field(converter=_numbers, validator=_finite)
    """D, (k, n)."""
    offsets: Array = attrs.field(converter=_numbers, validator=_not_negative)
    """d, (k,)."""

    def __attrs_post_init__(self) -> None:
        if self.normals.ndim != 2 or self.offsets.shape != self.normals.shape[:1]:
            raise UsageError("a polyhedron needs a matrix of normals and one offset for each of its rows")
        # Bounded means that no r ≠ 0 has D r ≤ 0: D has full rank, and positive multipliers balance it.
        if np.linalg.matrix_rank(self.normals) < self.normals.shape[1] or not _balanced(self.normals):
            raise UsageError("the polyhedron is not bounded: add inequalities until it is")

    def _check(self, width: int) -> None:
        if self.normals.shape[1] != width:
            raise UsageError(f"normals have {self.normals.shape[1]} coefficients, rows have {width}")

    def at(self, x: Tensor) -> PolyhedronRegion:
        """The same polyhedron at every row."""
        self._check(x.shape[1])
        normals, offsets = (_like(part, x).expand(len(x), *part.shape) for part in (self.normals, self.offsets))
        return PolyhedronRegion(x.detach(), normals, offsets)

    def conic(self, rows: int, width: int) -> list[Conic]:
        """As it stands."""
        self._check(width)
        return [Conic(np.eye(width), self.normals, self.offsets)] * rows


def _balanced(normals: Array) -> bool:
    """Whether Dᵀλ = 0 has a solution with λ ≥ 1 (Stiemke)."""
    return bool(
        linprog(np.zeros(len(normals)), A_eq=normals.T, b_eq=np.zeros(normals.shape[1]), bounds=(1, None)).success
    )


def _radii(value: Any) -> Array:
    return np.asarray([float(r) for r in value] if isinstance(value, tuple) else float(value))


KNOWN: dict[str, Callable[[Any], ExplicitSet]] = {
    "linf": lambda ball: Box(_radii(ball.radius)),
    # With a radius for each column, ‖δ_j‖₂ ≤ r_j is |δ_j| ≤ r_j.
    "l2": lambda ball: Box(_radii(ball.radius)) if isinstance(ball.radius, tuple) else Ellipsoid(_radii(ball.radius)),
    "l1": lambda ball: Budget(_radii(ball.radius), 1.0),
}
"""Registered sets in formulas, by the name under which they are registered."""


def explicit(uncertainty: UncertaintySet) -> ExplicitSet | None:
    """The set in formulas, if they are known."""
    if isinstance(uncertainty, ExplicitSet):
        return uncertainty
    for name, formula in KNOWN.items():
        with contextlib.suppress(UsageError):  # whoever registers that name may be absent
            if type(uncertainty) is type(robustfw.make("uncertainty", name)):
                return formula(uncertainty)
    return None
