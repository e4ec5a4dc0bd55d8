"""Augmentations of whole batches, as tensor operations."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import attrs
import torch
from torch import Tensor
from torch.nn import functional

from robustfw import UsageError


@final
@attrs.frozen
class Crop:
    """Each image moved by up to ``pad`` pixels, reflected at the border, and mirrored in every other epoch.

    Half of the images, chosen by a checksum of their pixels, begin mirrored: two epochs show both sides of each image,
    where chance would show half of them one side twice (Jordan 2024, "94% on CIFAR-10 in 3.29 seconds").
    """

    pad: int = 4
    """The most pixels by which an image moves."""
    flip: bool = True
    """Whether images are mirrored."""

    def __call__(self, x: Tensor, generator: torch.Generator, epoch: int) -> Tensor:
        """The augmented batch, by one gather: rows and columns are index arrays.

        Args:
            x: images, (batch, channels, height, width).
            generator: draws the shifts.
            epoch: whose parity decides which images are mirrored.
        """
        batch, _, height, width = x.shape
        require_larger(self.pad, min(height, width))
        padded = functional.pad(x, [self.pad] * 4, mode="reflect")
        # 1. the rows and columns of the padded image that each image shows
        most = 2 * self.pad
        shifts = torch.randint(0, most + 1, (2, batch, 1), generator=generator)
        down, right = shifts.to(x.device)
        rows = down + torch.arange(height, device=x.device)
        columns = right + torch.arange(width, device=x.device)
        if self.flip:
            mirrored = _has_odd_sum(x) ^ (epoch % 2 == 1)
            columns = torch.where(mirrored, columns.flip(1), columns)
        # 2. one gather, with channels last
        example = torch.arange(batch, device=x.device)[:, None, None]
        pixels = padded.permute(0, 2, 3, 1)
        shown = pixels[example, rows[:, :, None], columns[:, None, :]]
        return shown.permute(0, 3, 1, 2)


def require_larger(shift: int, side: int) -> None:
    """Raise a `UsageError` unless the shift is less than the side of an image, as much as can be reflected."""
    if shift >= side:
        raise UsageError(
            f"images of {side} pixels cannot be moved by up to {shift}, as no more than they show can be "
            f"reflected: take augment=none, a shift of {side - 1} at most, or larger images"
        )


def _has_odd_sum(x: Tensor) -> Tensor:
    """Whether an image's bytes have an odd sum, (batch, 1): so in half of all images, and in every epoch."""
    values = (x * 255).round().flatten(1)
    total = values.sum(1, keepdim=True, dtype=torch.float64)
    return total % 2 == 1


@final
@attrs.frozen
class Cutout:
    """A square of each image filled with one colour, its centre anywhere (DeVries & Taylor 2017)."""

    side: int
    """Side of the square in pixels; a part of it may lie outside of the image."""
    fill: tuple[float, ...]
    """The colour, one number for each channel; empty: 0.5 in all."""

    def __call__(self, x: Tensor, generator: torch.Generator, epoch: int) -> Tensor:
        """The augmented batch: index arrays are compared with the corners of all squares at once.

        Args:
            x: images, (batch, channels, height, width).
            generator: draws the squares.
            epoch: not used.
        """
        batch, channels, height, width = x.shape
        masks = []
        for size in (height, width):
            least = 1 - (self.side + 1) // 2
            most = size - self.side // 2
            start = torch.randint(least, most + 1, (batch, 1), generator=generator)
            end = start + self.side
            places = torch.arange(size)
            masks.append((places >= start) & (places < end))
        rows, columns = masks
        hole = rows[:, None, :, None] & columns[:, None, None, :]
        hole = hole.to(x.device)
        fill = self.fill or (0.5,) * channels
        colour = torch.tensor(fill, dtype=x.dtype, device=x.device)
        return torch.where(hole, colour[:, None, None], x)


@final
@attrs.frozen
class InTurn:
    """Several augmentations, one after the other."""

    steps: tuple[Callable[[Tensor, torch.Generator, int], Tensor], ...]

    def __call__(self, x: Tensor, generator: torch.Generator, epoch: int) -> Tensor:
        """The batch after all steps, which draw from one generator.

        Args:
            x: images, (batch, channels, height, width).
            generator: draws what the steps need.
            epoch: the number of the epoch.
        """
        for step in self.steps:
            x = step(x, generator, epoch)
        return x
