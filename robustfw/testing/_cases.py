"""The regions and points on which the laws of an uncertainty set are checked, at small and at dense random examples."""

from __future__ import annotations

import math
from collections.abc import Iterator

import attrs
import torch
from torch import Tensor

from robustfw.data.splits import TensorSplit
from robustfw.regions import Region, norms, per_row
from robustfw.testing.laws import require
from robustfw.uncertainty import UncertaintySet

SHAPES = ((3, 2, 2), (3, 5, 4))
"""Shapes of one example that sets are tried on, unless they name their own."""


def shapes_of(uncertainty: UncertaintySet) -> tuple[tuple[int, ...], ...]:
    """The shapes of one example that the laws try this set on."""
    return uncertainty.shapes or SHAPES


@attrs.frozen(eq=False)
class Case:
    """A region and points to try it at, one for each of its rows."""

    name: str
    """What is said of the case in a message."""
    region: Region
    points: Tensor
    """Points z, or directions g, (batch, *shape)."""
    tolerance: float
    """How much numbers of size 1 may be off."""
    seed: int
    x: Tensor | None = None
    """The examples that the perturbations are of; None where a test makes a case of a region alone."""
    bare: Region | None = None
    """The set without a range, where ``region`` is the set within [0, 1]."""

    def generator(self) -> torch.Generator:
        """A generator of this case's own."""
        return torch.Generator().manual_seed(self.seed)

    def slack(self, *sizes: Tensor) -> Tensor:
        """The tolerance for numbers of this size, (batch,)."""
        scale = torch.ones(len(self.points), dtype=self.points.dtype)
        return self.tolerance * (scale + sum(size.abs() for size in sizes))

    def require(
        self,
        holds: Tensor | bool,
        text: str,
        value: Tensor | None = None,
        **shown: Tensor,
    ) -> None:
        """Raise `LawBroken` unless a mask over rows is all true, with the name of the case in the message.

        Args:
            holds: a mask, (batch,), or one truth value.
            text: what is wrong; ``{}`` stands for the value of the row.
            value: a number for each row, (batch,).
            shown: tensors whose row is printed with its name: the counterexample.
        """
        require(holds, f"{text} ({self.name})", value, **shown)


def cases(
    uncertainty: UncertaintySet, seed: int, dtype: torch.dtype = torch.float64
) -> Iterator[Case]:
    """The cases of a set: at random and at border points of [0, 1], bare and within that range, small shapes first.

    Args:
        uncertainty: the set; it is fitted to random examples.
        seed: decides examples and points.
        dtype: the type of examples and points.
    """
    tolerance = 1e-6 if dtype == torch.float64 else 64 * torch.finfo(dtype).eps
    for shape in shapes_of(uncertainty):
        generator = torch.Generator().manual_seed(seed)
        x = torch.rand(64, *shape, generator=generator, dtype=torch.float64)
        # some on the border of the data range
        x[:16] = x[:16].round()
        x = x.to(dtype)
        bare = fit_to_random(uncertainty, shape, seed).at(x)
        points = sample_points(bare, generator)
        yield Case(
            name=f"bare, shape {shape}",
            region=bare,
            points=points,
            tolerance=tolerance,
            seed=seed,
            x=x,
        )
        region = restrict_to_unit_range(bare, x)
        points = sample_points(region, generator)
        yield Case(
            name=f"in [0, 1], shape {shape}",
            region=region,
            points=points,
            tolerance=tolerance,
            seed=seed,
            x=x,
            bare=bare,
        )


def restrict_to_unit_range(region: Region, x: Tensor) -> Region:
    """The members that keep x̃ in [0, 1]."""
    return region.clip(0 - x, 1 - x)


def fit_to_random(
    uncertainty: UncertaintySet, shape: tuple[int, ...], seed: int
) -> UncertaintySet:
    """The set fitted to 64 random examples, which changes nothing for a set that does not learn from data.

    Args:
        uncertainty: the set.
        shape: of an example.
        seed: decides the examples.
    """
    generator = torch.Generator().manual_seed(seed + 1)
    x = torch.rand(64, *shape, generator=generator)
    y = torch.arange(64) % 2
    return uncertainty.fit(TensorSplit(x, y))


def sample_points(region: Region, generator: torch.Generator) -> Tensor:
    """A point for each row: zeros, ties, spikes, tiny and huge ones, then dense random ones of the region's size."""
    # 1. dense random points, a third of to thirty times as long as the region reaches
    like = region.like.to(torch.float64)
    noise = torch.randn(like.shape, generator=generator, dtype=torch.float64)
    reach = norms(region.support(noise.to(region.like.dtype))).double()
    size = float(reach.median().clamp(min=1e-3))
    dimension = math.prod(like.shape[1:])
    four_scales = torch.tensor([0.3, 1.0, 3.0, 30.0], dtype=torch.float64)
    scales = four_scales[torch.arange(len(noise)) % 4]
    lengths = scales * size / math.sqrt(dimension)
    points = noise * per_row(lengths, noise)
    # 2. special points in the first rows
    points[0] = 0
    points[1] = size
    points[2] = -size
    points[3] = 0
    points[3].view(-1)[0] = 2 * size
    points[4] = points[4].sign() * size
    points[5] = 1e-9 * noise[5]
    points[6] = 1e4 * size * noise[6]
    # many ties and zeros
    points[7:12] = (points[7:12] / size).round() * size
    sparse = points[12:16]
    coins = torch.rand(sparse.shape, generator=generator, dtype=torch.float64)
    sparse *= coins < 0.3
    return points.to(region.like.dtype)


def members_of(case: Case) -> list[Tensor]:
    """Points of the set found in different ways: samples, projections, support points, and halves of them."""
    members = [
        case.region.sample(case.generator()),
        case.region.project(case.points),
        case.region.support(case.points),
    ]
    halves = [0.5 * delta for delta in members]
    return members + halves


def stretch_to_border(case: Case) -> Tensor:
    """Members stretched along their ray for as long as `violation` allows, by bisection."""
    start = case.region.sample(case.generator())
    low = torch.zeros(len(start), dtype=start.dtype)
    high = torch.full_like(low, 1e4)
    for _ in range(60):
        middle = (low + high) / 2
        stretched = start * per_row(middle, start)
        inside = case.region.violation(stretched) <= 0
        low = torch.where(inside, middle, low)
        high = torch.where(inside, high, middle)
    return start * per_row(low, start)
