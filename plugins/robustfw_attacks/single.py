"""Attacks of one gradient, or of none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, final

import attrs
from attrs.validators import ge, gt

from robustfw import Attack
from robustfw_attacks.best import Best

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from robustfw.inner.problem import InnerProblem


@final
@attrs.frozen
class SingleStep(Attack):
    """δ = argmax_{δ ∈ 𝒰} ⟨∇J(x), δ⟩ (eq. 11): one gradient, one support call.

    Over ℓ∞ this is the fast method of Goodfellow et al. (eq. 2). With ``random_start=true,step=1.25`` it is the FGSM-RS
    of Wong et al. 2020: a random member, a step of 1.25 times the set, a projection.
    """

    step: Annotated[float, "length of the step relative to the set"] = attrs.field(
        default=1.0, validator=gt(0)
    )
    random_start: Annotated[bool, "start from a random member instead of 0"] = False

    @property
    def linear_share(self) -> float:
        """The share of a linear maximum that one step of this length reaches, from 0 or from the worst start."""
        way = self.step - 1 if self.random_start else self.step
        return max(0.0, min(1.0, way))

    def maximize(self, problem: InnerProblem, generator: torch.Generator) -> Tensor:
        """The member after one step, (batch, *shape): one gradient at the start, no evaluation at the end."""
        region = problem.region
        if not len(problem):
            return region.zero()
        if self.random_start:
            start = region.sample(generator)
            _, gradient = problem.value_and_grad(start)
        else:
            _, gradient = problem.linearize()
            if self.step == 1:
                return region.support(gradient)
            start = region.zero()
        return region.project(start + region.ascent(gradient, start, self.step))


@final
@attrs.frozen
class Random(Attack):
    """The worst of n random members: the weak baseline that no gradient attack may fall behind."""

    samples: Annotated[int, "members drawn for each example"] = attrs.field(
        default=10, validator=ge(1)
    )

    @property
    def linear_share(self) -> float:
        """0: random members promise no share of a linear maximum."""
        return 0.0

    def maximize(self, problem: InnerProblem, generator: torch.Generator) -> Tensor:
        """The worst of ``samples`` random members of each row, (batch, *shape): as many forward passes."""
        best = Best.empty(problem)
        if not len(problem):
            return best.delta
        for _ in range(self.samples):
            delta = problem.region.sample(generator)
            best.offer(delta, problem.value(delta))
        return best.delta
