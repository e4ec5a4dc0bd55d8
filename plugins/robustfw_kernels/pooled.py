"""The convolution that reads the image and the pool upon it: their input gradient from the largest values alone."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, TypeAlias, cast

import attrs
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

Kernel: TypeAlias = tuple[int, int, int, int]
Frame: TypeAlias = tuple[int, int, int, int]
"""What is put around an image, or cut off where it is negative: left, right, above, below."""
AT_A_TIME = 100
"""Images whose patches are added up together, within the cache."""


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
        self.frame: Frame = next(
            (layer.padding for layer in before if isinstance(layer, nn.ZeroPad2d)),
            (0, 0, 0, 0),
        )

    @staticmethod
    def fits(layers: nn.Sequential) -> bool:
        """Whether a sequence is of the layers that this class is for."""
        if len(layers) < 2:
            return False
        *before, convolution, pool = layers
        kinds = [type(layer) for layer in before if not isinstance(layer, nn.Identity)]
        known = all(
            kind in (nn.ZeroPad2d, Standardize, ChannelsLast) and kinds.count(kind) == 1
            for kind in kinds
        )
        return (
            known
            and type(convolution) is InputConv2d
            and type(pool) is nn.MaxPool2d
            and _window(pool) > 0
        )

    def forward(self, input: Tensor) -> Tensor:
        *before, layer, pool = self
        convolution = cast(InputConv2d, layer)
        weight, bias = convolution.weight, convolution.bias
        learning = weight.requires_grad or (bias is not None and bias.requires_grad)
        unlike = dtype_of(input) != dtype_of(
            weight
        )  # for torch to say that it is an error
        apart = (
            learning
            or unlike
            or torch.compiler.is_compiling()
            or not convolution.slow(input)
        )
        if apart or any(map(has_hooks, self)):
            for layer in before:
                input = layer(input)
            return cast(Tensor, pool(convolution(input)))
        form = self.frame, cast(Pair, convolution.padding), self.windows
        plan = _plan(
            cast(Kernel, tuple(weight.shape)), cast(Pair, tuple(input.shape[2:])), *form
        )
        _, weight, bias = autocast(
            input, weight, bias
        )  # the gradient of the image need not be rounded to it
        std = next(
            (layer.std for layer in before if isinstance(layer, Standardize)), None
        )
        largest: Tensor = _LargestOfEach.apply(
            input, weight, bias, std, tuple(before), plan
        )[0]
        return largest


def _window(pool: nn.MaxPool2d) -> int:
    """The side of a pool's windows, where these are square and lie side by side; else 0."""
    side = pool.kernel_size
    plain_windows = (
        isinstance(side, int)
        and pool.stride == side
        and (pool.padding, pool.dilation) == (0, 1)
    )
    return (
        cast(int, side)
        if plain_windows and not pool.ceil_mode and not pool.return_indices
        else 0
    )


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
        plan: _Plan,
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
        ctx.dtype = x.dtype
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(
            False
        )  # of as many whole numbers that nobody asks for
        ctx.save_for_backward(weight, std, output[1])
        ctx.save_for_forward(weight, std, output[1])

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, _: Tensor | None) -> Any:
        weight, std, rows = ctx.saved_tensors
        if grad is None:
            found = None
        elif torch.is_grad_enabled():
            found = _gather_differentiably(grad, weight, rows, ctx.plan).to(ctx.dtype)
            found = found if std is None else found / std
        else:
            found = ctx.plan.input_gradient(
                grad, weight if std is None else weight / std, rows
            ).to(ctx.dtype)
        return found, None, None, None, None, None

    @staticmethod
    def jvp(ctx: Any, x: Tensor, *_: None) -> tuple[Tensor, None]:
        weight, std, rows = ctx.saved_tensors
        places = (rows - ctx.plan.first).long()
        ready = F.pad(x if std is None else x / std, ctx.plan.frame).to(weight.dtype)
        moved = F.conv2d(ready, weight, padding=ctx.plan.padding).flatten(2)
        return moved.gather(2, places.flatten(2)).unflatten(2, places.shape[2:]), None


def _gather_differentiably(
    grad: Tensor, weight: Tensor, rows: Tensor, plan: _Plan
) -> Tensor:
    """``plan.input_gradient`` by torch's own functions, which have derivatives themselves."""
    places, size = (rows - plan.first).long(), _framed_size(plan.size[1:], plan.frame)
    plane = outputs(size, weight.shape[2:], plan.padding)
    values = grad.new_zeros((*grad.shape[:2], plane[0] * plane[1]))
    values = values.scatter(2, places.flatten(2), grad.flatten(2)).unflatten(2, plane)
    return F.pad(
        input_gradient(values, weight, torch.Size(size), plan.padding),
        [-n for n in plan.frame],
    )


def _framed_size(size: Sequence[int], frame: Frame) -> Pair:
    """Rows and columns of an image with what is put around it."""
    left, right, above, below = frame
    return size[0] + above + below, size[1] + left + right


@attrs.frozen(eq=False)
class _Plan:
    """Where everything goes, for images of one size and filters of one.

    A patch is what a window's largest value of one filter has of the image: the filter, moved to that place.
    """

    size: tuple[int, int, int]
    """Of an image: channels, rows, columns."""
    frame: Frame
    padding: Pair
    pool: int
    first: Tensor
    """(1, filters, rows, columns): what to add to a place in the plane for its row of the table."""
    numbers: Tensor
    """(rows, numbers in a patch): which of the filters' numbers the table has there,"""
    seen: Tensor
    """and whether it has one, 1 or 0."""
    bags: Tensor
    """Where the windows of `AT_A_TIME` images begin, each with a row for each filter."""
    parts: Tensor
    """Which numbers of the windows' patches a pixel is the sum of, for one pixel after the other."""
    begins: Tensor
    """(pixels,): where in ``parts`` it begins."""

    def input_gradient(self, grad: Tensor, weight: Tensor, rows: Tensor) -> Tensor:
        """∂J/∂x from the gradient of the largest values, in fp32 at least: of each window a patch, all added up."""
        if not grad.numel():
            return grad.new_zeros((len(grad), *self.size))
        precise = torch.promote_types(
            grad.dtype, torch.float32
        )  # sums of hundreds of numbers
        numbers = weight.flatten().to(precise).index_select(0, self.numbers.flatten())
        table = numbers.view_as(self.numbers).mul_(self.seen)
        if len(grad) <= AT_A_TIME:
            return self._sum_patches(grad.to(precise), table, rows)
        parts = zip(grad.split(AT_A_TIME), rows.split(AT_A_TIME), strict=True)
        return torch.cat(
            [self._sum_patches(grad.to(precise), table, rows) for grad, rows in parts]
        )

    def _sum_patches(self, grad: Tensor, table: Tensor, rows: Tensor) -> Tensor:
        """The same for a table that is made, and images that fit into the cache."""
        batch, bags = len(grad), self.bags[: len(grad) * grad.shape[2] * grad.shape[3]]
        shares, rows = (of.permute(0, 2, 3, 1).flatten() for of in (grad, rows))
        patches = F.embedding_bag(
            rows, table, bags, mode="sum", per_sample_weights=shares
        )
        patches = patches.view(batch, -1, table.shape[1]).permute(1, 2, 0).contiguous()
        of_all = patches.view(
            -1, batch
        )  # a vector holds the same number of several images
        pixels = F.embedding_bag(self.parts, of_all, self.begins, mode="sum")
        return (
            pixels.t().view(batch, *self.size).contiguous()
        )  # as what it is compared with; of two sides only: slow


@functools.lru_cache(maxsize=16)
def _plan(kernel: Kernel, size: Pair, frame: Frame, padding: Pair, pool: int) -> _Plan:
    """The plan for filters of the shape ``kernel``."""
    filters, channels, *sides = kernel
    planes = outputs(_framed_size(size, frame), sides, padding)
    windows = [n // pool for n in planes]
    patch = [channels, *(n + pool - 1 for n in sides)]
    # Filters share lines of the table as windows do those of the plane: place to row is an addition.
    several, block = max(windows[1], 1), pool * planes[1]
    filter_, (down, across) = (
        torch.arange(filters),
        (pool * torch.arange(n) for n in windows),
    )
    first = (filter_ // several * block + filter_ % several * pool)[:, None, None]
    first = (first - down[:, None] * planes[1] - across).int()
    row = torch.arange(-(-filters // several) * block)[:, None, None, None]
    of_filter, (line, column) = (
        row // block * several + row % planes[1] // pool,
        (row // planes[1], row % planes[1]),
    )
    c, i, j = torch.meshgrid(*map(torch.arange, patch), indexing="ij")
    i, j = (
        i - line % pool,
        j - column % pool,
    )  # within the filter, which has moved to its place
    seen = (column < several * pool) & (of_filter < filters)
    seen = seen & (i >= 0) & (i < sides[0]) & (j >= 0) & (j < sides[1])
    numbers = (((of_filter * channels + c) * sides[0] + i) * sides[1] + j) * seen
    return _Plan(
        (channels, *size),
        frame,
        padding,
        pool,
        first[None].contiguous(
            memory_format=torch.channels_last
        ),  # as places mostly are
        numbers.flatten(1),
        seen.flatten(1).float(),
        filters * torch.arange(AT_A_TIME * windows[0] * windows[1], dtype=torch.int32),
        *_parts(patch, windows, size, frame, padding, pool),
    )


def _parts(
    patch: list[int],
    windows: list[int],
    size: Pair,
    frame: Frame,
    padding: Pair,
    pool: int,
) -> tuple[Tensor, Tensor]:
    """For each pixel the numbers of patches that lie on it, and where those of a pixel begin."""
    down, across, c, i, j = torch.meshgrid(
        *map(torch.arange, [*windows, *patch]), indexing="ij"
    )
    left, right, above, below = frame
    i, j = i + pool * down - padding[0] - above, j + pool * across - padding[1] - left
    seen = (i >= max(0, -above)) & (
        i < size[0] + min(0, below)
    )  # what is cut off has no part, if zeros take its place
    seen = (seen & (j >= max(0, -left)) & (j < size[1] + min(0, right))).flatten()
    pixel = ((c * size[0] + i) * size[1] + j).flatten()[seen]
    counts = pixel.bincount(minlength=patch[0] * size[0] * size[1])
    return seen.nonzero().flatten()[pixel.argsort(stable=True)], counts.cumsum(
        0
    ) - counts
