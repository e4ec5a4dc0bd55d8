"""How a net is attacked that has shown itself to be masked, or random."""

from __future__ import annotations

import attrs
from torch import Tensor

from robustfw import losses
from robustfw.inner.problem import Forward, InnerProblem, Passes
from robustfw.inner.surrogates import averaged, straight_through

DRAWS = 10
"""Draws of a random net that an attack's gradient is the mean of."""
JUDGES = 15
"""Draws of a random net that decide by their majority; odd, so that there is one."""


@attrs.frozen
class Trigger:
    """A piece of evidence, and what follows from it."""

    name: str
    """random, steps, saturated or useless."""
    evidence: str
    """What was seen, in words."""
    answer: str
    """What the attacks do about it, in words."""


@attrs.frozen(eq=False)
class Escalation:
    """How a net is attacked that has shown itself to be masked; nothing of it changes what the net says.

    Without a trigger it is as if it were not there.
    """

    triggers: tuple[Trigger, ...] = ()

    def has(self, name: str) -> bool:
        """Whether there is a trigger of this name."""
        return any(trigger.name == name for trigger in self.triggers)

    @property
    def judges(self) -> int:
        """How many forward passes decide whether an output is wrong, by their majority."""
        return JUDGES if self.has("random") else 1

    def seen(self, problem: InnerProblem) -> InnerProblem:
        """The problem as attacks see it, with gradients where the net itself has none; it counts the same passes."""
        forward = problem.forward
        if self.has("steps"):
            forward = straight_through(forward)
        if self.has("random"):
            forward = _counting(averaged(forward, DRAWS), problem.passes)
        if forward is not problem.forward:
            problem = attrs.evolve(problem, forward=forward)
        if self.has("saturated"):
            problem = problem.with_loss(losses.margin)
        return problem


def _counting(forward: Forward, passes: Passes) -> Forward:
    """A mean over draws that counts each of its passes; a problem counts one for each of its calls."""

    def counted(x: Tensor) -> Tensor:
        more = (DRAWS - 1) * len(x)
        passes.forward += more
        if x.requires_grad:
            passes.backward += more
        return forward(x)

    return counted
