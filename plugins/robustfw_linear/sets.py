"""Uncertainty sets of linear constraints, each both an oracle (`at`) and a formula (`conic`): x is a batch of rows aᵢ.

Deviations may be one number for all coefficients, a vector with one for each column, or a matrix with one for each
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
from robustfw_linear.conic import Conic
from robustfw_linear.polyhedral import PolyhedronRegion, PolytopeRegion
from robustfw_linear.smooth import BudgetRegion, EllipsoidRegion

Array = NDArray[np.float64]


def _numbers(value: ArrayLike) -> Array:
    """Converter of attrs: an array of float64."""
    return np.asarray(value, dtype=float)


def _not_negative(_: object, field: attrs.Attribute[Any], value: Array) -> None:
    """Validator of attrs: finite numbers, not negative."""
    if not (np.isfinite(value).all() and (value >= 0).all()):
        raise UsageError(f"{field.name} must be finite and not negative, not {value}")


def _finite(_: object, field: attrs.Attribute[Any], value: Array) -> None:
    """Validator of attrs: finite numbers."""
    if not np.isfinite(value).all():
        raise UsageError(f"{field.name} must be finite, not {value}")


def _broadcast(value: Array, shape: tuple[int, ...], name: str) -> Array:
    """An option's numbers for coefficients of this shape."""
    try:
        return np.broadcast_to(value, shape)
    except ValueError as error:
        raise UsageError(
            f"{name} of shape {value.shape} does not fit coefficients of shape {shape}: "
            "give a number, one per column, or one per coefficient"
        ) from error


def _tensor(value: Array, x: Tensor) -> Tensor:
    """Numbers as a tensor of float64 on the device of x."""
    return torch.as_tensor(np.array(value)).to(torch.float64).to(x.device)


def _one_or_each(
    conic: Callable[[int], Conic], rows: int, *numbers: Array
) -> list[Conic]:
    """The sets of so many rows: one object for all where no number depends on the row, else one for each.

    ``conic`` makes the set of one row. Numbers that are broadcast over the rows have a stride of 0 there.
    """
    if rows and not any(part.strides[0] for part in numbers):
        return [conic(0)] * rows
    return [conic(i) for i in range(rows)]


class ExplicitSet(UncertaintySet):
    """A set of rows that is known in formulas, not only by its oracles. Subclasses are frozen attrs classes."""

    @abstractmethod
    def conic(self, rows: int, width: int) -> list[Conic]:
        """The formula of the set for each of so many rows, each of ``width`` coefficients."""


@final
@attrs.frozen(eq=False)
class Box(ExplicitSet):
    """{−below ≤ δ ≤ above}, each coefficient by itself: interval uncertainty (Soyster 1973). ``Box(0.1)`` is ±0.1."""

    above: Array = attrs.field(converter=_numbers, validator=_not_negative)
    """Upper bounds of δ."""
    below: Array = attrs.field(
        default=attrs.Factory(lambda self: self.above, takes_self=True),
        converter=_numbers,
        validator=_not_negative,
    )
    """Negated lower bounds of δ; those of ``above`` unless given."""

    def _sides(self, shape: tuple[int, ...]) -> tuple[Array, Array]:
        """``below`` and ``above`` for coefficients of this shape."""
        return _broadcast(self.below, shape, "below"), _broadcast(
            self.above, shape, "above"
        )

    def at(self, x: Tensor) -> Region:
        """A box around every row of x, (rows, n)."""
        below, above = (_tensor(side, x) for side in self._sides(tuple(x.shape)))
        return regions.Box.broadcast(x.detach(), -below, above)

    def conic(self, rows: int, width: int) -> list[Conic]:
        """The formula with D = (I, −I), d = (above, below)."""
        identity = np.eye(width)
        normals = np.vstack([identity, -identity])
        below, above = self._sides((rows, width))

        def conic(i: int) -> Conic:
            return Conic(identity, normals, np.append(above[i], below[i]))

        return _one_or_each(conic, rows, below, above)


@final
@attrs.frozen(eq=False)
class Ellipsoid(ExplicitSet):
    """{P u : ‖u‖₂ ≤ 1} (Ben-Tal & Nemirovski 1999). ``shape`` is P, or its diagonal, or one radius."""

    shape: Array = attrs.field(converter=_numbers, validator=_finite)

    def _matrix(self, width: int) -> Array:
        """P, (width, k)."""
        if self.shape.ndim < 2:
            return np.diag(_broadcast(self.shape, (width,), "shape"))
        if self.shape.ndim > 2 or len(self.shape) != width:
            raise UsageError(
                f"an ellipsoid of {width} coefficients needs a shape of {width} rows"
            )
        return self.shape

    def at(self, x: Tensor) -> EllipsoidRegion:
        """One ellipsoid at every row of x, (rows, n), by the singular vectors of P."""
        rows, width = x.shape
        basis, lengths, _ = np.linalg.svd(self._matrix(width))
        lengths = np.append(lengths, np.zeros(width - len(lengths)))
        lengths[lengths < 1e-13 * lengths.max(initial=0)] = 0
        return EllipsoidRegion(
            x.detach(),
            _tensor(basis, x).expand(rows, width, width),
            _tensor(lengths, x).expand(rows, width),
        )

    def conic(self, rows: int, width: int) -> list[Conic]:
        """The formula with ρ = 1, and no inequalities."""
        matrix = self._matrix(width)
        return [Conic(matrix, np.zeros((0, matrix.shape[1])), np.zeros(0), 1.0)] * rows


@final
@attrs.frozen(eq=False)
class Budget(ExplicitSet):
    """{|δ_j| ≤ d_j, Σ_j |δ_j|/d_j ≤ Γ}: at most Γ coefficients of a row deviate fully (Bertsimas & Sim 2004)."""

    deviation: Array = attrs.field(converter=_numbers, validator=_not_negative)
    """d, the largest deviation of each coefficient."""
    gamma: Array = attrs.field(converter=_numbers, validator=_not_negative)
    """Γ, one for all rows or one for each."""

    def _parts(self, shape: tuple[int, int]) -> tuple[Array, Array]:
        """d for coefficients of this shape, and Γ for its rows."""
        return _broadcast(self.deviation, shape, "deviation"), _broadcast(
            self.gamma, shape[:1], "gamma"
        )

    def at(self, x: Tensor) -> BudgetRegion:
        """The set at every row of x, (rows, n)."""
        deviation, gamma = self._parts((len(x), x.shape[1]))
        return BudgetRegion(
            x.detach(), _tensor(deviation, x), _tensor(gamma, x)[:, None]
        )

    def conic(self, rows: int, width: int) -> list[Conic]:
        """The formula δ = d∘(v − w) with u = (v, w), v, w ≥ 0, v + w ≤ 1, Σ(v + w) ≤ Γ."""
        identity = np.eye(width)
        normals = np.vstack(
            [-np.eye(2 * width), np.hstack([identity, identity]), np.ones(2 * width)]
        )
        offsets = np.concatenate([np.zeros(2 * width), np.ones(width)])
        deviation, gamma = self._parts((rows, width))

        def conic(i: int) -> Conic:
            diagonal = np.diag(deviation[i])
            return Conic(
                np.hstack([diagonal, -diagonal]), normals, np.append(offsets, gamma[i])
            )

        return _one_or_each(conic, rows, deviation, gamma)


@final
@attrs.frozen(eq=False)
class Polytope(ExplicitSet):
    """The convex hull of vertices, (k, n), which must contain 0: finitely many scenarios and all between them."""

    vertices: Array = attrs.field(converter=_numbers, validator=_finite)
    """One vertex in each row, (k, n)."""

    def __attrs_post_init__(self) -> None:
        if self.vertices.ndim != 2 or not self.vertices.size:
            raise UsageError("vertices must be a matrix with one vertex in each row")
        # 0 is in the hull if some weights λ ≥ 0 with Σλ = 1 have Vᵀλ = 0
        size = np.abs(self.vertices).max() or 1.0
        system = np.vstack([self.vertices.T / size, np.ones(len(self.vertices))])
        weights, _ = nnls(system, _last_unit_vector(self.vertices))
        if np.abs(weights @ self.vertices).max() > 1e-9 * size * weights.sum():
            raise UsageError(
                "the hull of the vertices must contain 0: move what they have in common into the rows"
            )

    def _check_width(self, width: int) -> None:
        """Refuse rows of another number of coefficients."""
        if self.vertices.shape[1] != width:
            raise UsageError(
                f"vertices have {self.vertices.shape[1]} coefficients, rows have {width}"
            )

    def at(self, x: Tensor) -> PolytopeRegion:
        """One hull at every row of x, (rows, n)."""
        self._check_width(x.shape[1])
        return PolytopeRegion(
            x.detach(), _tensor(self.vertices, x).expand(len(x), *self.vertices.shape)
        )

    def conic(self, rows: int, width: int) -> list[Conic]:
        """The formula with P = Vᵀ over {u ≥ 0, Σu ≤ 1}."""
        self._check_width(width)
        count = len(self.vertices)
        normals = np.vstack([-np.eye(count), np.ones(count)])
        return [
            Conic(self.vertices.T, normals, _last_unit_vector(self.vertices.T))
        ] * rows


def _last_unit_vector(matrix: Array) -> Array:
    """The vector (0, …, 0, 1) that is one longer than a row of the matrix."""
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
            raise UsageError(
                "a polyhedron needs a matrix of normals and one offset for each of its rows"
            )
        # bounded means that no r ≠ 0 has D r ≤ 0: D has full rank, and positive multipliers balance it
        if np.linalg.matrix_rank(self.normals) < self.normals.shape[
            1
        ] or not _is_balanced(self.normals):
            raise UsageError(
                "the polyhedron is not bounded: add inequalities until it is"
            )

    def _check_width(self, width: int) -> None:
        """Refuse rows of another number of coefficients."""
        if self.normals.shape[1] != width:
            raise UsageError(
                f"normals have {self.normals.shape[1]} coefficients, rows have {width}"
            )

    def at(self, x: Tensor) -> PolyhedronRegion:
        """One polyhedron at every row of x, (rows, n)."""
        self._check_width(x.shape[1])
        normals = _tensor(self.normals, x).expand(len(x), *self.normals.shape)
        offsets = _tensor(self.offsets, x).expand(len(x), *self.offsets.shape)
        return PolyhedronRegion(x.detach(), normals, offsets)

    def conic(self, rows: int, width: int) -> list[Conic]:
        """The formula with P = I and ρ = ∞."""
        self._check_width(width)
        return [Conic(np.eye(width), self.normals, self.offsets)] * rows


def _is_balanced(normals: Array) -> bool:
    """Whether Dᵀλ = 0 has a solution with λ ≥ 1 (Stiemke)."""
    cost = np.zeros(len(normals))
    answer = linprog(
        cost, A_eq=normals.T, b_eq=np.zeros(normals.shape[1]), bounds=(1, None)
    )
    return bool(answer.success)


def _radii(value: Any) -> Array:
    """A ball's option ``radius`` as numbers: one, or one for each column."""
    return np.asarray(
        [float(r) for r in value] if isinstance(value, tuple) else float(value)
    )


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
        with contextlib.suppress(
            UsageError
        ):  # no plugin may be installed that registers the name
            if type(uncertainty) is type(robustfw.make("uncertainty", name)):
                return formula(uncertainty)
    return None
