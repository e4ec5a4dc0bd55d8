"""Robust least squares: min over x of max over ΔA of ‖(A + ΔA)x − b‖₂ (eq. 8), residuals un-squared."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal, final

import attrs
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

import robustfw
from robustfw import RobustfwError, UsageError
from robustfw_linear.cones import Program
from robustfw_linear.solution import Solution

Array = NDArray[np.float64]
ROUNDING = 1e-12
"""Residuals below this, relative to b, are zero as far as ridge and lasso are concerned."""


def _radius(value: ArrayLike) -> Array:
    return np.asarray(value, dtype=float)


def _check_radius(_: object, field: attrs.Attribute[Any], value: Array) -> None:
    if not (np.isfinite(value).all() and (value >= 0).all()):
        raise UsageError(f"{field.name} must be finite and not negative, not {value}")


class MatrixSet(ABC):
    """A set of changes of a matrix that treats all directions of the residual alike."""

    @abstractmethod
    def penalty(self, x: Array) -> float:
        """max_ΔA ‖(A + ΔA)x − b‖₂ − ‖Ax − b‖₂, which for these sets is the same for every A and b."""

    @abstractmethod
    def worst(self, gradient: Array) -> Array:
        """argmax ⟨gradient, ΔA⟩, (m, n)."""

    @abstractmethod
    def squared(self, x: Array, residual: float) -> ArrayLike:
        """The weight of the penalty on ‖Ax − b‖₂² that has the same minimizer; see `RobustLeastSquares`."""

    @abstractmethod
    def add(self, program: Program, x: slice) -> None:
        """The penalty of the columns x as a part of the program's cost."""


@final
@attrs.frozen(eq=False)
class Columns(MatrixSet):
    """{ΔA : ‖ΔA_j‖₂ ≤ ρ_j for every column j}: ‖Ax − b‖₂ + Σ_j ρ_j|x_j| (Xu, Caramanis & Mannor 2009)."""

    radius: Array = attrs.field(converter=_radius, validator=_check_radius)
    """ρ, one for all columns or one for each."""

    def _radii(self, width: int) -> Array:
        if self.radius.shape not in ((), (width,)):
            raise UsageError(f"{self.radius.size} radii do not fit {width} columns: give one, or one for each")
        return np.broadcast_to(self.radius, (width,))

    def penalty(self, x: Array) -> float:
        """Σ_j ρ_j|x_j|."""
        return float(self._radii(len(x)) @ np.abs(x))

    def worst(self, gradient: Array) -> Array:
        """The set is a product of ℓ2 balls: to robustfw the columns are channels."""
        return _support({"use": "l2", "radius": list(self._radii(gradient.shape[1]))}, gradient.T).T

    def squared(self, x: Array, residual: float) -> Array:
        """μ_j = 2ρ_j‖Ax − b‖₂ of the lasso ‖Ax − b‖₂² + Σ_j μ_j|x_j|."""
        return 2 * residual * self._radii(len(x))

    def add(self, program: Program, x: slice) -> None:
        """|x_j| ≤ s_j at the price ρ_j."""
        count = x.stop - x.start
        sizes = program.columns(count, cost=self._radii(count))
        for sign in (1, -1):
            program.at_most([(x, sign * np.eye(count)), (sizes, -np.eye(count))], np.zeros(count))


@final
@attrs.frozen(eq=False)
class Frobenius(MatrixSet):
    """{ΔA : ‖ΔA‖_F ≤ ρ}, rows coupled: ‖Ax − b‖₂ + ρ‖x‖₂ (El Ghaoui & Lebret 1997)."""

    radius: Array = attrs.field(converter=_radius, validator=_check_radius)

    def __attrs_post_init__(self) -> None:
        if self.radius.ndim:
            raise UsageError("a Frobenius ball has one radius")

    def penalty(self, x: Array) -> float:
        """ρ‖x‖₂."""
        return float(self.radius * np.linalg.norm(x))

    def worst(self, gradient: Array) -> Array:
        """To robustfw, an ℓ2 ball around one example, the matrix."""
        return _support({"use": "l2", "radius": float(self.radius)}, gradient)

    def squared(self, x: Array, residual: float) -> float:
        """λ = ρ‖Ax − b‖₂/‖x‖₂ of the ridge regression ‖Ax − b‖₂² + λ‖x‖₂²; ∞ for x = 0."""
        length = float(np.linalg.norm(x))
        return float(self.radius) * residual / length if length > 0 else np.inf

    def add(self, program: Program, x: slice) -> None:
        """‖x‖₂ ≤ σ at the price ρ."""
        count = x.stop - x.start
        length = program.columns(1, cost=float(self.radius))
        program.cone([(length, np.ones((1, 1)))], [(x, np.eye(count))], np.zeros(count))


def _support(spec: dict[str, Any], gradient: Array) -> Array:
    direction = torch.as_tensor(np.array(gradient))[None]
    return np.asarray(robustfw.make("uncertainty", spec).at(direction).support(direction)[0])


@final
@attrs.frozen(eq=False)
class RobustLeastSquares:
    """min_x max_{ΔA ∈ 𝒰} ‖(A + ΔA)x − b‖₂, with 𝒰 a `Columns` or a `Frobenius` set.

    Both equal un-squared penalized least squares exactly, for every x. With the squared residual the weights
    are others, which depend on the solution (`squared_penalty`): ρ as a textbook's λ gives another x.
    """

    matrix: Array = attrs.field(converter=_radius)
    target: Array = attrs.field(converter=_radius)
    uncertainty: MatrixSet

    def __attrs_post_init__(self) -> None:
        if self.matrix.ndim != 2 or self.target.shape != self.matrix.shape[:1] or not len(self.target):
            raise UsageError(
                f"shapes do not fit: matrix (m, n) and target (m,) are {self.matrix.shape} and {self.target.shape}"
            )

    def residual(self, x: ArrayLike) -> float:
        """‖Ax − b‖₂."""
        return float(np.linalg.norm(self.matrix @ np.asarray(x) - self.target))

    def robust_residual(self, x: ArrayLike) -> float:
        """max_ΔA ‖(A + ΔA)x − b‖₂."""
        return self.residual(x) + self.uncertainty.penalty(np.asarray(x, dtype=float))

    def worst_case(self, x: ArrayLike) -> Array:
        """A ΔA that attains it: one support on the residual's gradient u xᵀ, u = (Ax − b)/‖Ax − b‖₂ (eq. 11).

        The maximum is not linear in ΔA, but these sets let ΔA x point anywhere, so that it can go all along u. Where
        the residual is 0, any u is as bad.
        """
        at = np.asarray(x, dtype=float)
        rest = self.matrix @ at - self.target
        length = np.linalg.norm(rest)
        unit = rest / length if length > 0 else np.eye(len(rest))[0]
        return self.uncertainty.worst(np.outer(unit, at))

    def squared_penalty(self, x: ArrayLike) -> ArrayLike:
        """λ for which a minimizer x of this problem minimizes ‖Ax − b‖₂² plus the squared, or the ℓ1, penalty too.

        From the stationarity of both: ridge's λ = ρ‖Ax − b‖₂/‖x‖₂, lasso's μ_j = 2ρ_j‖Ax − b‖₂.

        Raises:
            RobustfwError: x fits b exactly; there the un-squared residual has a kink, and no positive λ does the same.
        """
        residual = self.residual(x)
        if residual <= ROUNDING * np.linalg.norm(self.target):
            raise RobustfwError("x fits exactly: no squared penalty has the same minimizer")
        return self.uncertainty.squared(np.asarray(x, dtype=float), residual)

    def solve(
        self,
        method: Literal["reformulation", "cutting-set"] = "reformulation",
        *,
        accuracy: float = 1e-8,
        limit: int = 200,
    ) -> Solution:
        """The robust optimum, by the penalty or by cuts, which know nothing but `worst_case`.

        Cuts stop when the worst residual at x is within ``accuracy``, relative to b, of the largest one among the ΔA
        found so far. Both need Clarabel, since both have ‖·‖₂ in them.
        """
        if method == "reformulation":
            program, x = self._program([np.zeros_like(self.matrix)])
            self.uncertainty.add(program, x)
            optimum = program.solve()
            return self._described(optimum.z[x], optimum.bound, method, (1, 0, 0))
        if method != "cutting-set":
            raise UsageError(f"there is no method {method!r} here; known: reformulation, cutting-set")
        changes = [np.zeros_like(self.matrix)]
        for done in range(1, limit + 1):
            program, x = self._program(changes)
            optimum = program.solve()
            found = optimum.z[x]
            if self.robust_residual(found) - optimum.value <= accuracy * max(1.0, float(np.linalg.norm(self.target))):
                return self._described(found, optimum.bound, method, (done, done, done - 1))
            changes.append(self.worst_case(found))
        raise RobustfwError(f"{limit} rounds of cuts did not suffice: allow more (limit), or a larger gap (accuracy)")

    def _program(self, changes: list[Array]) -> tuple[Program, slice]:
        """min τ over ‖(A + ΔA)x − b‖₂ ≤ τ for these ΔA."""
        program = Program()
        x = program.columns(self.matrix.shape[1])
        largest = program.columns(1, cost=1.0)
        for change in changes:
            program.cone([(largest, np.ones((1, 1)))], [(x, self.matrix + change)], -self.target)
        return program, x

    def _described(self, x: Array, bound: float, method: str, counts: tuple[int, int, int]) -> Solution:
        value = self.robust_residual(x)
        solves, oracle_calls, cuts = counts
        return Solution(x, value, bound, 0.0, method, solves, oracle_calls, cuts)
