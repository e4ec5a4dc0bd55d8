"""Muon (Jordan 2024): gradient descent that turns the filters of convolutions by orthogonalised momentum."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

STEPS = 3
"""Iterations of Newton and Schulz for each orthogonalisation."""
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""(a, b, c) of σ ↦ aσ + bσ³ + cσ⁵, which drives small singular values from 0 quickly and keeps large ones near 1."""
SMALLEST_LENGTH = 1e-30
"""Lengths below this count as this, so that none is divided by 0."""


class OrthogonalSGD(torch.optim.SGD):
    """`torch.optim.SGD` with Nesterov's momentum, whose steps for filters have one length and `orthogonal` directions.

    Filters are parameters of more than two dimensions, such as those of convolutions.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        learning_rate: float,
        *,
        others: float,
        momentum: float,
        weight_decay: float,
    ) -> None:
        """Sort the parameters into filters and others.

        Args:
            parameters: the net's parameters.
            learning_rate: the length of a filter's step, relative to the filter's norm.
            others: the learning rate of other parameters.
            momentum: the share of the momentum that is kept at each step.
            weight_decay: ℓ2 penalty of other parameters, added to their gradient.
        """
        all_parameters = list(parameters)
        filters = [parameter for parameter in all_parameters if parameter.dim() > 2]
        other_parameters = [
            parameter for parameter in all_parameters if parameter.dim() <= 2
        ]
        self.filter_momentum = momentum
        nesterov = {
            "momentum": momentum,
            "nesterov": momentum > 0,
            "weight_decay": weight_decay,
        }
        groups: list[dict[str, Any]] = [
            {"params": filters},
            {"params": other_parameters, "lr": others, **nesterov},
        ]
        super().__init__(groups, learning_rate)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make one update; a closure computes the gradients before, and its result is returned."""
        loss = None if closure is None else torch.enable_grad()(closure)()
        filters = [
            (weight, weight.grad)
            for weight in self.param_groups[0]["params"]
            if weight.grad is not None
        ]
        lengths = [weight.norm() for weight, _ in filters]
        # 1. hand plain gradient descent an orthogonal direction, as long as the filter
        for (weight, gradient), length in zip(filters, lengths, strict=True):
            direction = orthogonal(
                self._look_ahead(weight, gradient).flatten(1)
            ).view_as(weight)
            weight.grad = direction * (
                length / direction.norm().clamp(min=SMALLEST_LENGTH)
            )
        # 2. step
        super().step()
        # 3. bring each filter back to its length, since only its direction matters
        for (weight, _), length in zip(filters, lengths, strict=True):
            weight.mul_(length / weight.norm().clamp(min=SMALLEST_LENGTH))
        return loss

    def _look_ahead(self, weight: Tensor, gradient: Tensor) -> Tensor:
        """Update the momentum of a filter, and return what it will be if the next gradient is the same."""
        state = self.state[weight]
        if "filter_momentum" not in state:
            state["filter_momentum"] = torch.zeros_like(weight)
        momentum = state["filter_momentum"].mul_(self.filter_momentum).add_(gradient)
        return gradient.add(momentum, alpha=self.filter_momentum)


def orthogonal(matrix: Tensor) -> Tensor:
    """Roughly the nearest matrix whose singular values are all 1, (m, n): UVᵀ for a matrix UΣVᵀ.

    It takes steps of Newton and Schulz's iteration, which are matrix products. Singular values that were at least 1/60
    of the Frobenius norm end between 0.64 and 1.21 (Jordan et al. 2024, "Muon", with their coefficients).
    """
    rows, columns = matrix.shape
    # the products are smaller for a wide matrix than for a tall one
    x = matrix.t() if rows > columns else matrix
    x = x / x.norm().clamp(min=SMALLEST_LENGTH)
    a, b, c = COEFFICIENTS
    for _ in range(STEPS):
        # x ← a·x + (b·G + c·G²)·x, where G = x·xᵀ
        gram = x @ x.t()
        polynomial = torch.addmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.addmm(x, polynomial, x, beta=a)
    return x.t() if rows > columns else x
