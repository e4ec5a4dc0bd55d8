"""Regions 𝒰(x): closed sets of perturbations, and how they combine."""

from robustfw.regions._base import Bound, Region, exact_bound
from robustfw.regions._box import Box
from robustfw.regions._combinators import Sum, Union
from robustfw.regions._coverage import coverage
from robustfw.regions._derived import Clipped, Scaled
from robustfw.regions._finite import Finite
from robustfw.regions._intersection import Intersection
from robustfw.regions._modifiers import Masked, Transformed
from robustfw.regions._parametric import Parametric
from robustfw.regions._polyhedron import Polyhedron
from robustfw.regions._rows import (
    exact,
    inner_products,
    normal_like,
    norms,
    per_row,
    round_toward_zero,
    share_of_way,
    step_per_row,
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
    "round_toward_zero",
    "share_of_way",
    "step_per_row",
    "uniform_like",
    "wide",
    "with_unit_maximum",
]
