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
from robustfw_linear.cones import ConicProgram
from robustfw_linear.solution import Solution

Array = NDArray[np.float64]
ROUNDING = 1e-12
"""Largest residual, relative to b, that counts as 0."""


def _numbers(value: ArrayLike) -> Array:
    """Converter of attrs: an array of float64."""
    return np.asarray(value, dtype=float)


def _check_radius(_: object, field: attrs.Attribute[Any], value: Array) -> None:
    """Validator of attrs: finite numbers, not negative."""
    if not (np.isfinite(value).all() and (value >= 0).all()):
        raise UsageError(f"{field.name} must be finite and not negative, not {value}")


class MatrixSet(ABC):
    """A set of changes of a matrix that treats all directions of the residual alike."""

    @abstractmethod
    def penalty(self, x: Array) -> float:
        """max_ΔA ‖(A + ΔA)x − b‖₂ − ‖Ax − b‖₂ at x (n,), which for these sets does not depend on A and b."""

    @abstractmethod
    def worst_change(self, gradient: Array) -> Array:
        """argmax ⟨gradient, ΔA⟩, (m, n)."""

    @abstractmethod
    def penalty_weight(self, x: Array, residual: float) -> ArrayLike:
        """The weight of the penalty beside ‖Ax − b‖₂² with which x, of this residual ‖Ax − b‖₂, is a minimizer too."""

    @abstractmethod
    def add_penalty(self, program: ConicProgram, x: slice) -> None:
        """Add the penalty of the columns x to the program's cost."""


@final
@attrs.frozen(eq=False)
class Columns(MatrixSet):
    """{ΔA : ‖ΔA_j‖₂ ≤ ρ_j for every column j}: ‖Ax − b‖₂ + Σ_j ρ_j|x_j| (Xu, Caramanis & Mannor 2009)."""

    radius: Array = attrs.field(converter=_numbers, validator=_check_radius)
    """ρ, one for all columns or one for each."""

    def _radii(self, width: int) -> Array:
        """ρ for each column, (width,)."""
        if self.radius.shape not in ((), (width,)):
            raise UsageError(
                f"{self.radius.size} radii do not fit {width} columns: give one, or one for each"
            )
        return np.broadcast_to(self.radius, (width,))

    def penalty(self, x: Array) -> float:
        """Σ_j ρ_j|x_j|."""
        return float(self._radii(len(x)) @ np.abs(x))

    def worst_change(self, gradient: Array) -> Array:
        """argmax ⟨gradient, ΔA⟩, (m, n): the set is a product of ℓ2 balls, whose channels are the columns."""
        spec = {"use": "l2", "radius": list(self._radii(gradient.shape[1]))}
        return _support(spec, gradient.T).T

    def penalty_weight(self, x: Array, residual: float) -> Array:
        """μ_j = 2ρ_j‖Ax − b‖₂ of the lasso ‖Ax − b‖₂² + Σ_j μ_j|x_j|."""
        return 2 * residual * self._radii(len(x))

    def add_penalty(self, program: ConicProgram, x: slice) -> None:
        """Add sizes s_j ≥ |x_j| at the cost ρ_j."""
        count = x.stop - x.start
        identity = np.eye(count)
        sizes = program.add_columns(count, cost=self._radii(count))
        for sign in (1, -1):
            program.add_inequalities(
                [(x, sign * identity), (sizes, -identity)], np.zeros(count)
            )


@final
@attrs.frozen(eq=False)
class Frobenius(MatrixSet):
    """{ΔA : ‖ΔA‖_F ≤ ρ}, rows coupled: ‖Ax − b‖₂ + ρ‖x‖₂ (El Ghaoui & Lebret 1997)."""

    radius: Array = attrs.field(converter=_numbers, validator=_check_radius)
    """ρ, one number."""

    def __attrs_post_init__(self) -> None:
        if self.radius.ndim:
            raise UsageError("a Frobenius ball has one radius")

    def penalty(self, x: Array) -> float:
        """ρ‖x‖₂."""
        return float(self.radius * np.linalg.norm(x))

    def worst_change(self, gradient: Array) -> Array:
        """argmax ⟨gradient, ΔA⟩, (m, n): the set is the ℓ2 ball around one example, the matrix."""
        return _support({"use": "l2", "radius": float(self.radius)}, gradient)

    def penalty_weight(self, x: Array, residual: float) -> float:
        """λ = ρ‖Ax − b‖₂/‖x‖₂ of the ridge regression ‖Ax − b‖₂² + λ‖x‖₂²; ∞ for x = 0."""
        length = float(np.linalg.norm(x))
        return float(self.radius) * residual / length if length > 0 else np.inf

    def add_penalty(self, program: ConicProgram, x: slice) -> None:
        """Add a length σ ≥ ‖x‖₂ at the cost ρ."""
        count = x.stop - x.start
        length = program.add_columns(1, cost=float(self.radius))
        bound = [(length, np.ones((1, 1)))]
        program.add_cone(bound, [(x, np.eye(count))], np.zeros(count))


def _support(spec: dict[str, Any], gradient: Array) -> Array:
    """The farthest member of a registered set in the direction of a matrix."""
    direction = torch.as_tensor(np.array(gradient))[None]
    return np.asarray(
        robustfw.make("uncertainty", spec).at(direction).support(direction)[0]
    )


@final
@attrs.frozen(eq=False)
class RobustLeastSquares:
    """min_x max_{ΔA ∈ 𝒰} ‖(A + ΔA)x − b‖₂, with 𝒰 a `Columns` or a `Frobenius` set.

    Both equal un-squared penalized least squares exactly, for every x. With the squared residual the weights
    are others, which depend on the solution (`squared_penalty`): ρ as a textbook's λ gives another x.
    """

    matrix: Array = attrs.field(converter=_numbers)
    """A, (m, n)."""
    target: Array = attrs.field(converter=_numbers)
    """b, (m,)."""
    uncertainty: MatrixSet
    """𝒰, the set of the changes ΔA."""

    def __attrs_post_init__(self) -> None:
        fits = self.matrix.ndim == 2 and self.target.shape == self.matrix.shape[:1]
        if not fits or not len(self.target):
            raise UsageError(
                f"shapes do not fit: matrix (m, n) and target (m,) are {self.matrix.shape} and {self.target.shape}"
            )

    def residual(self, x: ArrayLike) -> float:
        """‖Ax − b‖₂."""
        return float(np.linalg.norm(self.matrix @ np.asarray(x) - self.target))

    def robust_residual(self, x: ArrayLike) -> float:
        """The maximum over the set of ‖(A + ΔA)x − b‖₂."""
        return self.residual(x) + self.uncertainty.penalty(np.asarray(x, dtype=float))

    def worst_case(self, x: ArrayLike) -> Array:
        """A ΔA, (m, n), that attains the `robust_residual` at x.

        It is one support on the residual's gradient u xᵀ, u = (Ax − b)/‖Ax − b‖₂ (eq. 11). The residual is not linear
        in ΔA, but these sets let ΔA x point anywhere, so that it can go all along u. Where the residual is 0, every
        unit vector u is as bad.
        """
        values = np.asarray(x, dtype=float)
        residual = self.matrix @ values - self.target
        length = np.linalg.norm(residual)
        unit = residual / length if length > 0 else np.eye(len(residual))[0]
        return self.uncertainty.worst_change(np.outer(unit, values))

    def squared_penalty(self, x: ArrayLike) -> ArrayLike:
        """The λ with which a minimizer x of this problem minimizes ‖Ax − b‖₂² plus ridge's or lasso's penalty too.

        It follows from the stationarity of both: ridge's λ = ρ‖Ax − b‖₂/‖x‖₂, lasso's μ_j = 2ρ_j‖Ax − b‖₂.

        Raises:
            RobustfwError: x fits b exactly; there the un-squared residual has a kink, and no positive λ does the same.
        """
        residual = self.residual(x)
        if residual <= ROUNDING * np.linalg.norm(self.target):
            raise RobustfwError(
                "x fits exactly: no squared penalty has the same minimizer"
            )
        return self.uncertainty.penalty_weight(np.asarray(x, dtype=float), residual)

    def solve(
        self,
        method: Literal["reformulation", "cutting-set"] = "reformulation",
        *,
        accuracy: float = 1e-8,
        limit: int = 200,
    ) -> Solution:
        """The robust optimum. Both methods need Clarabel, since both have ‖·‖₂ in them.

        Args:
            method: ``reformulation`` solves one program with the penalty; ``cutting-set`` adds a worst ΔA after the
                other, and knows nothing of the set but `worst_case`.
            accuracy: cuts stop when the worst residual at x is within this, relative to b, of the largest one among the
                ΔA so far.
            limit: the most rounds of cuts.

        Raises:
            UsageError: there is no such method.
            RobustfwError: the limit was reached.
        """
        if method == "reformulation":
            program, columns = self._program([np.zeros_like(self.matrix)])
            self.uncertainty.add_penalty(program, columns)
            optimum = program.solve()
            return self._make_solution(
                optimum.z[columns], optimum.bound, method, (1, 0, 0)
            )
        if method != "cutting-set":
            raise UsageError(
                f"there is no method {method!r} here; known: reformulation, cutting-set"
            )
        tolerance = accuracy * max(1.0, float(np.linalg.norm(self.target)))
        changes = [np.zeros_like(self.matrix)]
        for done in range(1, limit + 1):
            # 1. the optimum for the ΔA so far
            program, columns = self._program(changes)
            optimum = program.solve()
            x = optimum.z[columns]
            # 2. the worst ΔA at this x
            if self.robust_residual(x) - optimum.value <= tolerance:
                return self._make_solution(
                    x, optimum.bound, method, (done, done, done - 1)
                )
            changes.append(self.worst_case(x))
        raise RobustfwError(
            f"{limit} rounds of cuts did not suffice: allow more (limit), or a larger gap (accuracy)"
        )

    def _program(self, changes: list[Array]) -> tuple[ConicProgram, slice]:
        """The program min τ over ‖(A + ΔA)x − b‖₂ ≤ τ for these ΔA, and the columns of x in it."""
        program = ConicProgram()
        x = program.add_columns(self.matrix.shape[1])
        largest = program.add_columns(1, cost=1.0)
        bound = [(largest, np.ones((1, 1)))]
        for change in changes:
            residual = [(x, self.matrix + change)]
            program.add_cone(bound, residual, -self.target)
        return program, x

    def _make_solution(
        self, x: Array, bound: float, method: str, counts: tuple[int, int, int]
    ) -> Solution:
        """The solution at x; ``counts`` are solves, oracle calls and cuts."""
        solves, oracle_calls, cuts = counts
        return Solution(
            x=x,
            value=self.robust_residual(x),
            bound=bound,
            violation=0.0,
            method=method,
            solves=solves,
            oracle_calls=oracle_calls,
            cuts=cuts,
        )
