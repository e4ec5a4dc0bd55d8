"""Spectral norms of the linear part of a module, as it acts on inputs of a size: σ_max of the true operator."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from robustfw.regions import normal_like

VECTORS = 8
"""Iterated together: the error falls with (σ₉/σ₁)⁴ from step to step, instead of (σ₂/σ₁)⁴ for one vector."""
TOLERANCE = 1e-7
"""Of the relative growth of σ² in a step, at which the iteration ends."""
MOST = 1000
"""Steps."""
AFFINE = 1e-4
"""The relative error of f(x + y) + f(0) = f(x) + f(y) that is rounding."""


def is_affine(module: nn.Module, like: Tensor, generator: torch.Generator) -> bool:
    """Whether f(x + y) + f(0) = f(x) + f(y) at random normal points of the shape of ``like``, (1, *shape)."""
    x, y = normal_like(like, generator).to(like.dtype), normal_like(like, generator).to(like.dtype)
    with torch.no_grad():
        values = [module(point) for point in (x + y, torch.zeros_like(x), x, y)]
    if not all(isinstance(value, Tensor) and value.is_floating_point() for value in values):
        return False
    both, zero, first, second = values
    size = max(float(value.norm()) for value in (both, zero, first, second))
    return bool((both + zero - first - second).norm() <= AFFINE * size)


def spectral_norm(module: nn.Module, like: Tensor, generator: torch.Generator) -> tuple[float, bool]:
    """σ_max of the linear part of an affine module on inputs of the shape of ``like``, and whether it is exact.

    Exact for linear layers (a singular value decomposition) and batch norms in evaluation mode (a diagonal). Otherwise
    by `subspace_iteration`, from below.
    """
    if isinstance(module, nn.Linear):
        return float(torch.linalg.matrix_norm(module.weight.detach().double(), 2)), True
    if isinstance(module, _BatchNorm) and module.running_var is not None and not module.training:
        scale = (module.running_var.double() + module.eps).rsqrt()
        return float((scale if module.weight is None else scale * module.weight.detach().double()).abs().amax()), True
    return subspace_iteration(module, like, generator), False


def subspace_iteration(module: nn.Module, like: Tensor, generator: torch.Generator) -> float:
    """σ_max of A: v ↦ f(v) − f(0), by V ← orthonormalized AᵀA V; the largest singular value of A within span V.

    It grows towards σ_max from below. Aᵀ is a backward pass, so that A is the operator as it is run: strides, padding
    and groups included.

    Args:
        module: f, affine, with rows that do not depend on each other.
        like: (1, *shape); its values do not matter.
        generator: the source of the first V.
    """
    size = like.numel()
    start = normal_like(like.expand(min(VECTORS, size), *like.shape[1:]), generator)
    basis, found = _orthonormal(start.flatten(1).to(like.dtype)), 0.0
    for _ in range(MOST):
        image, pulled = _there_and_back(module, basis.unflatten(1, like.shape[1:]))
        gram = image.double() @ image.double().t()
        largest = float(torch.linalg.eigvalsh(gram)[-1])
        if largest <= found * (1 + TOLERANCE):
            return max(largest, found, 0.0) ** 0.5
        found, basis = largest, _orthonormal(pulled)
    return found**0.5


def _there_and_back(module: nn.Module, rows: Tensor) -> tuple[Tensor, Tensor]:
    """A v and AᵀA v for each row v, flat."""
    with torch.no_grad():
        origin = module(torch.zeros_like(rows[:1]))
    with torch.enable_grad():
        point = rows.detach().requires_grad_()
        values = module(point)
        image = (values - origin).detach()
        if not values.requires_grad:  # constant
            return image.flatten(1), torch.zeros_like(rows).flatten(1)
        (pulled,) = torch.autograd.grad(values, point, image)
    return image.flatten(1), pulled.flatten(1)


def _orthonormal(rows: Tensor) -> Tensor:
    """Orthonormal rows of the same span; of a span with fewer dimensions, together with others."""
    return torch.linalg.qr(rows.t()).Q.t().contiguous()
