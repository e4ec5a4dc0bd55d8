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

    Half of the images, as their bytes have it, begin mirrored: whoever sees two epochs sees both sides of each, where
    chance would show half of them one side twice (Jordan 2024, "94% on CIFAR-10 in 3.29 seconds").
    """

    pad: int = 4
    flip: bool = True

    def __call__(self, x: Tensor, generator: torch.Generator, epoch: int) -> Tensor:
        """One gather for the whole batch: rows and columns are index arrays."""
        batch, _, height, width = x.shape
        require_larger(self.pad, min(height, width))
        padded = functional.pad(x, [self.pad] * 4, mode="reflect")
        shifts = torch.randint(0, 2 * self.pad + 1, (2, batch, 1), generator=generator).to(x.device)
        rows = shifts[0] + torch.arange(height, device=x.device)
        columns = shifts[1] + torch.arange(width, device=x.device)
        if self.flip:
            columns = torch.where(_odd(x) ^ (epoch % 2 == 1), columns.flip(1), columns)
        example = torch.arange(batch, device=x.device)[:, None, None]
        return padded.permute(0, 2, 3, 1)[example, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def require_larger(shift: int, side: int) -> None:
    """Raise a `UsageError` unless images of this side can be moved by the shift: no more than them is reflected."""
    if shift >= side:
        raise UsageError(
            f"images of {side} pixels cannot be moved by up to {shift}, as no more than they show can be "
            f"reflected: take augment=none, a shift of {side - 1} at most, or larger images"
        )


def _odd(x: Tensor) -> Tensor:
    """Whether an image's bytes add up to an odd number: the same in every epoch, in half of all images, (batch, 1)."""
    return (x * 255).round().flatten(1).sum(1, keepdim=True, dtype=torch.float64) % 2 == 1


@final
@attrs.frozen
class Cutout:
    """A square of each image filled with one colour, its centre anywhere (DeVries & Taylor 2017)."""

    side: int
    fill: tuple[float, ...]

    def __call__(self, x: Tensor, generator: torch.Generator, epoch: int) -> Tensor:
        """Two index arrays are compared with the drawn corners; no image is looked at by itself."""
        batch, channels, height, width = x.shape
        first = [
            torch.randint(1 - (self.side + 1) // 2, size - self.side // 2 + 1, (batch, 1), generator=generator)
            for size in (height, width)
        ]
        rows, columns = (
            (torch.arange(size) >= start) & (torch.arange(size) < start + self.side)
            for size, start in zip((height, width), first, strict=True)
        )
        hole = (rows[:, None, :, None] & columns[:, None, None, :]).to(x.device)
        colour = torch.tensor(self.fill or (0.5,) * channels, dtype=x.dtype, device=x.device)
        return torch.where(hole, colour[:, None, None], x)


@final
@attrs.frozen
class InTurn:
    """Several augmentations, one after the other."""

    steps: tuple[Callable[[Tensor, torch.Generator, int], Tensor], ...]

    def __call__(self, x: Tensor, generator: torch.Generator, epoch: int) -> Tensor:
        """They draw from one generator."""
        for step in self.steps:
            x = step(x, generator, epoch)
        return x
