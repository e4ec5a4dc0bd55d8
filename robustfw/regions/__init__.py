"""Regions 𝒰(x): closed sets of perturbations, and how they combine."""

from robustfw.regions.base import Bound, Region, exact_bound
from robustfw.regions.box import Box
from robustfw.regions.combinators import Masked, Sum, Transformed, Union
from robustfw.regions.coverage import coverage
from robustfw.regions.derived import Clipped, Intersection, Scaled
from robustfw.regions.finite import Finite
from robustfw.regions.parametric import Parametric
from robustfw.regions.polyhedron import Polyhedron
from robustfw.regions.rows import (
    exact,
    inner_products,
    normal_like,
    norms,
    per_row,
    step_per_row,
    toward_zero,
    uniform_like,
    wide,
    with_unit_maximum,
)

__all__ = [
    "Bound",
    "Box",
    "Clipped",
    "Finite",
    "Intersection",
    "Masked",
    "Parametric",
    "Polyhedron",
    "Region",
    "Scaled",
    "Sum",
    "Transformed",
    "Union",
    "coverage",
    "exact",
    "exact_bound",
    "inner_products",
    "normal_like",
    "norms",
    "per_row",
    "step_per_row",
    "toward_zero",
    "uniform_like",
    "wide",
    "with_unit_maximum",
]
