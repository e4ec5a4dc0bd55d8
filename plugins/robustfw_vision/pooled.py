"""The convolution that reads the image and the pool upon it: their input gradient from the largest values alone."""

from __future__ import annotations

import functools
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustfw_vision.convolution import InputConv2d, Pair, autocast, blocked, moved


class PooledInputConv2d(nn.Sequential):
    """A convolution and a max pool of windows that do not overlap, `torch.nn`'s functions of the same parameters.

    Of a window's values only the largest one has a gradient. With respect to the image it is so many times the filter
    of its channel, moved to its place: for each window a weighted sum of rows of a small table, rather than a product
    with a matrix of which all but one in pool² entries are 0. That is for attacks: where the weights are to have a
    gradient, or somebody listens to the layers, they go one by one; and where matrix units make the product faster.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, *, pool: int, padding: int = 0) -> None:
        super().__init__(InputConv2d(in_channels, out_channels, kernel_size, padding=padding), nn.MaxPool2d(pool))
        self.windows = pool

    def forward(self, input: Tensor) -> Tensor:
        convolution = cast(InputConv2d, self[0])
        learning = any(parameter.requires_grad for parameter in self.parameters())
        if learning or not convolution.pays(input) or any(map(heard, self)):
            return cast(Tensor, self[1](convolution(input)))
        tensors = autocast(input, convolution.weight, convolution.bias)
        largest: Tensor = _LargestOfEach.apply(*tensors, convolution.padding, self.windows)[0]
        return largest


def heard(layer: nn.Module) -> bool:
    """Whether a hook waits for the layer's call."""
    return bool(layer._forward_hooks or layer._forward_pre_hooks)


class _LargestOfEach(torch.autograd.Function):
    """The largest values of W * x + b in each window, and their places in the plane, for weights that are fixed."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None, padding: Pair, pool: int) -> tuple[Tensor, Tensor]:
        largest, places = F.max_pool2d(F.conv2d(x, weight, bias, padding=padding), pool, return_indices=True)
        return largest, places

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        x, weight, _, ctx.padding, ctx.pool = inputs
        ctx.size = x.shape[2:]
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(weight, output[1])
        ctx.save_for_forward(weight, output[1])

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> Any:
        weight, places = ctx.saved_tensors
        if torch.is_grad_enabled():
            side = [n + 2 * p - k + 1 for n, p, k in zip(ctx.size, ctx.padding, weight.shape[2:], strict=True)]
            plane = grad.new_zeros((*grad.shape[:2], side[0] * side[1]))
            plane = plane.scatter(2, places.flatten(2), grad.flatten(2)).unflatten(2, side)
            found = blocked(plane, weight, ctx.size, ctx.padding)
        else:
            found = _gathered(grad, weight, places, ctx.size, ctx.padding, ctx.pool)
        return found, None, None, None, None

    @staticmethod
    def jvp(ctx: Any, x: Tensor, *_: None) -> tuple[Tensor, None]:
        weight, places = ctx.saved_tensors
        moved = F.conv2d(x, weight, padding=ctx.padding).flatten(2)
        return moved.gather(2, places.flatten(2)).unflatten(2, places.shape[2:]), None


def _gathered(grad: Tensor, weight: Tensor, places: Tensor, size: torch.Size, padding: Pair, pool: int) -> Tensor:
    """∂J/∂x from the gradient of the largest values: of each window a patch, and the patches added up."""
    batch, filters, *windows = grad.shape
    if not grad.numel():
        return grad.new_zeros((batch, weight.shape[1], *size))
    rows = _within_window(size[1] + 2 * padding[1] - weight.shape[3] + 1, places, pool)
    precise = torch.promote_types(grad.dtype, torch.float32)  # sums of hundreds of numbers
    shares = grad.permute(0, 2, 3, 1).reshape(-1, filters).to(precise)
    table = moved(weight, pool).permute(0, 2, 3, 1, 4, 5).flatten(0, 2).flatten(1).to(precise)
    patches = F.embedding_bag(rows, table, mode="sum", per_sample_weights=shares)
    patches = patches.view(batch, windows[0] * windows[1], -1).transpose(1, 2)
    sides = tuple(side + pool - 1 for side in weight.shape[2:])
    # One image of many channels: a call for each image would take longer than its additions.
    whole = F.fold(patches.reshape(1, -1, patches.shape[2]), tuple(size), sides, padding=padding, stride=pool)
    return whole.view(batch, weight.shape[1], *size).to(grad)


def _within_window(width: int, places: Tensor, pool: int) -> Tensor:
    """Which row of the table each largest value takes: its filter's, and of these its place's within its window."""
    filters = places.shape[1]
    of_place, first = _numbered(width, int(places.shape[2]) * pool + pool, filters, pool)
    return of_place.index_select(0, places.permute(0, 2, 3, 1).flatten()).view(-1, filters) + first


@functools.lru_cache(maxsize=16)
def _numbered(width: int, rows: int, filters: int, pool: int) -> tuple[Tensor, Tensor]:
    """For each place of a plane its number within its window, (rows · width,), and each filter's first row."""
    plane = torch.arange(rows * width, dtype=torch.int32)
    return plane // width % pool * pool + plane % width % pool, torch.arange(filters, dtype=torch.int32) * pool**2
