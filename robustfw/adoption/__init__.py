"""Adoption: a net that was trained elsewhere becomes a run, which every command then measures like any other."""

from robustfw.adoption._adopt import Adoption, adopt
from robustfw.adoption._fit import NormalizationFit

__all__ = ["Adoption", "NormalizationFit", "adopt"]
