"""Solutions of robust programs, and the errors of their solvers."""

from __future__ import annotations

from typing import final

import attrs
import numpy as np
from numpy.typing import NDArray

from robustfw import RobustfwError

Array = NDArray[np.float64]


class InfeasibleError(RobustfwError):
    """No x satisfies every constraint for every member of its set."""


class UnboundedError(RobustfwError):
    """The cost falls without end, or the method cannot see where it ends."""


@final
@attrs.frozen(eq=False)
class MethodResult:
    """A method's result in the variables z that it works on; see `Solution` for the fields."""

    z: Array
    """(width,)."""
    bound: float
    """A lower bound of the robust optimum."""
    solves: int
    """Programs solved."""
    oracle_calls: int = 0
    """Calls of `support`, each for all constraints at once."""
    cuts: int = 0
    """Constraints that were added."""
    promised: float = np.inf
    """How many solves theory allows."""


@final
@attrs.frozen(eq=False)
class Solution:
    """A solution of a robust program, and what it took."""

    x: Array
    """(n,)."""
    value: float
    """The cost at x, in its worst case where the cost is uncertain."""
    bound: float
    """A lower bound of the robust optimum, up to the solver's rounding: methods solve relaxations, or duals."""
    violation: float
    """max_i max_{δ ∈ 𝒰ᵢ} ⟨aᵢ + δ, x⟩ − bᵢ, where positive: what the pessimizing oracle says at x, in units of b."""
    method: str
    """The name of the method."""
    solves: int
    """Linear or cone programs solved: for the online method the calls of the nominal oracle."""
    oracle_calls: int
    """Calls of `support`, each for all constraints at once."""
    cuts: int = 0
    """Constraints that the cutting-set method added."""
    promised: float = np.inf
    """How many solves theory allows: 2D²G²/ε² for the online method, with G measured on the way."""

    @property
    def gap(self) -> float:
        """value − bound; below 0 where x is cheaper than the optimum for the price of its `violation`."""
        return self.value - self.bound
