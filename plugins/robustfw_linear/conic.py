"""The formula of an uncertainty set: a linear image of a ball under linear inequalities."""

from __future__ import annotations

from typing import final

import attrs
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@final
@attrs.frozen(eq=False)
class Conic:
    """{P u : D u ≤ d, ‖u‖₂ ≤ ρ}, of which every set here is a case.

    By strong duality its support function is min dᵀλ + ρ‖Pᵀx − Dᵀλ‖₂ over λ ≥ 0, and for ρ = ∞ it is min dᵀλ over
    λ ≥ 0 with Pᵀx = Dᵀλ. That turns a constraint for all members into finitely many (Ben-Tal, El Ghaoui & Nemirovski
    2009, §1.3).
    """

    basis: Array
    """P, (n, k)."""
    normals: Array
    """D, (m, k)."""
    offsets: Array
    """d, (m,)."""
    radius: float = np.inf
    """ρ."""

    def clip(self, lower: Array, upper: Array) -> Conic:
        """The members between two bounds, (n,) each."""
        normals = np.vstack([self.normals, self.basis, -self.basis])
        return attrs.evolve(
            self, normals=normals, offsets=np.concatenate([self.offsets, upper, -lower])
        )
