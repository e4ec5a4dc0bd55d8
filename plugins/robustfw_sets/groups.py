"""Balls of groups of coordinates: the sum or the maximum of the groups' ℓ2 lengths, within the data range."""

from __future__ import annotations

from typing import Literal, final

import attrs
import torch
from torch import Tensor

from robustfw import UsageError
from robustfw.regions import exact, normal_like, uniform_like
from robustfw_sets.boxed import BoxedRegion, infinite_sides
from robustfw_sets.pieces import (
    TINY,
    project_maximum,
    project_sum,
    support_maximum,
    support_sum,
)


class GroupLayout:
    """The division of coordinates into groups."""

    def __init__(self, label: Tensor) -> None:
        """``label`` is the number of the group of each coordinate, (d,), from 0 on."""
        count = int(label.max()) + 1
        sizes = torch.bincount(label, minlength=count)
        # coordinates sorted by group: each group is a stretch of them
        order = label.argsort(stable=True)
        starts = sizes.cumsum(0) - sizes
        offsets = torch.arange(int(sizes.max()))
        positions = (starts[:, None] + offsets).clamp(max=len(label) - 1)
        within_group = offsets < sizes[:, None]
        self.index = torch.where(within_group, order[positions], len(label))
        """The coordinates of each group, (groups, largest size), with d where a group is smaller."""

    def split(self, rows: Tensor) -> Tensor:
        """Rows (batch, d) as groups (batch, groups, largest size), with 0 where a group is smaller."""
        padded = torch.cat([rows, torch.zeros_like(rows[:, :1])], 1)
        return padded[:, self.index.to(rows.device)]

    def join(self, groups: Tensor) -> Tensor:
        """Groups (batch, groups, largest size) as rows (batch, d)."""
        width = self.index.numel()
        if self._has_padding():
            width = int((self.index < self.index.max()).sum())
        rows = groups.new_zeros(len(groups), width + 1)
        rows[:, self.index.flatten().to(groups.device)] = groups.flatten(1)
        return rows[:, :width]

    def _has_padding(self) -> bool:
        """Whether some group is smaller than the largest one."""
        largest = self.index.max()
        repeated = self.index.flatten().bincount()[-1] > 1
        return bool(self.index.numel() > largest + 1 or repeated)


def labels(
    shape: tuple[int, ...], kind: Literal["pixel", "block", "channel"], side: int
) -> Tensor:
    """The number of the group of each coordinate of an example, (d,).

    Args:
        shape: shape of one example, channels first.
        kind: a group is a pixel with all its channels, a square block of pixels with all channels, or a channel.
        side: side of a block, in pixels.

    Raises:
        UsageError: the kind is "block", and examples are no images.
    """
    channels, *places = shape
    pixels = torch.Size(places).numel()
    if kind == "channel":
        return torch.arange(channels).repeat_interleave(max(1, pixels))
    if kind == "pixel":
        return torch.arange(pixels).repeat(channels)
    if len(places) != 2:
        raise UsageError(
            f"blocks need images (channels, height, width), not examples of shape {shape}"
        )
    height, width = places
    across = -(-width // side)
    block_row = torch.arange(height) // side
    block_column = torch.arange(width) // side
    block = block_row[:, None] * across + block_column
    return block.flatten().repeat(channels)


@final
@attrs.frozen(eq=False)
class GroupBall(BoxedRegion):
    """{Σ_g ‖δ_g‖₂ ≤ r} ∩ box, or {max_g ‖δ_g‖₂ ≤ r} ∩ box."""

    layout: GroupLayout
    norm: str
    """The norm of the lengths of the groups: "sum" or "max"."""

    @classmethod
    def at(cls, x: Tensor, label: Tensor, norm: str, radius: float) -> GroupBall:
        """The ball of this radius at every row of x, without a box.

        Args:
            x: examples (batch, *shape).
            label: the number of the group of each coordinate, (d,), see `labels`.
            norm: "sum" or "max".
            radius: r.
        """
        like = x.detach()
        lower, upper = infinite_sides(like)
        radii = lower.new_full((len(x), 1), radius)
        return cls(like, radii, lower, upper, GroupLayout(label), norm)

    def violation(self, delta: Tensor) -> Tensor:
        """The larger of the norm − r, without rounding, and the distance from the box; (batch,)."""
        point = self._rows(delta)
        beyond_ball = self._excess(self.layout.split(point))
        beyond_box = self._box_violation(point)
        return torch.maximum(beyond_ball, beyond_box).to(delta.dtype)

    def _excess(self, groups: Tensor) -> Tensor:
        """The norm − r where it is more than rounding, else 0, (batch,)."""
        radius = self.radius[:, 0]
        excess = self._norm(groups) - radius
        rounding = 16 * torch.finfo(groups.dtype).eps * radius
        return torch.where(excess > rounding, excess, 0)

    def _norm(self, groups: Tensor) -> Tensor:
        """The norm of groups (batch, groups, size), (batch,)."""
        lengths = torch.linalg.vector_norm(groups, dim=2)
        return lengths.sum(1) if self.norm == "sum" else lengths.amax(1)

    def project(self, point: Tensor) -> Tensor:
        """The nearest point: each group shrunk towards 0 by one multiplier (sum), or to r (maximum), within the box."""
        rows = self._rows(point)
        target, room = self._split(rows)
        projected = torch.minimum(target, room)
        outside = self._excess(projected) > 0
        if outside.any():
            solve = project_sum if self.norm == "sum" else project_maximum
            projected[outside] = solve(
                target[outside], room[outside], self.radius[outside]
            )
        return self._member(self.layout.join(projected), rows, point)

    def support(self, direction: Tensor) -> Tensor:
        """A farthest point: the groups of longest ‖g‖ first (sum), or each as long as r (maximum), within the box."""
        rows = self._direction_rows(direction)
        gain, room = self._split(rows)
        solve = support_sum if self.norm == "sum" else support_maximum
        groups = solve(gain, room, self.radius)
        magnitudes = self.layout.join(groups)
        return self._member(magnitudes, rows, direction)

    def _split(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Magnitudes and room of each group; the room is at most r, which no coordinate of a member exceeds."""
        room = torch.minimum(self._room(rows), self.radius)
        return self.layout.split(rows.abs()), self.layout.split(room)

    def sample(self, generator: torch.Generator) -> Tensor:
        """Groups of random directions and of random lengths within r, projected on the box."""
        # 1. a unit vector in each group
        noise = exact(normal_like(self.like, generator)).flatten(1)
        groups = self.layout.split(noise)
        lengths = torch.linalg.vector_norm(groups, dim=2, keepdim=True)
        unit = groups / lengths.clamp(min=TINY)
        # 2. the length of each group, as a share of r
        share = uniform_like(groups[:, :, 0], generator)
        if self.norm == "sum":
            weights = -torch.log1p(-share)
            total = weights.sum(1, keepdim=True)
            share = weights / total * uniform_like(self.radius, generator)
        point = self.radius[..., None] * share[..., None] * unit
        # 3. the nearest point of the box
        rows = self.layout.join(point).reshape(self.like.shape)
        return self.project(rows).to(self.like.dtype)
