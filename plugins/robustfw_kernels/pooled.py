"""The convolution that reads the image and the pool upon it: their input gradient from the largest values alone."""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustfw_kernels.convolution import (
    InputConv2d,
    Pair,
    autocast,
    dtype_of,
    input_gradient,
    outputs,
    with_signature,
)
from robustfw_kernels.layers import ChannelsLast, Standardize
from robustfw_kernels.patch_plan import Frame, Kernel, PatchPlan, framed_size, make_plan


class PooledInputConv2d(nn.Sequential):
    """A convolution and a max pool of windows that do not overlap, `torch.nn`'s functions of the same parameters.

    Of a window's values only the largest one has a gradient. With respect to the image it is so many times the filter
    of its channel, moved to its place: for each window a weighted sum of rows of a small table, rather than a product
    with a matrix of which all but one in pool² entries are 0. That is for attacks: where the weights are to have a
    gradient, somebody listens to the layers, or they are compiled, they go one by one.

    Args:
        layers: any of ``ZeroPad2d``, `Standardize` and `ChannelsLast`, then an `InputConv2d`, then a ``MaxPool2d``. The
            part of the first ones in the gradient costs nothing: the table is one of filters over std, and their
            frame is left out of the sums.

    Raises:
        TypeError: the layers are others.
    """

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__(*layers)
        if not self.fits(self):
            names = ", ".join(type(layer).__name__ for layer in layers)
            raise TypeError(
                "one each of ZeroPad2d, Standardize and ChannelsLast may come before an InputConv2d and a MaxPool2d of "
                f"windows side by side, but not {names}"
            )
        *before, _, pool = layers
        self.windows = _window(cast(nn.MaxPool2d, pool))
        self.frame: Frame = (0, 0, 0, 0)
        for layer in before:
            if isinstance(layer, nn.ZeroPad2d):
                self.frame = layer.padding

    @staticmethod
    def fits(layers: nn.Sequential) -> bool:
        """Whether a sequence is of the layers that this class is for."""
        if len(layers) < 2:
            return False
        *before, convolution, pool = layers
        kinds = [type(layer) for layer in before if not isinstance(layer, nn.Identity)]
        known = {nn.ZeroPad2d, Standardize, ChannelsLast}
        if not known.issuperset(kinds) or len(set(kinds)) < len(kinds):
            return False
        if type(convolution) is not InputConv2d or type(pool) is not nn.MaxPool2d:
            return False
        return _window(pool) > 0

    def forward(self, input: Tensor) -> Tensor:
        *before, layer, pool = self
        convolution = cast(InputConv2d, layer)
        if self._goes_one_by_one(convolution, input):
            for layer in before:
                input = layer(input)
            return cast(Tensor, pool(convolution(input)))
        weight = convolution.weight
        kernel = cast(Kernel, tuple(weight.shape))
        size = cast(Pair, tuple(input.shape[2:]))
        padding = cast(Pair, convolution.padding)
        plan = make_plan(kernel, size, self.frame, padding, self.windows)
        # autocast rounds the parameters; the gradient of the image need not be rounded to it
        _, weight, bias = autocast(input, weight, convolution.bias)
        std = None
        for layer in before:
            if isinstance(layer, Standardize):
                std = layer.std
        largest: Tensor
        largest, _ = _LargestOfEach.apply(input, weight, bias, std, tuple(before), plan)
        return largest

    def _goes_one_by_one(self, convolution: InputConv2d, input: Tensor) -> bool:
        """Whether torch's layers are called: parameters learn, hooks listen, or nothing would be gained."""
        weight = convolution.weight
        bias = convolution.bias
        if weight.requires_grad or (bias is not None and bias.requires_grad):
            return True
        # for torch to say that it is an error
        if dtype_of(input) != dtype_of(weight):
            return True
        if torch.compiler.is_compiling() or not convolution.slow(input):
            return True
        return any(map(has_hooks, self))


def _window(pool: nn.MaxPool2d) -> int:
    """The side of a pool's windows, where these are square and lie side by side; else 0."""
    side = pool.kernel_size
    if not isinstance(side, int) or pool.stride != side:
        return 0
    if pool.padding != 0 or pool.dilation != 1:
        return 0
    if pool.ceil_mode or pool.return_indices:
        return 0
    return side


def has_hooks(layer: nn.Module) -> bool:
    """Whether forward hooks are registered on the layer."""
    return bool(layer._forward_hooks or layer._forward_pre_hooks)


class _LargestOfEach(torch.autograd.Function):
    """The largest values of W * z + b in each window, z the image made ready, and their rows in the table.

    The weights are fixed, and what makes it ready is affine: dz is the frame of zeros around dx/std.
    """

    generate_vmap_rule = True

    @staticmethod
    @with_signature
    def forward(
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        std: Tensor | None,
        before: tuple[nn.Module, ...],
        plan: PatchPlan,
    ) -> tuple[Tensor, Tensor]:
        for layer in before:
            x = layer(x)
        convolved = F.conv2d(x.to(weight.dtype), weight, bias, padding=plan.padding)
        largest, places = F.max_pool2d(convolved, plan.pool, return_indices=True)
        return largest, places.int().add_(plan.first)

    @staticmethod
    def setup_context(
        ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]
    ) -> None:
        x, weight, _, std, _, ctx.plan = inputs
        _, rows = output
        ctx.dtype = x.dtype
        ctx.mark_non_differentiable(rows)
        # else torch makes zeros for as many whole numbers, which nobody asks for
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(weight, std, rows)
        ctx.save_for_forward(weight, std, rows)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, _: Tensor | None) -> Any:
        weight, std, rows = ctx.saved_tensors
        if grad is None:
            gradient = None
        elif torch.is_grad_enabled():
            gradient = _gather_differentiably(grad, weight, rows, ctx.plan)
            gradient = gradient.to(ctx.dtype)
            if std is not None:
                gradient = gradient / std
        else:
            filters = weight if std is None else weight / std
            gradient = ctx.plan.input_gradient(grad, filters, rows).to(ctx.dtype)
        return gradient, None, None, None, None, None

    @staticmethod
    def jvp(ctx: Any, x: Tensor, *_: None) -> tuple[Tensor, None]:
        weight, std, rows = ctx.saved_tensors
        places = (rows - ctx.plan.first).long()
        scaled = x if std is None else x / std
        framed = F.pad(scaled, ctx.plan.frame).to(weight.dtype)
        convolved = F.conv2d(framed, weight, padding=ctx.plan.padding)
        largest = convolved.flatten(2).gather(2, places.flatten(2))
        return largest.unflatten(2, places.shape[2:]), None


def _gather_differentiably(
    grad: Tensor, weight: Tensor, rows: Tensor, plan: PatchPlan
) -> Tensor:
    """``plan.input_gradient`` by torch's own functions, which have derivatives themselves."""
    places = (rows - plan.first).long()
    size = framed_size(plan.size[1:], plan.frame)
    # 1. the gradient of the plane: that of each largest value at its place, 0 elsewhere
    height, width = outputs(size, weight.shape[2:], plan.padding)
    zeros = grad.new_zeros((*grad.shape[:2], height * width))
    plane = zeros.scatter(2, places.flatten(2), grad.flatten(2))
    plane = plane.unflatten(2, (height, width))
    # 2. that of the framed image, and the frame cut off
    framed = input_gradient(plane, weight, torch.Size(size), plan.padding)
    return F.pad(framed, [-n for n in plan.frame])
