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
        plan = _plan(kernel, size, self.frame, padding, self.windows)
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
    grad: Tensor, weight: Tensor, rows: Tensor, plan: _Plan
) -> Tensor:
    """``plan.input_gradient`` by torch's own functions, which have derivatives themselves."""
    places = (rows - plan.first).long()
    size = _framed_size(plan.size[1:], plan.frame)
    # 1. the gradient of the plane: that of each largest value at its place, 0 elsewhere
    height, width = outputs(size, weight.shape[2:], plan.padding)
    zeros = grad.new_zeros((*grad.shape[:2], height * width))
    plane = zeros.scatter(2, places.flatten(2), grad.flatten(2))
    plane = plane.unflatten(2, (height, width))
    # 2. that of the framed image, and the frame cut off
    framed = input_gradient(plane, weight, torch.Size(size), plan.padding)
    return F.pad(framed, [-n for n in plan.frame])


def _framed_size(size: Sequence[int], frame: Frame) -> Pair:
    """Rows and columns of an image with what is put around it."""
    left, right, above, below = frame
    rows, columns = size
    return rows + above + below, columns + left + right


@attrs.frozen(eq=False)
class _Plan:
    """Where everything goes, for images of one size and filters of one.

    A patch is what a window's largest value of one filter has of the image: the filter, moved to that place.
    """

    size: tuple[int, int, int]
    """Channels, rows and columns of an image."""
    frame: Frame
    padding: Pair
    pool: int
    first: Tensor
    """(1, filters, rows, columns): what to add to a place in the plane for its row of the table."""
    numbers: Tensor
    """(rows, patch): index into the flattened weights of the filters."""
    seen: Tensor
    """(rows, patch): 1 where that entry is valid, else 0."""
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
        # 1. the table of patches, for sums of hundreds of numbers
        precise = torch.promote_types(grad.dtype, torch.float32)
        weights = weight.flatten().to(precise)
        entries = weights.index_select(0, self.numbers.flatten())
        table = entries.view_as(self.numbers).mul_(self.seen)
        # 2. their sums, for as many images at a time as fit into the cache
        if len(grad) <= AT_A_TIME:
            return self._sum_patches(grad.to(precise), table, rows)
        parts = zip(grad.split(AT_A_TIME), rows.split(AT_A_TIME), strict=True)
        sums = [
            self._sum_patches(part.to(precise), table, part_rows)
            for part, part_rows in parts
        ]
        return torch.cat(sums)

    def _sum_patches(self, grad: Tensor, table: Tensor, rows: Tensor) -> Tensor:
        """∂J/∂x of images that fit into the cache, by the table of patches."""
        batch, _, height, width = grad.shape
        # 1. for each window the weighted sum of one row of the table for each filter
        bags = self.bags[: batch * height * width]
        shares = grad.permute(0, 2, 3, 1).flatten()
        rows = rows.permute(0, 2, 3, 1).flatten()
        patches = F.embedding_bag(
            rows, table, bags, mode="sum", per_sample_weights=shares
        )
        # 2. images last, so that a vector of the CPU holds the same number of several images
        patches = patches.view(batch, -1, table.shape[1])
        patches = patches.permute(1, 2, 0).contiguous()
        # 3. for each pixel the sum of the parts of patches that lie on it
        pixels = F.embedding_bag(
            self.parts, patches.view(-1, batch), self.begins, mode="sum"
        )
        # in the order of the image that it is compared with: strided tensors are slow
        return pixels.t().view(batch, *self.size).contiguous()


@functools.lru_cache(maxsize=16)
def _plan(kernel: Kernel, size: Pair, frame: Frame, padding: Pair, pool: int) -> _Plan:
    """The plan for filters of the shape ``kernel``."""
    filters, channels, height, width = kernel
    plane_height, plane_width = outputs(
        _framed_size(size, frame), (height, width), padding
    )
    windows_down = plane_height // pool
    windows_across = plane_width // pool
    patch = [channels, height + pool - 1, width + pool - 1]
    # 1. filters share lines of the table as windows do those of the plane: place to row is an addition
    per_block = max(windows_across, 1)
    block = pool * plane_width
    number = torch.arange(filters)
    down = pool * torch.arange(windows_down)
    across = pool * torch.arange(windows_across)
    filter_begin = number // per_block * block + number % per_block * pool
    window_begin = down[:, None] * plane_width + across
    first = (filter_begin[:, None, None] - window_begin).int()
    # 2. the filter of each row of the table, and the place within the window that the row is for
    blocks = -(-filters // per_block)
    row = torch.arange(blocks * block)[:, None, None, None]
    line = row // plane_width
    column = row % plane_width
    filter_of_row = row // block * per_block + column // pool
    # 3. the entries of the patch within the filter, which has moved to its place
    c, i, j = torch.meshgrid(*map(torch.arange, patch), indexing="ij")
    i = i - line % pool
    j = j - column % pool
    has_filter = (column < per_block * pool) & (filter_of_row < filters)
    within_height = (i >= 0) & (i < height)
    within_width = (j >= 0) & (j < width)
    seen = has_filter & within_height & within_width
    channel = filter_of_row * channels + c
    numbers = ((channel * height + i) * width + j) * seen
    # 4. where the windows of as many images begin, each with a row for each filter
    windows = [windows_down, windows_across]
    most = AT_A_TIME * windows_down * windows_across
    bags = filters * torch.arange(most, dtype=torch.int32)
    parts, begins = _parts(patch, windows, size, frame, padding, pool)
    return _Plan(
        size=(channels, *size),
        frame=frame,
        padding=padding,
        pool=pool,
        # in the order that places mostly have
        first=first[None].contiguous(memory_format=torch.channels_last),
        numbers=numbers.flatten(1),
        seen=seen.flatten(1).float(),
        bags=bags,
        parts=parts,
        begins=begins,
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
    height, width = size
    left, right, above, below = frame
    # 1. the pixel under each number of each window's patch
    axes = [torch.arange(n) for n in (*windows, *patch)]
    down, across, c, i, j = torch.meshgrid(*axes, indexing="ij")
    i = i + pool * down - padding[0] - above
    j = j + pool * across - padding[1] - left
    # 2. those within the image; what is cut off has no part, if zeros take its place
    within_height = (i >= max(0, -above)) & (i < height + min(0, below))
    within_width = (j >= max(0, -left)) & (j < width + min(0, right))
    seen = (within_height & within_width).flatten()
    pixel = ((c * height + i) * width + j).flatten()[seen]
    # 3. sorted by pixel
    order = pixel.argsort(stable=True)
    parts = seen.nonzero().flatten()[order]
    counts = pixel.bincount(minlength=patch[0] * height * width)
    begins = counts.cumsum(0) - counts
    return parts, begins
