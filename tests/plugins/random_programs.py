"""Random linear programs, feasible at 0."""

from __future__ import annotations

import numpy as np


def instance(seed, rows=6, width=3):
    """Feasible, since x = 0 is, and bounded by the box that tests solve in."""
    draw = np.random.default_rng(seed)
    return draw.normal(size=width), draw.normal(size=(rows, width)), 0.3 + draw.random(rows)
