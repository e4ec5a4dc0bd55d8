"""Convolutions on small maps, where torch is slow on a CPU: as a matrix product, or with images side by side."""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustfw.training import hardware
from robustfw_kernels.convolution import (
    Pair,
    autocast,
    even,
    half,
    outputs,
    plain,
    with_signature,
)

NARROW = 4
"""Most columns of a map that is laid side by side with others where weights are fixed."""
SMALL = 8
"""Most columns of such a map where weights learn."""
WIDE = 80
"""Most columns of a strip of maps."""
MANY = 64
"""Images for which it pays to write a filter down as a matrix."""


class HiddenConv2d(nn.Conv2d):
    """`torch.nn.Conv2d`, the same function and the same parameters, for later layers of a net, where maps are small.

    torch goes through each image line by line, and lines of two to eight pixels fill neither a vector nor a matrix
    unit. Where a map is no larger than the filter, the layer is one matrix product instead, for no more arithmetic:
    nearly each output sees nearly each input. For matrix units, on lines of two to four pixels, and of up to eight
    where weights learn, images are laid side by side, zeros between them. Elsewhere it is torch's own; as it is, in
    half precision without such units, on maps as large as the filter.
    """

    def _conv_forward(
        self, input: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        # torch's own method, which its `forward` calls; the parameters may be others of the same shape
        if plain(self, input) and even(self):
            height, width = input.shape[2:]
            rows, columns = self.kernel_size
            padding = cast(Pair, self.padding)
            is_half = half(input)
            has_units = hardware.matrix_units()
            # 1. maps no larger than the filter: a matrix product
            largest = rows * columns
            if is_half and not has_units:
                largest -= 1
            if height * width <= largest and len(input) >= MANY:
                return _product(input, weight, bias, padding)
            # 2. narrow maps on matrix units: images side by side
            narrow = 2 * padding[1] < columns and width <= self._narrow(weight)
            if is_half and has_units and narrow:
                return _side_by_side(input, weight, bias, padding)
        # 3. else torch's own
        return super()._conv_forward(input, weight, bias)

    def _narrow(self, weight: Tensor) -> int:
        """Columns of a map at most where strips are faster: torch's gradient for the weights is its slowest."""
        learns = weight.requires_grad and torch.is_grad_enabled()
        return SMALL if learns else NARROW


def _product(x: Tensor, weight: Tensor, bias: Tensor | None, padding: Pair) -> Tensor:
    """W * x + b by the matrix that maps all pixels of an image to all outputs."""
    rows, columns = outputs(x.shape[2:], weight.shape[2:], padding)
    x, weight, bias = autocast(x, weight, bias)
    matrix: Tensor = _Matrix.apply(weight, tuple(x.shape[2:]), padding)
    biases = None if bias is None else bias.repeat(rows * columns)
    pixels = x.permute(0, 2, 3, 1).flatten(1)
    product = F.linear(pixels, matrix, biases)
    maps = product.view(-1, rows, columns, len(weight))
    return maps.permute(0, 3, 1, 2)


class _Matrix(torch.autograd.Function):
    """W as a matrix, (rows·columns·filters, height·width·channels): W[f, c, i − o + p] from pixel i to output o."""

    generate_vmap_rule = True

    @staticmethod
    @with_signature
    def forward(weight: Tensor, size: Pair, padding: Pair) -> Tensor:
        height, width = size
        rows, columns = outputs(size, weight.shape[2:], padding)
        # 1. the filter among zeros, so that every output sees a window of it
        above = rows - 1 - padding[0]
        left = columns - 1 - padding[1]
        below = height + padding[0] - weight.shape[2]
        right = width + padding[1] - weight.shape[3]
        filters = weight.permute(0, 2, 3, 1)
        padded = F.pad(filters, (0, 0, left, right, above, below))
        # 2. the first output sees what is farthest down the filter
        windows = []
        for i in reversed(range(rows)):
            for j in reversed(range(columns)):
                windows.append(padded[:, i : i + height, j : j + width])
        return torch.stack(windows).flatten(0, 1).flatten(1)

    @staticmethod
    def setup_context(
        ctx: Any, inputs: tuple[Tensor, Pair, Pair], output: Tensor
    ) -> None:
        weight, ctx.size, ctx.padding = inputs
        ctx.shape = weight.shape

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        filters, channels, *kernel = ctx.shape
        rows, columns = outputs(ctx.size, kernel, ctx.padding)
        down, across = ctx.padding
        by_pair = grad.view(rows, columns, filters, *ctx.size, channels)
        # the pairs of an output and a pixel that one number of the filter connects lie on a diagonal
        sums = []
        for i in range(kernel[0]):
            line = by_pair.diagonal(i - down, 0, 3)
            for j in range(kernel[1]):
                pairs = line.diagonal(j - across, 0, 2)
                sums.append(pairs.sum((2, 3)))
        return torch.stack(sums, 2).unflatten(2, kernel), None, None

    @staticmethod
    def jvp(ctx: Any, weight: Tensor, *_: None) -> Tensor:
        matrix: Tensor = _Matrix.forward(weight, ctx.size, ctx.padding)
        return matrix


def _side_by_side(
    x: Tensor, weight: Tensor, bias: Tensor | None, padding: Pair
) -> Tensor:
    """W * x + b of wide images, several in a row, with as many zeros between them as beside them."""
    step = x.shape[3] + padding[1]
    # 1. as many images in a strip as divide the batch
    most = max(1, WIDE // step)
    several = max(n for n in range(1, most + 1) if len(x) % n == 0)
    # 2. strips: (strips, channels, height, several·step)
    padded = F.pad(x, (0, padding[1])).permute(0, 2, 3, 1)
    in_strips = padded.unflatten(0, (-1, several)).transpose(1, 2)
    strips = in_strips.flatten(2, 3).permute(0, 3, 1, 2)
    y = F.conv2d(strips, weight, bias, padding=padding)
    # 3. the outputs of each image
    _, columns = outputs(x.shape[2:], weight.shape[2:], padding)
    missing = several * step - y.shape[3]
    filled = F.pad(y, (0, missing)).permute(0, 2, 3, 1)
    by_image = filled.unflatten(2, (several, step))[:, :, :, :columns]
    images = by_image.transpose(1, 2).flatten(0, 1).permute(0, 3, 1, 2)
    return images.contiguous(memory_format=torch.channels_last)
