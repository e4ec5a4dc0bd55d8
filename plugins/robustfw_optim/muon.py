"""Muon (Jordan 2024): gradient descent that turns the filters of convolutions by orthogonalised momentum."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

STEPS = 3
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of σ ↦ aσ + bσ³ + cσ⁵, which takes small numbers away from 0 as fast as it can and keeps large ones near 1."""


class OrthogonalSGD(torch.optim.SGD):
    """`torch.optim.SGD`, Nesterov's, for all but filters; those take steps of one length in `orthogonal` directions."""

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        learning_rate: float,
        *,
        others: float,
        momentum: float,
        weight_decay: float,
    ) -> None:
        every = list(parameters)
        filters, rest = ([p for p in every if (p.dim() > 2) is wanted] for wanted in (True, False))
        self.filter_momentum = momentum
        nesterov = {"momentum": momentum, "nesterov": momentum > 0, "weight_decay": weight_decay}
        groups: list[dict[str, Any]] = [{"params": filters}, {"params": rest, "lr": others, **nesterov}]
        super().__init__(groups, learning_rate)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update; what the closure returns, if one is given to compute gradients."""
        loss = None if closure is None else torch.enable_grad()(closure)()
        filters = [(p, p.grad) for p in self.param_groups[0]["params"] if p.grad is not None]
        lengths = [p.norm() for p, _ in filters]
        for (p, grad), length in zip(filters, lengths, strict=True):
            direction = orthogonal(self._ahead(p, grad).flatten(1)).view_as(p)
            p.grad = direction * (length / direction.norm().clamp(min=1e-30))
        super().step()
        for (p, _), length in zip(filters, lengths, strict=True):
            p.mul_(length / p.norm().clamp(min=1e-30))
        return loss

    def _ahead(self, p: Tensor, grad: Tensor) -> Tensor:
        """The momentum as it will be if the next gradient is this one."""
        state = self.state[p]
        if "filter_momentum" not in state:
            state["filter_momentum"] = torch.zeros_like(p)
        momentum = state["filter_momentum"].mul_(self.filter_momentum).add_(grad)
        return grad.add(momentum, alpha=self.filter_momentum)


def orthogonal(matrix: Tensor) -> Tensor:
    """Roughly the nearest matrix whose singular values are all 1, (m, n): UVᵀ of UΣVᵀ.

    Steps of Newton and Schulz's iteration, which are matrix products; singular values that were at least 1/60 of the
    Frobenius norm end between 0.64 and 1.21 (Jordan et al. 2024, "Muon", with their coefficients).
    """
    rows, columns = matrix.shape
    x = matrix.t() if rows > columns else matrix
    x = x / x.norm().clamp(min=1e-30)
    a, b, c = COEFFICIENTS
    for _ in range(STEPS):
        gram = x @ x.t()
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.t() if rows > columns else x
