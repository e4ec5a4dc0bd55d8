"""The laws of an objective, on a small net."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robustfw import losses
from robustfw.objective import Objective
from robustfw.splits import TensorSplit
from robustfw.testing.laws import Law, require


def _setting(seed: int, rows: int = 8) -> tuple[nn.Module, Tensor, Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Flatten(), nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 3))
        return model, torch.rand(rows, 3, 2, 2), torch.arange(rows) % 3


def _losses(objective: Objective, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    def worst_case(*, loss: losses.Loss = losses.cross_entropy) -> Tensor:
        return (x + 0.05).clamp(0, 1).detach()

    return objective.fitted(TensorSplit(x.detach().repeat(8, 1, 1, 1), y.repeat(8)))(model, x, y, worst_case)


def check_form(objective: Objective, seed: int) -> None:
    """Losses have shape (batch,), are finite, and do for a batch of one."""
    for rows in (8, 1):
        model, x, y = _setting(seed, rows)
        values = _losses(objective, model, x, y)
        require(values.shape == (rows,), f"losses have shape {tuple(values.shape)} for a batch of {rows}")
        require(bool(values.isfinite().all()), f"losses are not finite: {values.tolist()}")


def check_gradient(objective: Objective, seed: int) -> None:
    """The gradient in θ is finite and not zero, and neither x nor any .grad is changed by asking for losses."""
    model, x, y = _setting(seed)
    before = x.clone()
    values = _losses(objective, model, x, y)
    require(all(p.grad is None for p in model.parameters()), "the objective filled in parameters' .grad by itself")
    require(bool(torch.equal(x, before)), "the objective changed x")
    gradients = torch.autograd.grad(values.mean(), list(model.parameters()), allow_unused=True)
    found = [gradient for gradient in gradients if gradient is not None]
    require(all(bool(g.isfinite().all()) for g in found), "the gradient is not finite")
    require(any(bool((g != 0).any()) for g in found), "the gradient is zero: nothing would be learnt")


def check_worst_cases_detached(objective: Objective, seed: int) -> None:
    """It learns from x̃ as from data: no gradient flows into the ascent (Danskin)."""
    model, x, y = _setting(seed)
    x.requires_grad_()
    values = _losses(objective, model, x.detach(), y)
    gradient = torch.autograd.grad(values.sum(), x, allow_unused=True)[0]
    require(gradient is None, "a gradient flows back into x")


LAWS = (
    Law("form", check_form),
    Law("gradient", check_gradient),
    Law("worst cases detached", check_worst_cases_detached),
)
