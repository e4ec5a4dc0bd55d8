"""Operator norms of layers as the linear maps that they are, whatever their stride, padding, dilation and groups."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robustfw import UsageError
from robustfw_objectives.layers import inputs_of_layers

SEED = 0
"""The seed of the power method's first vector."""


def operator_norms(model: nn.Module, x: Tensor, iterations: int) -> Tensor:
    """‖W_l‖₂ of each layer with weights, (layers,), for inputs like x; differentiable in the parameters.

    A layer that is called on inputs of several sizes counts once for each.

    Args:
        model: the net.
        x: examples, (batch, *shape), whose sizes decide those of the layers' inputs.
        iterations: applications of each layer and of its adjoint to one vector.

    Raises:
        UsageError: the net has no such layer.
    """
    with torch.no_grad():
        example = x[:1] if len(x) else x.new_zeros(1, *x.shape[1:])
        calls, _ = inputs_of_layers(model, example)
    inputs = {
        (layer, layer_input.shape[1:]): layer_input for layer, layer_input in calls
    }
    if not inputs:
        raise UsageError(
            "the net has no linear or convolutional layer: operator-norm has nothing to penalise"
        )
    return torch.stack(
        [
            operator_norm(layer, layer_input, iterations)
            for (layer, _), layer_input in inputs.items()
        ]
    )


def operator_norm(layer: nn.Module, like: Tensor, iterations: int) -> Tensor:
    """max ‖W v‖₂ over ‖v‖₂ = 1, v of the shape of ``like``: the value at the best v of a Krylov space, a lower bound.

    The derivative is uᵀ dW v with u = W v / ‖W v‖, exact at the maximizer, which is held fixed (Danskin).

    Args:
        layer: an affine layer with the weights W.
        like: an input of it, (1, *shape).
        iterations: the dimension of the Krylov space.
    """
    best = find_top_vector(layer, like.detach(), iterations)
    return torch.linalg.vector_norm(linear_part(layer, best))


def linear_part(layer: nn.Module, v: Tensor) -> Tensor:
    """W v: the layer's output without its bias."""
    bias = getattr(layer, "bias", None)
    replaced = {} if bias is None else {"bias": torch.zeros_like(bias)}
    product: Tensor = torch.func.functional_call(layer, replaced, (v,))
    return product


def find_top_vector(layer: nn.Module, like: Tensor, iterations: int) -> Tensor:
    """The unit v of largest ‖W v‖ in span{s, WᵀW s, (WᵀW)² s, …}: Lanczos, with all vectors kept orthogonal.

    The power method's last iterate is in the same span, so that this is never worse; where singular values crowd at
    the top, as a convolution's do, it is far better.

    Args:
        layer: an affine layer with the weights W.
        like: an input of it, (1, *shape), whose shape v has.
        iterations: the dimension of the span.
    """
    generator = torch.Generator().manual_seed(SEED)
    start = torch.randn(like.shape, generator=generator).to(like)
    with torch.enable_grad():
        probe = torch.zeros_like(like, requires_grad=True)
        image = linear_part(layer, probe)

    def normal(v: Tensor) -> Tensor:
        """WᵀW v; the adjoint is the layer's own backward pass, which does not depend on where it is taken."""
        with torch.no_grad():
            product = linear_part(layer, v.reshape(like.shape))
        (adjoint,) = torch.autograd.grad(image, probe, product, retain_graph=True)
        return adjoint.flatten()

    # 1. an orthonormal basis of the Krylov space, and the image of each of its vectors under WᵀW
    first = start / torch.linalg.vector_norm(start)
    basis = first.flatten()[None]
    images = normal(basis[0])[None]
    eps = torch.finfo(like.dtype).eps
    dimension = min(iterations, like.numel())
    for _ in range(dimension - 1):
        latest = images[-1]
        residual = latest
        # twice, since once loses orthogonality to rounding
        for _ in range(2):
            residual = residual - basis.t() @ (basis @ residual)
        length = torch.linalg.vector_norm(residual)
        independent = length > eps * torch.linalg.vector_norm(latest)
        # where the space is complete, or W is 0, the vector is 0: to stop there would be to wait for the device
        vector = torch.where(independent, residual / length, 0)
        basis = torch.cat([basis, vector[None]])
        images = torch.cat([images, normal(vector)[None]])
    # 2. the top eigenvector of WᵀW restricted to that space
    restricted = basis @ images.t()
    symmetric = (restricted + restricted.t()) / 2
    weights = torch.linalg.eigh(symmetric).eigenvectors[:, -1]
    best = weights @ basis
    size = torch.linalg.vector_norm(best)
    unit = torch.where(size > 0, best / size, basis[0])
    return unit.reshape(like.shape)
