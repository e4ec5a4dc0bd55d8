"""The regions of the norm balls: {‖δ‖ ≤ r}, each with the data box as a part of itself."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import TypeVar, final

import attrs
import torch
from torch import Tensor

from robustfw.errors import UsageError
from robustfw.regions import (
    Bound,
    Region,
    exact,
    exact_bound,
    normal_like,
    norms,
    per_row,
    step_per_row,
    toward_zero,
    uniform_like,
    wide,
    with_unit_maximum,
)
from robustfw_norms import l1, l2
from robustfw_norms.oracles import Sides, corner, keep_largest

Ball = TypeVar("Ball", bound="NormBall")
Oracle = Callable[[Tensor, Sides | None, Tensor], Tensor]
"""(tensor, box, radius) ↦ δ, for rows that are independent of each other."""


@attrs.frozen(eq=False)
class NormBall(Region):
    """{‖δ‖ ≤ r} ∩ {lower ≤ δ ≤ upper}: the box is −∞ … ∞ until `within` gives one.

    With a radius per channel, the set is the product of the channels' balls. half-precision inputs are
    computed in float32 and rounded toward zero, which keeps members members.
    """

    like: Tensor
    radius: Tensor
    """(batch, groups); a group is the whole example, or one channel."""
    lower: Tensor | None = None
    upper: Tensor | None = None

    @classmethod
    def at(cls: type[Ball], x: Tensor, radius: float | tuple[float, ...]) -> Ball:
        """The ball at every row of x, of one radius or of one for each channel."""
        radii = radius if isinstance(radius, tuple) else (radius,)
        if len(radii) not in (1, x.shape[1]):
            raise UsageError(
                f"{len(radii)} radii do not fit {x.shape[1]} channels: give one radius, or one per channel"
            )
        return cls(x.detach(), torch.tensor(radii, dtype=wide(x.dtype), device=x.device).expand(len(x), -1))

    def within(self: Ball, lower: Bound, upper: Bound) -> Ball:
        """The same ball and a box; exact, like everything here."""
        kind = wide(self.like.dtype)
        low, high = (torch.as_tensor(b, dtype=kind, device=self.like.device) for b in (lower, upper))
        low, high = low.expand_as(self.like), high.expand_as(self.like)
        if self.lower is not None and self.upper is not None:
            low, high = torch.maximum(low, self.lower), torch.minimum(high, self.upper)
        return attrs.evolve(self, lower=low, upper=high)

    def scaled(self: Ball, factor: Tensor | float) -> Ball:
        """factor·𝒰: radius and box."""
        by = per_row(factor, self.like)
        low, high = (None if b is None else torch.where(by > 0, b * by, 0) for b in (self.lower, self.upper))
        return attrs.evolve(self, radius=self.radius * by.reshape(-1, 1), lower=low, upper=high)

    def ascent(self, direction: Tensor, delta: Tensor, step: Tensor | float) -> Tensor:
        """argmax ⟨direction, s⟩ over ‖s‖ ≤ step·r with δ + s in the box: nothing is spent where there is no room."""
        low, high = (None if b is None else b - delta for b in (self.lower, self.upper))
        ball = attrs.evolve(self, radius=self.radius * step_per_row(step, self.radius), lower=low, upper=high)
        return ball.support(direction)

    def violation(self, delta: Tensor) -> Tensor:
        """The larger of ‖δ‖ − r and the way out of the box."""
        point = delta.to(wide(delta.dtype))
        outside = (
            self._excess(self._split_groups(point)).reshape(self.radius.shape).amax(1).clamp(min=0).to(point.dtype)
        )
        if self.lower is None or self.upper is None:
            return outside
        box = torch.maximum(self.lower.to(point.dtype) - point, point - self.upper.to(point.dtype)).flatten(1).amax(1)
        return torch.maximum(outside, box)

    def support_bound(self, direction: Tensor) -> Tensor:
        """⟨g, support(g)⟩, which is exact, computed in float64."""
        low, high = (None if side is None else exact(side) for side in (self.lower, self.upper))
        precise = attrs.evolve(self, like=exact(self.like), radius=exact(self.radius), lower=low, upper=high)
        towards = exact(direction)
        return exact_bound(towards, precise.support(towards))

    @abstractmethod
    def _excess(self, grouped: Tensor) -> Tensor:
        """‖δ‖ − r of each group in float64, (batch·groups,), for δ of shape (batch·groups, d).

        Sums of many squares in float32 lose digits: a member of 150,000 coordinates would count as outside.
        """

    @property
    def _radii(self) -> Tensor:
        return self.radius.reshape(-1, 1)

    def _split_groups(self, tensor: Tensor) -> Tensor:
        return tensor.reshape(self.radius.numel(), tensor.flatten(1).shape[1] // self.radius.shape[1])

    def _solve(self, tensor: Tensor, oracle: Oracle) -> Tensor:
        """An oracle of `robustfw_norms.l1` or `l2` for every group of every row."""
        exact = self._exact(tensor)
        return self._member(oracle(exact, self._sides(exact), self._radii), tensor)

    def _exact(self, tensor: Tensor) -> Tensor:
        """(batch·groups, d), in float32 at least."""
        return self._split_groups(tensor.to(wide(tensor.dtype)))

    @staticmethod
    def _member(solved: Tensor, like: Tensor) -> Tensor:
        """What was solved for, in the shape and type of a tensor that was asked about."""
        return toward_zero(solved, like.dtype).reshape(like.shape)

    def _sides(self, like: Tensor) -> Sides | None:
        """The box, (batch·groups, d)."""
        if self.lower is None or self.upper is None:
            return None
        return self._split_groups(self.lower).to(like), self._split_groups(self.upper).to(like)

    def _clamp(self, exact: Tensor) -> Tensor:
        """The nearest point of the cube of side 2r and the box."""
        inside, sides = exact.clamp(-self._radii, self._radii), self._sides(exact)
        return inside if sides is None else inside.clamp_(*sides)

    def _corner(self, exact: Tensor) -> Tensor:
        """Its farthest point in a direction; 0 where that is 0."""
        return corner(exact, self._sides(exact), self._radii)


@final
class LinfBall(NormBall):
    """{‖δ‖_∞ ≤ r}."""

    def _excess(self, grouped: Tensor) -> Tensor:
        return grouped.abs().amax(1) - self.radius.flatten()

    def project(self, point: Tensor) -> Tensor:
        """Each coordinate clamped to the ball and the box."""
        return self._member(self._clamp(self._exact(point)), point)

    def support(self, direction: Tensor) -> Tensor:
        """r·sign(g) as far as the box allows (eq. 2); 0 where g_j = 0."""
        return self._member(self._corner(self._exact(direction)), direction)

    def sample(self, generator: torch.Generator) -> Tensor:
        """Uniform on the ball ∩ box."""
        u = uniform_like(self.like, generator)
        low, high = (self.support(side) for side in (-torch.ones_like(u), torch.ones_like(u)))
        return toward_zero(low + (high - low) * u, self.like.dtype)


@final
class L2Ball(NormBall):
    """{‖δ‖₂ ≤ r}."""

    def _excess(self, grouped: Tensor) -> Tensor:
        return norms(exact(grouped)) - exact(self.radius.flatten())

    def project(self, point: Tensor) -> Tensor:
        """z·min(1, r/‖z‖₂) without a box; with one, clip(ηz), η ≤ 1 solved for exactly."""
        return self._solve(point, l2.project)

    def support(self, direction: Tensor) -> Tensor:
        """r·g/‖g‖₂ without a box; with one, clip(ηg), η solved for exactly."""
        return self._solve(direction, l2.support)

    def sample(self, generator: torch.Generator) -> Tensor:
        """Uniform on the ball, then projected on the box."""
        grouped = self._split_groups(normal_like(self.like, generator))
        length = uniform_like(self._radii, generator) ** (1 / grouped.shape[1]) * self._radii
        point = l2.support(grouped, None, length).reshape(self.like.shape)
        return toward_zero(self.project(point), self.like.dtype)


SPARSE = 0.7
"""Steps on an ℓ1 ball, relative to it, from which on they are sparse."""
FARTHER = 3.0
"""How much longer shorter steps are than asked for: the projection, which lowers all coordinates, takes back a part."""


@final
class L1Ball(NormBall):
    """{‖δ‖₁ ≤ r}."""

    def _excess(self, grouped: Tensor) -> Tensor:
        return grouped.abs().sum(1, dtype=exact(grouped[:0]).dtype) - exact(self.radius.flatten())

    def project(self, point: Tensor) -> Tensor:
        """Magnitudes lowered by a common threshold, which is solved for exactly."""
        return self._solve(point, l1.project)

    def support(self, direction: Tensor) -> Tensor:
        """The coordinates of largest |g_j| filled up one after the other; without a box that is one coordinate."""
        return self._solve(direction, l1.support)

    def ascent(self, direction: Tensor, delta: Tensor, step: Tensor | float) -> Tensor:
        """Long steps are steepest ones, which choose coordinates; short ones follow the gradient, which shares out.

        Steepest steps alone go to and fro between few coordinates, gradients alone begin too densely. Where one
        begins and the other ends, and how far they go, is what left fewest images of MNIST standing, a standard
        and a robust net's, at radii from 4 to 12. A step over the whole set is as long as asked for.
        """
        if isinstance(step, Tensor):
            lengths = torch.where(step >= 1, step, FARTHER * step)
            long = per_row(step, direction) >= SPARSE
            return torch.where(long, super().ascent(direction, delta, lengths), self._along(direction, step))
        if step >= SPARSE:
            return super().ascent(direction, delta, step if step >= 1 else FARTHER * step)
        return self._along(direction, step)

    def _along(self, direction: Tensor, step: Tensor | float) -> Tensor:
        """A move along the direction, `FARTHER` times the step as long as the set reaches there."""
        towards = with_unit_maximum(direction)
        length = norms(towards)
        reach = norms(self.support(towards)) / torch.where(length > 0, length, 1)
        return FARTHER * step_per_row(step, towards) * per_row(reach, towards) * towards

    def sample(self, generator: torch.Generator) -> Tensor:
        """Uniform on the ball, then projected on the box."""
        shape = self._split_groups(self.like).to(self._radii)
        exponentials = -torch.log1p(-uniform_like(shape, generator))
        rest = -torch.log1p(-uniform_like(self._radii, generator))
        magnitude = self._radii * exponentials / (exponentials.sum(1, keepdim=True) + rest)
        point = magnitude.copysign(uniform_like(shape, generator) - 0.5)
        return toward_zero(self.project(point.reshape(self.like.shape)), self.like.dtype)


@final
@attrs.frozen(eq=False)
class L0Ball(NormBall):
    """{δ : at most k coordinates (or pixels) move, each by at most r}. Not convex."""

    count: int = 1
    channels: int = 1
    """Coordinates that count as one: 1, or the number of channels when pixels are counted."""

    @classmethod
    def of(cls, x: Tensor, limit: float, count: int, channels: int) -> L0Ball:
        """The set at every row of x."""
        ball = LinfBall.at(x, limit)
        return cls(ball.like, ball.radius, count=count, channels=channels)

    @property
    def convex(self) -> bool:
        return False

    def _sum_units(self, squares_or_gains: Tensor) -> Tensor:
        """Per unit: (batch, units)."""
        units = squares_or_gains.flatten(1).shape[1] // self.channels
        return squares_or_gains.reshape(len(self), self.channels, units).sum(1)

    def _keep(self, values: Tensor, gains: Tensor) -> Tensor:
        kept = keep_largest(self._sum_units(gains), self.count)
        return torch.where(kept.repeat(1, self.channels), values, 0)

    def _excess(self, grouped: Tensor) -> Tensor:
        """The larger of the ℓ2 distance to the k-sparse points and |δ_j| − r."""
        point = exact(grouped)
        squares = self._sum_units(point.square())
        beyond = squares.sort(dim=1, descending=True).values[:, self.count :].sum(1).sqrt()
        return torch.maximum(beyond, point.abs().amax(1) - exact(self.radius.flatten()))

    def project(self, point: Tensor) -> Tensor:
        """Clamp, and keep the k units whose clamped values save the most distance."""
        z = self._exact(point)
        clipped = self._clamp(z)
        return self._member(self._keep(clipped, z.square() - (z - clipped).square()), point)

    def support(self, direction: Tensor) -> Tensor:
        """The k units of largest Σ|g_j|·u_j, each moved as far as it may."""
        g = self._exact(with_unit_maximum(direction))
        corner = self._corner(g)
        return self._member(self._keep(corner, corner * g), direction)

    def ascent(self, direction: Tensor, delta: Tensor, step: Tensor | float) -> Tensor:
        """Towards the farthest member: a share ``step`` of the way from δ to ``support(direction)``.

        The projection then keeps the k units that are out farthest. A long step chooses them anew, a short one only
        moves those that are there.
        """
        share = step_per_row(step, delta)
        share = share.clamp(max=1) if isinstance(share, Tensor) else min(share, 1.0)
        return share * (self.support(direction) - delta)

    def sample(self, generator: torch.Generator) -> Tensor:
        """k units drawn at random, uniform within their room."""
        scores = uniform_like(self._sum_units(self.like.to(wide(self.like.dtype)).flatten(1)), generator)
        kept = keep_largest(scores, self.count).repeat(1, self.channels)
        u = 2 * uniform_like(self.like, generator) - 1
        u = torch.where(kept.reshape(u.shape), u, 0)
        corner = self._corner(self._exact(u)).reshape(u.shape)
        return toward_zero(corner * u.abs(), self.like.dtype)
