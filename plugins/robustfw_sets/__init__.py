"""Uncertainty sets beyond the norm balls: general balls, polyhedra, patches, motions, tables and corruptions."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from robustfw import hookimpl

if TYPE_CHECKING:
    from robustfw.hookspecs import Add


@hookimpl
def robustfw_register(add: Add) -> None:
    """Register the sets by name; their modules are imported when they are used."""
    uncertainty = functools.partial(add, kind="uncertainty")
    uncertainty("lp", "robustfw_sets.sets:Lp")
    uncertainty("budget", "robustfw_sets.sets:Budget")
    uncertainty("group-l2", "robustfw_sets.sets:GroupL2")
    uncertainty("polyhedron", "robustfw_sets.sets:PolyhedralSet")
    uncertainty("patch", "robustfw_sets.image_sets:Patch")
    uncertainty("rotation-translation", "robustfw_sets.image_sets:RotationTranslation")
    uncertainty("tabular", "robustfw_sets.sets:Tabular")
    uncertainty("corruptions", "robustfw_sets.image_sets:Corruptions")
