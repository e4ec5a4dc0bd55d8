"""The square patch: at one place, or at the best of all places."""

from __future__ import annotations

import itertools
from typing import final

import attrs
import torch
from torch import Tensor

from robustfw import UsageError
from robustfw.regions import (
    Bound,
    Region,
    exact,
    exact_bound,
    per_row,
    round_toward_zero,
    share_of_way,
    uniform_like,
    with_unit_maximum,
)


@final
@attrs.frozen(eq=False)
class PatchRegion(Region):
    """{δ : δ = 0 outside of one of the places, lower ≤ δ ≤ upper}, a place being a square of pixels, all channels."""

    like: Tensor
    places: Tensor
    """The squares, (batch, places, height·width): 1 within, 0 elsewhere; float64."""
    lower: Tensor
    """Lower bounds of δ, (batch, *shape), float64."""
    upper: Tensor
    """Upper bounds of δ, (batch, *shape), float64."""

    @classmethod
    def at(
        cls, x: Tensor, side: int, row: int | None, column: int | None, limit: float
    ) -> PatchRegion:
        """The set of all places of the square in the images x, or of those in one row, in one column, or of one place.

        Args:
            x: images (batch, channels, height, width).
            side: side of the square, in pixels; cut to the size of the image.
            row: upper row of the square; None: any.
            column: left column of the square; None: any.
            limit: largest change of one value.

        Raises:
            UsageError: x are no images, or the square is not within them.
        """
        if x.dim() != 4:
            raise UsageError(
                f"a patch needs images (channels, height, width), not x of shape {tuple(x.shape[1:])}"
            )
        like = x.detach()
        height, width = x.shape[2:]
        tall = min(side, height)
        wide = min(side, width)
        last_row = height - tall
        last_column = width - wide
        if (row or 0) > last_row or (column or 0) > last_column:
            raise UsageError(
                f"a square of side {side} at row {row}, column {column} is not in images of {height}x{width}"
            )
        rows = range(last_row + 1) if row is None else [row]
        columns = range(last_column + 1) if column is None else [column]
        corners = list(itertools.product(rows, columns))
        reach = torch.full_like(exact(like), limit)
        masks = reach.new_zeros(len(corners), height, width)
        for mask, (top, left) in zip(masks, corners, strict=True):
            mask[top : top + tall, left : left + wide] = 1
        places = masks.flatten(1).expand(len(x), -1, -1)
        return cls(like, places, -reach, reach)

    @property
    def convex(self) -> bool:
        return self.places.shape[1] == 1

    def _keep_best_place(self, values: Tensor, gains: Tensor) -> Tensor:
        """The values within the place of largest summed gain, 0 elsewhere; the first place at a tie."""
        per_pixel = gains.sum(1).flatten(1)
        sums = torch.einsum("bpd,bd->bp", self.places, per_pixel)
        return values * self._mask(sums.argmax(1))

    def _mask(self, place: Tensor) -> Tensor:
        """1 in the place of each row, (batch, 1, height, width)."""
        rows = torch.arange(len(place), device=place.device)
        masks = self.places[rows, place]
        return masks.reshape(len(place), 1, *self.like.shape[2:])

    def violation(self, delta: Tensor) -> Tensor:
        """The larger of the ℓ2 length outside of the best place and the distance from the box, (batch,)."""
        point = exact(delta)
        squares = with_unit_maximum(point).square()
        outside = point - self._keep_best_place(point, squares)
        beyond_place = torch.linalg.vector_norm(outside.flatten(1), dim=1)
        beyond_sides = torch.maximum(self.lower - point, point - self.upper)
        beyond_box = beyond_sides.flatten(1).amax(1).clamp(min=0)
        return torch.maximum(beyond_place, beyond_box).to(delta.dtype)

    def project(self, point: Tensor) -> Tensor:
        """Clamp, and keep the place whose clamped values save the most distance."""
        far = exact(point)
        clamped = far.clamp(self.lower, self.upper)
        saved = far.square() - (far - clamped).square()
        nearest = self._keep_best_place(clamped, saved)
        return round_toward_zero(nearest, point.dtype)

    def support(self, direction: Tensor) -> Tensor:
        """The corner of the box in the place of largest Σ g_j·corner_j."""
        unit = with_unit_maximum(exact(direction))
        corner = torch.where(unit > 0, self.upper, self.lower)
        corner = torch.where(unit == 0, 0, corner)
        farthest = self._keep_best_place(corner, corner * unit)
        return round_toward_zero(farthest, direction.dtype)

    def support_bound(self, direction: Tensor) -> Tensor:
        """⟨g, support(g)⟩ by the exact support in float64, and a margin for rounding; (batch,)."""
        return exact_bound(direction, self.support(exact(direction)))

    def ascent(self, direction: Tensor, delta: Tensor, step: Tensor | float) -> Tensor:
        """Go a share ``step`` of the way from δ to the farthest member; the projection then chooses the place.

        Args:
            direction: the gradient, of the shape of δ.
            delta: members at which the step starts.
            step: share of the way, one for all rows or one per row, (batch,); more than 1 counts as 1.
        """
        return share_of_way(step, self.support(direction) - delta)

    def sample(self, generator: torch.Generator) -> Tensor:
        """Values drawn uniformly from the box, at a place drawn at random."""
        scores = uniform_like(self.places[:, :, 0], generator)
        share = exact(uniform_like(self.like, generator))
        values = self.lower + share * (self.upper - self.lower)
        point = values * self._mask(scores.argmax(1))
        return round_toward_zero(point, self.like.dtype)

    def clip(self, lower: Bound, upper: Bound) -> PatchRegion:
        """The region of these places with the smaller of both boxes, with exact oracles."""
        dtype = self.lower.dtype
        device = self.lower.device
        low = torch.as_tensor(lower, dtype=dtype, device=device)
        low = low.expand_as(self.like)
        high = torch.as_tensor(upper, dtype=dtype, device=device)
        high = high.expand_as(self.like)
        return attrs.evolve(
            self,
            lower=torch.maximum(self.lower, low),
            upper=torch.minimum(self.upper, high),
        )

    def scale(self, factor: Tensor | float) -> PatchRegion:
        """factor·𝒰: these places with the box scaled by the factor."""
        factors = per_row(factor, self.lower)
        low = factors * self.lower
        high = factors * self.upper
        return attrs.evolve(self, lower=low, upper=high)
