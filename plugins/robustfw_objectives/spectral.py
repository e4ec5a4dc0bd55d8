"""Operator norms of layers as the linear maps that they are, whatever their stride, padding, dilation and groups."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robustfw import UsageError
from robustfw_objectives.passes import inputs_of_layers

START = 0
"""Seed of the first vector."""


def operator_norms(model: nn.Module, x: Tensor, iterations: int) -> Tensor:
    """‖W_l‖₂ of each layer with weights, (layers,), for inputs like x; differentiable in the parameters.

    A layer that is called on inputs of several sizes counts once for each.

    Raises:
        UsageError: the net has no such layer.
    """
    with torch.no_grad():
        calls, _ = inputs_of_layers(model, x[:1] if len(x) else x.new_zeros(1, *x.shape[1:]))
    sizes = {(layer, given.shape[1:]): given for layer, given in calls}
    if not sizes:
        raise UsageError("the net has no linear or convolutional layer: operator-norm has nothing to penalise")
    return torch.stack([operator_norm(layer, given, iterations) for (layer, _), given in sizes.items()])


def operator_norm(layer: nn.Module, like: Tensor, iterations: int) -> Tensor:
    """max ‖W v‖₂ over ‖v‖₂ = 1, v of the shape of ``like``: the value at the best v of a Krylov space, a lower bound.

    The derivative is uᵀ dW v with u = W v / ‖W v‖, exact at the maximizer, which is held fixed (Danskin).
    """
    best = leading_vector(layer, like.detach(), iterations)
    return torch.linalg.vector_norm(linear_part(layer, best))


def linear_part(layer: nn.Module, v: Tensor) -> Tensor:
    """W v: the layer without its bias."""
    bias = getattr(layer, "bias", None)
    without = {} if bias is None else {"bias": torch.zeros_like(bias)}
    moved: Tensor = torch.func.functional_call(layer, without, (v,))
    return moved


def leading_vector(layer: nn.Module, like: Tensor, iterations: int) -> Tensor:
    """The unit v of largest ‖W v‖ in span{s, WᵀW s, (WᵀW)² s, …}: Lanczos, with all vectors kept orthogonal.

    The power method's last iterate is in the same span, so that this is never worse; where singular values crowd at
    the top, as a convolution's do, it is far better.
    """
    generator = torch.Generator().manual_seed(START)
    start = torch.randn(like.shape, generator=generator).to(like)
    with torch.enable_grad():
        probe = torch.zeros_like(like, requires_grad=True)
        image = linear_part(layer, probe)

    def normal(v: Tensor) -> Tensor:
        """WᵀW v; the adjoint is the layer's own backward pass, which does not depend on where it is taken."""
        with torch.no_grad():
            moved = linear_part(layer, v.reshape(like.shape))
        (back,) = torch.autograd.grad(image, probe, moved, retain_graph=True)
        return back.flatten()

    basis = (start / torch.linalg.vector_norm(start)).flatten()[None]
    images = normal(basis[0])[None]
    for _ in range(min(iterations, like.numel()) - 1):
        rest = images[-1]
        for _ in range(2):  # once loses orthogonality to rounding
            rest = rest - basis.t() @ (basis @ rest)
        length = torch.linalg.vector_norm(rest)
        new = length > torch.finfo(rest.dtype).eps * torch.linalg.vector_norm(images[-1])
        # Where the space is whole, or W is 0, the vector is 0: to stop there would be to wait for the device.
        basis = torch.cat([basis, torch.where(new, rest / length, 0)[None]])
        images = torch.cat([images, normal(basis[-1])[None]])
    small = basis @ images.t()
    weights = torch.linalg.eigh((small + small.t()) / 2).eigenvectors[:, -1]
    best = weights @ basis
    size = torch.linalg.vector_norm(best)
    return torch.where(size > 0, best / size, basis[0]).reshape(like.shape)
