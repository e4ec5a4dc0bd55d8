"""The region of the ℓ0 ball: at most k coordinates, or pixels, change."""

from __future__ import annotations

from typing import final

import attrs
import torch
from torch import Tensor

from robustfw.regions import (
    exact,
    round_toward_zero,
    share_of_way,
    uniform_like,
    wide,
    with_unit_maximum,
)
from robustfw_norms.balls import LinfBall
from robustfw_norms.norm_ball import NormBall
from robustfw_norms.oracles import keep_largest


@final
@attrs.frozen(eq=False)
class L0Ball(NormBall):
    """{δ : at most k coordinates (or pixels) move, each by at most r}. Not convex."""

    count: int = 1
    """Number k of units that may change."""
    channels: int = 1
    """Coordinates of one unit: 1, or the number of channels where pixels are counted."""

    @classmethod
    def build(cls, x: Tensor, limit: float, count: int, channels: int) -> L0Ball:
        """The set at every row of x.

        Args:
            x: examples (batch, *shape).
            limit: largest change of one value.
            count: number of units that may change.
            channels: coordinates of one unit: 1, or the number of channels where pixels are counted.
        """
        ball = LinfBall.at(x, limit)
        return cls(ball.like, ball.radius, count=count, channels=channels)

    @property
    def convex(self) -> bool:
        return False

    def _sum_units(self, values: Tensor) -> Tensor:
        """The sum of values over the coordinates of each unit, (batch, units)."""
        units = values.flatten(1).shape[1] // self.channels
        return values.reshape(len(self), self.channels, units).sum(1)

    def _keep_best(self, values: Tensor, gains: Tensor) -> Tensor:
        """The values of the k units with the largest sums of gains; 0 elsewhere."""
        best = keep_largest(self._sum_units(gains), self.count)
        return torch.where(best.repeat(1, self.channels), values, 0)

    def _excess(self, grouped: Tensor) -> Tensor:
        """The larger of the ℓ2 distance to the k-sparse points and max |δ_j| − r, (batch,)."""
        point = exact(grouped)
        squares = self._sum_units(point.square())
        smaller_units = squares.sort(dim=1, descending=True).values[:, self.count :]
        distance = smaller_units.sum(1).sqrt()
        largest = point.abs().amax(1)
        excess = largest - exact(self.radius.flatten())
        return torch.maximum(distance, excess)

    def project(self, point: Tensor) -> Tensor:
        """Clamp, and keep the k units whose clamped values save the most distance."""
        z = self._exact(point)
        clamped = self._clamp(z)
        saved = z.square() - (z - clamped).square()
        return self._member(self._keep_best(clamped, saved), point)

    def support(self, direction: Tensor) -> Tensor:
        """The k units of largest Σ|g_j|·u_j, each moved to the end of its room u_j."""
        g = self._exact(with_unit_maximum(direction))
        corner = self._corner(g)
        return self._member(self._keep_best(corner, corner * g), direction)

    def ascent(self, direction: Tensor, delta: Tensor, step: Tensor | float) -> Tensor:
        """Go a share ``step`` of the way from δ to the farthest member.

        The projection then keeps the k units that are out farthest. A long step chooses new units, a short one only
        moves the present ones.

        Args:
            direction: the gradient, of the shape of δ.
            delta: members at which the step starts.
            step: share of the way, one for all rows or one per row, (batch,); more than 1 counts as 1.
        """
        return share_of_way(step, self.support(direction) - delta)

    def sample(self, generator: torch.Generator) -> Tensor:
        """k units drawn at random, with values drawn uniformly within their room."""
        like = self.like.to(wide(self.like.dtype)).flatten(1)
        scores = uniform_like(self._sum_units(like), generator)
        drawn = keep_largest(scores, self.count).repeat(1, self.channels)
        u = 2 * uniform_like(self.like, generator) - 1
        u = torch.where(drawn.reshape(u.shape), u, 0)
        corner = self._corner(self._exact(u)).reshape(u.shape)
        return round_toward_zero(corner * u.abs(), self.like.dtype)
