"""Convolutions of few channels: with the input gradient at which torch is slow on a CPU."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustfw.training import hardware

Forward = TypeVar("Forward", bound=Callable[..., Any])
Pair = tuple[int, int]
TOGETHER = 16
"""Numbers that a CPU works on at a time."""


class InputConv2d(nn.Conv2d):
    """`torch.nn.Conv2d`, the same function and the same parameters, for the first layer of a net.

    An attack needs ∂J/∂x. With respect to an input of one or three channels torch takes longer than for the rest of a
    small net: it runs a convolution with one or three filters, and a CPU works on sixteen at a time. Here the gradient
    for a block of pixels, 4x4 or 2x2, is one output of so many channels (`input_gradient`). Where there is none to
    compute, and on other devices, it is torch's own; also in half precision where matrix units make that fast.
    """

    def forward(self, input: Tensor) -> Tensor:
        return _convolve(self, input) if self.pays(input) else super().forward(input)

    def pays(self, input: Tensor) -> bool:
        """Whether the gradient by blocks is faster than torch's."""
        return self.slow(input) and not (half(input) and hardware.matrix_units())

    def slow(self, input: Tensor) -> bool:
        """Whether there is a gradient to compute with which torch is slow, save for matrix units."""
        return (
            plain(self, input)
            and input.requires_grad
            and _side(self.in_channels) > 1
            and even(self)
        )


def plain(layer: nn.Conv2d, input: Tensor) -> bool:
    """Whether the layer is one that is computed here: on a CPU, of batches, without groups, padded by zeros."""
    simple = (
        layer.groups == 1
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
    )
    return simple and input.dim() == 4 and input.device.type == "cpu"


def even(layer: nn.Conv2d) -> bool:
    """Whether a step over the output is one over the input."""
    return tuple(layer.stride) == tuple(layer.dilation) == (1, 1)


def outputs(size: Sequence[int], kernel: Sequence[int], padding: Pair) -> Pair:
    """Rows and columns of what a filter, moved by single pixels, makes of a map."""
    rows = size[0] + 2 * padding[0] - kernel[0] + 1
    columns = size[1] + 2 * padding[1] - kernel[1] + 1
    return rows, columns


def dtype_of(input: Tensor) -> torch.dtype:
    """The type that a layer computes in."""
    if torch.is_autocast_enabled("cpu"):
        return torch.get_autocast_dtype("cpu")
    return input.dtype


def half(input: Tensor) -> bool:
    """Whether a layer computes in half precision."""
    return dtype_of(input) in (torch.float16, torch.bfloat16)


def autocast(
    x: Tensor, weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """In the precision that autocast asks for, if any: a Function's own code is not cast for it."""
    if not torch.is_autocast_enabled("cpu"):
        return x, weight, bias
    dtype = dtype_of(x)
    cast_bias = None if bias is None else bias.to(dtype)
    return x.to(dtype), weight.to(dtype), cast_bias


def _convolve(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """What the layer makes of x."""
    form = (layer.stride, layer.padding, layer.dilation)
    x, weight, bias = autocast(x, layer.weight, layer.bias)
    convolved: Tensor = _Convolution.apply(x, weight, bias, *form)
    return convolved


def with_signature(function: Forward) -> Forward:
    """The forward function of a torch Function, which asks for its signature at each call: here it is."""
    # inspect looks there first
    vars(function)["__signature__"] = inspect.signature(function)
    return function


class _Convolution(torch.autograd.Function):
    """y = W * x + b, differentiable as often as one likes, forwards as well; ∂J/∂x is `input_gradient`."""

    generate_vmap_rule = True

    @staticmethod
    @with_signature
    def forward(
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: Pair,
        padding: Pair,
        dilation: Pair,
    ) -> Tensor:
        return F.conv2d(x, weight, bias, stride, padding, dilation)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, weight, bias, *ctx.form = inputs
        ctx.save_for_backward(x, weight)
        ctx.save_for_forward(x, weight)
        ctx.biased = bias is not None

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad[:3]
        wanted = [False, of_weight, of_bias]
        gradients = _gradients(grad, x, weight, *ctx.form, wanted=wanted)
        if of_x:
            _, padding, _ = ctx.form
            gradients[0] = input_gradient(grad, weight, x.shape[2:], padding)
        return (*gradients, None, None, None)

    @staticmethod
    def jvp(
        ctx: Any, x: Tensor | None, weight: Tensor | None, bias: Tensor | None, *_: None
    ) -> Tensor | None:
        image, kernel = ctx.saved_tensors
        total = None
        if x is not None:
            total = F.conv2d(x, kernel, None, *ctx.form)
        if weight is not None:
            change = F.conv2d(image, weight, None, *ctx.form)
            total = change if total is None else total + change
        if bias is not None:
            change = bias[:, None, None]
            total = change + (0 if total is None else total)
        return total


def _gradients(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    *,
    wanted: list[bool],
) -> list[Tensor | None]:
    """torch's gradients with respect to x, weight and bias, as far as they are wanted."""
    if not any(wanted):
        return [None, None, None]
    form = (stride, padding, dilation, False, (0, 0), 1)
    backward = torch.ops.aten.convolution_backward
    return list(backward(grad, x, weight, [len(weight)], *form, wanted))


def input_gradient(
    grad: Tensor, weight: Tensor, size: torch.Size, padding: Pair
) -> Tensor:
    """∂J/∂x of a convolution of stride 1, for blocks of side² pixels: a convolution of ∂J/∂y by that stride.

    What pixels of one block have of the outputs around them are the channels of one output: the filter, turned round,
    at each place of the block.
    """
    channels, *kernel = weight.shape[1:]
    height, width = size
    side = _side(channels)
    # 1. the filters of all places of a block, (channels·side², filters, *patch)
    placed = place_filters(weight.flip(2, 3), side)
    weights = placed.permute(1, 2, 3, 0, 4, 5).flatten(0, 2)
    # 2. the edges, where blocks need not end with the image; a convolution pads both ends alike
    above = kernel[0] - 1 - padding[0]
    left = kernel[1] - 1 - padding[1]
    below = above + -height % side
    right = left + -width % side
    if (above, left) != (below, right) or min(above, left) < 0:
        grad = F.pad(grad, (left, right, above, below))
        above = left = 0
    # 3. the blocks, their pixels put in place
    blocks = F.conv2d(grad, weights, stride=side, padding=(above, left))
    return F.pixel_shuffle(blocks, side)[..., :height, :width]


def _side(channels: int) -> int:
    """The side of blocks of as many numbers as a CPU works on at a time."""
    return math.isqrt(TOGETHER // channels)


def place_filters(weight: Tensor, places: int) -> Tensor:
    """Each filter at each place of a block of places² pixels: (filters, channels, places, places, *patch).

    A patch holds what the filters of all places see: [f, c, i, j] is filter (f, c), i rows down and j columns to the
    right, and 0 elsewhere.
    """
    rows, columns = (n + places - 1 for n in weight.shape[2:])
    padded = F.pad(weight, [places - 1] * 4)
    windows = padded.unfold(2, rows, 1).unfold(3, columns, 1)
    # the window that begins first is the one whose filter is farthest down
    return windows.flip(2, 3)
