"""An attack that looks for the nearest wrong member, as plainly as can be."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from robustfw import Attack, InnerProblem, hookimpl
from robustfw.regions import per_row


@attrs.frozen
class Halving(Attack):
    """The least share of the steepest member that meets the criterion, by bisection; without a criterion all of it."""

    @property
    def minimal(self) -> bool:
        """A member that is solved and near counts for more than one that is far."""
        return True

    def maximize(self, problem: InnerProblem, generator: torch.Generator) -> Tensor:
        """Two passes for the direction, and twelve forward passes."""
        region = problem.region
        if not len(problem):
            return region.zero()
        _, gradient = problem.linearize()
        corner = region.support(gradient)
        low, high = torch.zeros(len(problem)).to(corner), torch.ones(len(problem)).to(corner)
        for _ in range(12):
            middle = (low + high) / 2
            solved = problem.value(per_row(middle, corner) * corner).isposinf()
            low, high = torch.where(solved, low, middle), torch.where(solved, middle, high)
        return region.project(per_row(high, corner) * corner)


@hookimpl
def robustfw_register(add):
    add("halving", Halving)
