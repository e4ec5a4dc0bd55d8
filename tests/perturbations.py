"""Perturbations by the spec of their set."""

from __future__ import annotations

import robustfw


def at(spec, x):
    """What the set of this spec allows at this batch."""
    return robustfw.make("uncertainty", spec).at(x)
