"""Spectral norms of the linear part of a module, as it acts on inputs of a size: σ_max of the true operator."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from robustfw.regions import normal_like

VECTORS = 8
"""Vectors iterated together: the error falls by (σ₉/σ₁)⁴ in a step, instead of (σ₂/σ₁)⁴ for one vector."""
TOLERANCE = 1e-7
"""Relative growth of σ² in a step at which the iteration ends."""
MOST = 1000
"""Steps of the iteration, at most."""
AFFINE = 1e-4
"""Relative error of f(x + y) + f(0) = f(x) + f(y) that counts as rounding."""


def is_affine(module: nn.Module, like: Tensor, generator: torch.Generator) -> bool:
    """Whether f(x + y) + f(0) = f(x) + f(y) at random normal points.

    Args:
        module: f.
        like: (1, *shape), for the shape, the type and the device of the points.
        generator: the source of the points.
    """
    x = normal_like(like, generator).to(like.dtype)
    y = normal_like(like, generator).to(like.dtype)
    values = []
    with torch.no_grad():
        for point in (x + y, torch.zeros_like(x), x, y):
            value = module(point)
            if not isinstance(value, Tensor) or not value.is_floating_point():
                return False
            values.append(value)
    both, zero, first, second = values
    defect = both + zero - first - second
    size = max(float(value.norm()) for value in values)
    return bool(defect.norm() <= AFFINE * size)


def spectral_norm(
    module: nn.Module, like: Tensor, generator: torch.Generator
) -> tuple[float, bool]:
    """σ_max of the linear part of an affine module.

    Exact for linear layers (a singular value decomposition) and batch norms in evaluation mode (a diagonal). Otherwise
    by `subspace_iteration`, from below.

    Args:
        module: affine, with rows that do not depend on each other.
        like: (1, *shape), for the shape, the type and the device of inputs.
        generator: the source of the iteration's first vectors.

    Returns:
        σ_max, and whether it is exact.
    """
    if isinstance(module, nn.Linear):
        return float(torch.linalg.matrix_norm(module.weight.detach().double(), 2)), True
    if (
        isinstance(module, _BatchNorm)
        and module.running_var is not None
        and not module.training
    ):
        scale = (module.running_var.double() + module.eps).rsqrt()
        if module.weight is not None:
            scale = scale * module.weight.detach().double()
        return float(scale.abs().amax()), True
    return subspace_iteration(module, like, generator), False


def subspace_iteration(
    module: nn.Module, like: Tensor, generator: torch.Generator
) -> float:
    """σ_max of A: v ↦ f(v) − f(0), by V ← orthonormalized AᵀA V; the largest singular value of A within span V.

    It grows towards σ_max from below. Aᵀ is a backward pass, so that A is the operator as it is run: strides, padding
    and groups included.

    Args:
        module: f, affine, with rows that do not depend on each other.
        like: (1, *shape); its values do not matter.
        generator: the source of the first V.
    """
    count = min(VECTORS, like.numel())
    shape = like.shape[1:]
    start = normal_like(like.expand(count, *shape), generator)
    basis = _orthonormalize(start.flatten(1).to(like.dtype))
    largest = 0.0
    for _ in range(MOST):
        vectors = basis.unflatten(1, shape)
        image, pulled_back = _apply_and_transpose(module, vectors)
        # the largest σ² of A within the span is the largest eigenvalue of (A V)(A V)ᵀ
        exact_image = image.double()
        gram = exact_image @ exact_image.t()
        new_largest = float(torch.linalg.eigvalsh(gram)[-1])
        if new_largest <= largest * (1 + TOLERANCE):
            return max(new_largest, largest, 0.0) ** 0.5
        largest = new_largest
        basis = _orthonormalize(pulled_back)
    return largest**0.5


def _apply_and_transpose(module: nn.Module, rows: Tensor) -> tuple[Tensor, Tensor]:
    """A v and AᵀA v for each row v, flat."""
    with torch.no_grad():
        origin = module(torch.zeros_like(rows[:1]))
    with torch.enable_grad():
        point = rows.detach().requires_grad_()
        values = module(point)
        image = (values - origin).detach()
        if not values.requires_grad:
            # f is constant
            return image.flatten(1), torch.zeros_like(rows).flatten(1)
        (pulled_back,) = torch.autograd.grad(values, point, image)
    return image.flatten(1), pulled_back.flatten(1)


def _orthonormalize(rows: Tensor) -> Tensor:
    """Orthonormal rows whose span contains that of the given rows."""
    return torch.linalg.qr(rows.t()).Q.t().contiguous()
