"""Regions 𝒰(x): closed sets of perturbations, and how they combine."""

from robustfw.regions.base import Bound, Box, Intersection, Region, Scaled
from robustfw.regions.combinators import Masked, Sum, Transformed, Union
from robustfw.regions.rows import inner_products, normal_like, norms, per_row, toward_zero, uniform_like, wide

__all__ = [
    "Bound",
    "Box",
    "Intersection",
    "Masked",
    "Region",
    "Scaled",
    "Sum",
    "Transformed",
    "Union",
    "inner_products",
    "normal_like",
    "norms",
    "per_row",
    "toward_zero",
    "uniform_like",
    "wide",
]
