"""Regions 𝒰(x): closed sets of perturbations, and how they combine."""

from robustfw.regions.base import Bound, Box, Intersection, Region, Scaled, per_row
from robustfw.regions.combinators import Masked, Sum, Transformed, Union

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
    "per_row",
]
