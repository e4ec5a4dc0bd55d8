"""Nets and weights from elsewhere: adapters that make a net usable here, and weights files that are read safely."""

from __future__ import annotations

from robustfw.interop._adapter import Adapter, adapt, normalization_in_effect
from robustfw.interop._heads import last_layer, replace_head
from robustfw.interop._normalization import Normalization
from robustfw.interop._outputs import pick_output
from robustfw.interop._weights import Weights, read_weights, split_entry

__all__ = [
    "Adapter",
    "Normalization",
    "Weights",
    "adapt",
    "last_layer",
    "normalization_in_effect",
    "pick_output",
    "read_weights",
    "replace_head",
    "split_entry",
]
