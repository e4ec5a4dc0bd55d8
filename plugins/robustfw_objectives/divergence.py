"""Kullback-Leibler divergence between predictions, and the direction in which it grows fastest."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs
import torch
from torch import Tensor, nn

from robustfw import UsageError
from robustfw.regions import norms, per_row
from robustfw_objectives.passes import evaluating

if TYPE_CHECKING:
    from robustfw.training.batch import Batch

NOISE = 1e-3
"""Standard deviation, in units of the data, of what keeps a divergence's gradient from vanishing at the start."""


def kl(logits: Tensor, others: Tensor) -> Tensor:
    """KL(p ‖ q) = Σ_k p_k (log p_k − log q_k), (batch,), p and q the softmax of each; in float32 at least."""
    wide = torch.promote_types(logits.dtype, torch.float32)
    log_p, log_q = logits.to(wide).log_softmax(1), others.to(wide).log_softmax(1)
    return (log_p.exp() * (log_p - log_q)).sum(1)


@attrs.frozen(eq=False)
class FromPrediction:
    """A loss for an attack: logits, y ↦ KL(p ‖ softmax(logits)), p a fixed prediction for each row; y is not used."""

    reference: Tensor
    """Logits of p, (batch, classes)."""

    @classmethod
    def near(cls, model: nn.Module, net: Callable[[Tensor], Tensor], x: Tensor, noise: Tensor) -> FromPrediction:
        """p = p(·|x + n), n = `NOISE` · noise, in evaluation mode; ``net`` gives the logits of the model."""
        with evaluating(model, x, full_precision=False), torch.no_grad():
            return cls(net(x + NOISE * noise))

    def __call__(self, logits: Tensor, y: Tensor, /) -> Tensor:
        """Row by row."""
        return kl(self.reference, logits)


def read(batch: Batch, model: nn.Module) -> Callable[[Tensor], Tensor]:
    """x to the logits that probabilities are made of, for tasks that have classes.

    Raises:
        UsageError: there are no probabilities to compare.
    """
    if not batch.task.labelled:
        name = type(batch.task).__name__.lower()
        raise UsageError(
            f"the divergence of predictions is for classes, and the task is {name}: take another objective"
        )
    return lambda x: batch.task.read(model(x), len(x))


def virtual(
    model: Callable[[Tensor], Tensor], x: Tensor, start: Tensor, epsilon: float, xi: float, iterations: int
) -> tuple[Tensor, Tensor]:
    """The logits at x, and x + ε d with d the dominant direction of the divergence's Hessian; both detached.

    Args:
        model: x to logits.
        x: examples (batch, *shape).
        start: random directions of the shape of x, from which the power method begins.
        epsilon: length of the perturbation.
        xi: length of the step that the Hessian is estimated by.
        iterations: of the power method.

    Where the gradient is 0, at very certain predictions, d stays what it was: a unit vector in any case.
    """
    x = x.detach()
    with torch.no_grad():
        reference = model(x)
    direction = _unit(start)
    for _ in range(iterations):
        with torch.enable_grad():
            probe = (x + xi * direction).requires_grad_()
            (gradient,) = torch.autograd.grad(kl(reference, model(probe)).sum(), probe)
        direction = _unit(gradient, direction)
    return reference, (x + epsilon * direction).detach()


def _unit(direction: Tensor, otherwise: Tensor | None = None) -> Tensor:
    """Each row at length 1; where it is 0, the other. Scaled first: squares of 1e-25 are 0 in float32."""
    largest = per_row(direction.flatten(1).abs().amax(1), direction)
    scaled = direction / largest.where(largest > 0, 1)
    unit = scaled / per_row(norms(scaled), scaled).clamp(min=1)
    return unit if otherwise is None else torch.where(largest > 0, unit, otherwise)
