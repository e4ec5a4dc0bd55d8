"""Adversarial weight perturbation (Wu, Xia & Wang 2020): worst cases of examples and, around them, of weights."""

from __future__ import annotations

from typing import Annotated

import attrs
import torch
from attrs.validators import ge
from torch import Tensor

from robustfw import Attack, Batch, InnerProblem, Update, hookimpl


@attrs.frozen
class Awp(Update):
    """θ ← θ − step(∇J(θ + v)), v_l = γ·‖θ_l‖·g_l/‖g_l‖ for the weights of each layer l, g the gradient at θ.

    Both gradients are those at the same worst cases, which are looked for once, at θ.
    """

    gamma: Annotated[float, "γ, length of a perturbation relative to its layer"] = attrs.field(
        default=0.01, validator=ge(0)
    )

    def __call__(self, turn) -> Tensor:
        """Two forward and backward passes, and one step."""
        found: list[Tensor] = []
        first, again = (
            by(turn.batch, attack) for attack in (Noted(turn.batch.adversary.attack, found), Replayed(found))
        )
        turn.clear()
        loss = turn.loss(first)
        turn.backward(loss)
        before = self._perturb([p for p in turn.batch.plain.parameters() if p.dim() > 1 and p.grad is not None])
        turn.clear()
        turn.backward(turn.loss(again))
        with torch.no_grad():
            for parameter, value in before:
                parameter.copy_(value)
        turn.step()
        return loss.detach()

    @torch.no_grad()
    def _perturb(self, parameters: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """Move the parameters; what they were."""
        before = [(parameter, parameter.clone()) for parameter in parameters]
        for parameter in parameters:
            length = parameter.grad.norm()
            if length > 0:
                parameter.add_(parameter.grad, alpha=float(self.gamma * parameter.norm() / length))
        return before


def by(batch: Batch, attack: Attack) -> Batch:
    """The batch under another attack."""
    return attrs.evolve(batch, adversary=attrs.evolve(batch.adversary, attack=attack))


@attrs.frozen(eq=False)
class Noted(Attack):
    """Another attack, whose answers are kept."""

    attack: Attack
    found: list[Tensor]

    @property
    def stays_inside(self) -> bool:
        return self.attack.stays_inside

    def maximize(self, problem: InnerProblem, generator: torch.Generator) -> Tensor:
        self.found.append(self.attack.maximize(problem, generator).detach())
        return self.found[-1]


@attrs.frozen(eq=False)
class Replayed(Attack):
    """Answers that were kept, in their order."""

    found: list[Tensor]

    @property
    def stays_inside(self) -> bool:
        return False  # they have been looked at

    def maximize(self, problem: InnerProblem, generator: torch.Generator) -> Tensor:
        return self.found.pop(0)


@hookimpl
def robustfw_register(add):
    add("awp", Awp)
