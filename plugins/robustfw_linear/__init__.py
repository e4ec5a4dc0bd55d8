"""Robust optimization proper: linear programs, least squares and classifiers whose data are uncertain.

min cᵀx over all x with aᵢᵀx ≤ bᵢ for every aᵢ that the uncertainty allows (eq. 6), and section 3.1's equivalences of
robustness and regularisation. The sets are those that nets are trained with: a pessimizing oracle is their `support`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from robustfw_linear.classification import RobustHinge
    from robustfw_linear.least_squares import Columns, Frobenius, RobustLeastSquares
    from robustfw_linear.programs import RobustLP
    from robustfw_linear.sets import Box, Budget, Ellipsoid, Polyhedron, Polytope
    from robustfw_linear.solution import InfeasibleError, Solution, UnboundedError
    from robustfw_linear.svm import RobustSVM

_MODULES = {
    "Box": "sets",
    "Budget": "sets",
    "Columns": "least_squares",
    "Ellipsoid": "sets",
    "Frobenius": "least_squares",
    "InfeasibleError": "solution",
    "Polyhedron": "sets",
    "Polytope": "sets",
    "RobustHinge": "classification",
    "RobustLP": "programs",
    "RobustLeastSquares": "least_squares",
    "RobustSVM": "svm",
    "Solution": "solution",
    "UnboundedError": "solution",
}

__all__ = [
    "Box",
    "Budget",
    "Columns",
    "Ellipsoid",
    "Frobenius",
    "InfeasibleError",
    "Polyhedron",
    "Polytope",
    "RobustHinge",
    "RobustLP",
    "RobustLeastSquares",
    "RobustSVM",
    "Solution",
    "UnboundedError",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that importing the package does not import its solvers."""
    if name not in _MODULES:
        raise AttributeError(f"module 'robustfw_linear' has no attribute {name!r}")
    module = importlib.import_module(f"robustfw_linear.{_MODULES[name]}")
    return getattr(module, name)
