"""Kullback-Leibler divergence between predictions, and the direction in which it grows fastest."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs
import torch
from torch import Tensor, nn

from robustfw import UsageError
from robustfw.regions import norms, per_row
from robustfw_objectives.layers import evaluation_mode

if TYPE_CHECKING:
    from robustfw.training.batch import Batch

NOISE = 1e-3
"""Standard deviation of the noise at x, in units of the data: without it the divergence's gradient vanishes there."""


def kl(logits: Tensor, others: Tensor) -> Tensor:
    """KL(p ‖ q) = Σ_k p_k (log p_k − log q_k), (batch,), in float32 at least.

    p is the softmax of ``logits``, q that of ``others``, both (batch, classes).
    """
    wide = torch.promote_types(logits.dtype, torch.float32)
    log_p = logits.to(wide).log_softmax(1)
    log_q = others.to(wide).log_softmax(1)
    return (log_p.exp() * (log_p - log_q)).sum(1)


@attrs.frozen(eq=False)
class FromPrediction:
    """A loss for an attack: logits, y ↦ KL(p ‖ softmax(logits)), p a fixed prediction for each row; y is not used."""

    reference: Tensor
    """Logits of p, (batch, classes)."""

    @classmethod
    def near(
        cls, model: nn.Module, net: Callable[[Tensor], Tensor], x: Tensor, noise: Tensor
    ) -> FromPrediction:
        """The loss whose p is the prediction at x + `NOISE` · noise.

        Args:
            model: the net, which is put into evaluation mode meanwhile.
            net: x to the logits of the model.
            x: examples, (batch, *shape).
            noise: of the shape of x and standard deviation 1.
        """
        with evaluation_mode(model, x, full_precision=False), torch.no_grad():
            return cls(net(x + NOISE * noise))

    def __call__(self, logits: Tensor, y: Tensor, /) -> Tensor:
        """KL(p ‖ softmax(logits)) of each row, (batch,)."""
        return kl(self.reference, logits)


def class_logits(batch: Batch, model: nn.Module) -> Callable[[Tensor], Tensor]:
    """The function from x to logits (batch, classes) of a model, as the batch's task reads its outputs.

    Raises:
        UsageError: the task has no classes, and so no probabilities to compare.
    """
    if not batch.task.labelled:
        name = type(batch.task).__name__.lower()
        raise UsageError(
            f"the divergence of predictions is for classes, and the task is {name}: take another objective"
        )
    return lambda x: batch.task.read(model(x), len(x))


def virtual(
    model: Callable[[Tensor], Tensor],
    x: Tensor,
    start: Tensor,
    epsilon: float,
    xi: float,
    iterations: int,
) -> tuple[Tensor, Tensor]:
    """Virtual adversarial examples x + ε d, d the dominant direction of the divergence's Hessian at x.

    Where the gradient is 0, at very certain predictions, d stays what it was: a unit vector in any case.

    Args:
        model: x to logits.
        x: examples (batch, *shape).
        start: random directions of the shape of x, from which the power method begins.
        epsilon: length of the perturbation.
        xi: length of the step that the Hessian is estimated by.
        iterations: of the power method.

    Returns:
        The logits at x, (batch, classes), and x + ε d, (batch, *shape); both detached.
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
    """Each row divided by its length; a row of zeros becomes that of ``otherwise``.

    Rows are scaled first: squares of 1e-25 are 0 in float32.
    """
    largest = per_row(direction.flatten(1).abs().amax(1), direction)
    scaled = direction / largest.where(largest > 0, 1)
    unit = scaled / per_row(norms(scaled), scaled).clamp(min=1)
    return unit if otherwise is None else torch.where(largest > 0, unit, otherwise)
