"""Where the patches of a pooled convolution lie in the image: tables of indices, made once for each size."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TypeAlias

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor

from robustfw_kernels.convolution import Pair, outputs

Kernel: TypeAlias = tuple[int, int, int, int]
Frame: TypeAlias = tuple[int, int, int, int]
"""What is put around an image, or cut off where it is negative: left, right, above, below."""
AT_A_TIME = 100
"""Images whose patches are added up together, within the cache."""


def framed_size(size: Sequence[int], frame: Frame) -> Pair:
    """Rows and columns of an image with what is put around it."""
    left, right, above, below = frame
    rows, columns = size
    return rows + above + below, columns + left + right


@attrs.frozen(eq=False)
class PatchPlan:
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
def make_plan(
    kernel: Kernel, size: Pair, frame: Frame, padding: Pair, pool: int
) -> PatchPlan:
    """The plan for filters of the shape ``kernel``."""
    filters, channels, height, width = kernel
    plane_height, plane_width = outputs(
        framed_size(size, frame), (height, width), padding
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
    return PatchPlan(
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
    first_row = max(0, -above)
    first_column = max(0, -left)
    end_row = height + min(0, below)
    end_column = width + min(0, right)
    within_height = (i >= first_row) & (i < end_row)
    within_width = (j >= first_column) & (j < end_column)
    seen = (within_height & within_width).flatten()
    pixel = ((c * height + i) * width + j).flatten()[seen]
    # 3. sorted by pixel
    order = pixel.argsort(stable=True)
    parts = seen.nonzero().flatten()[order]
    counts = pixel.bincount(minlength=patch[0] * height * width)
    begins = counts.cumsum(0) - counts
    return parts, begins
