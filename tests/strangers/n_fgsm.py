"""N-FGSM (de Jorge et al. 2022): one step from a noisy example, and no way back into the set."""

from __future__ import annotations

from typing import Annotated

import attrs
import torch
from attrs.validators import ge
from torch import Tensor

from robustfw import Attack, InnerProblem, hookimpl


@attrs.frozen
class NFgsm(Attack):
    """δ = η + s(∇J(x + η)), η = k·(a random member) and s the steepest member: δ may leave the set."""

    noise: Annotated[float, "k, length of the noise relative to the set"] = attrs.field(default=2.0, validator=ge(0))

    @property
    def stays_inside(self) -> bool:
        """The step is not taken back: this is for training."""
        return False

    @property
    def linear_share(self) -> float:
        """The noise may undo any part of the step."""
        return 0.0

    def maximize(self, problem: InnerProblem, generator: torch.Generator) -> Tensor:
        """One forward and one backward pass."""
        region = problem.region
        if not len(problem):
            return region.zero()
        noise = self.noise * region.sample(generator)
        _, gradient = problem.value_and_grad(noise)
        return noise + region.support(gradient)


@hookimpl
def robustfw_register(add):
    add("n-fgsm", NFgsm)
