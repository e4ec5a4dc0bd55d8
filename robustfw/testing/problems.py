"""Inner problems for the laws of attacks: regions of several kinds, written here so that no plugin is needed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import final

import attrs
import torch
from torch import Tensor, nn

from robustfw import losses
from robustfw.inner.problem import InnerProblem
from robustfw.regions import (
    Box,
    Region,
    Scaled,
    Union,
    inner_products,
    normal_like,
    norms,
    per_row,
    round_toward_zero,
    uniform_like,
    wide,
)
from robustfw.uncertainty import UncertaintySet

ROWS = 12
"""Examples in a batch."""
CLASSES = 5
"""Classes of the linear classifier."""
Function = Callable[[Tensor], Tensor]
"""x̃ (batch, *shape) to values (batch,)."""


@attrs.frozen
class Cube(UncertaintySet):
    """{|δ_j| ≤ r}."""

    radius: float = 0.25

    def at(self, x: Tensor) -> Region:
        """One cube for all rows of x, (batch, *shape)."""
        return Box.broadcast(x.detach(), -self.radius, self.radius)


@final
@attrs.frozen(eq=False)
class Ball(Region):
    """{‖δ‖₂ ≤ r}, r per row: a set without corners, without bounds, and without a range of its own."""

    like: Tensor
    radius: Tensor
    """(batch,)."""

    @classmethod
    def at(cls, x: Tensor, radius: float) -> Ball:
        """The ball at each row of x, (batch, *shape), with one radius for all rows."""
        radii = torch.full((len(x),), radius, dtype=wide(x.dtype), device=x.device)
        return cls(x.detach(), radii)

    def violation(self, delta: Tensor) -> Tensor:
        """‖δ‖₂ − r where positive, else 0, (batch,)."""
        length = norms(delta.to(self.radius))
        return (length - self.radius).clamp(min=0)

    def project(self, point: Tensor) -> Tensor:
        """δ·min(1, r/‖δ‖₂)."""
        exact = point.to(self.radius)
        trailing = [1] * (exact.dim() - 1)
        outside = (norms(exact) > self.radius).reshape(-1, *trailing)
        nearest = self._sphere(exact).where(outside, exact)
        return round_toward_zero(nearest, point.dtype)

    def support(self, direction: Tensor) -> Tensor:
        """r·g/‖g‖₂, for g of any size; 0 where it vanishes."""
        farthest = self._sphere(direction.to(self.radius))
        return round_toward_zero(farthest, direction.dtype)

    def sample(self, generator: torch.Generator) -> Tensor:
        """Random members, uniform on a sphere of random radius."""
        length = uniform_like(self.radius, generator).to(self.radius)
        direction = normal_like(self.like, generator).to(self.radius)
        member = per_row(length, direction) * self._sphere(direction)
        return round_toward_zero(member, self.like.dtype)

    def _sphere(self, direction: Tensor) -> Tensor:
        """The direction at the length of the radius; scaled first, so that no square underflows or overflows."""
        magnitudes = direction.flatten(1).abs()
        largest = per_row(magnitudes.amax(1), direction)
        unit = (direction / largest).masked_fill(largest == 0, 0)
        factor = self.radius / norms(unit).clamp(min=1)
        return per_row(factor, unit) * unit


@final
@attrs.frozen(eq=False)
class Blend(Region):
    """{(a, b) : |a| ≤ 0.5, |b| ≤ 0.2} with x̃ = (1 − a)·x + a·mirror(x) + b: δ is (batch, 2), whatever x is."""

    box: Box

    @classmethod
    def at(cls, x: Tensor) -> Blend:
        """The set at each row of x, (batch, *shape)."""
        largest = torch.tensor([0.5, 0.2], dtype=x.dtype, device=x.device)
        high = largest.expand(len(x), 2)
        return cls(Box(-high, high))

    @property
    def like(self) -> Tensor:
        """A tensor of the shape, type and device of δ, (batch, 2)."""
        return self.box.like

    def apply(self, x: Tensor, delta: Tensor) -> Tensor:
        """x̃, (batch, *shape): x blended with its mirror image, and made brighter."""
        share = per_row(delta[:, 0], x)
        shift = per_row(delta[:, 1], x)
        mirror = x.flatten(1).flip(1).reshape(x.shape)
        return (1 - share) * x + share * mirror + shift

    def clip(self, lower: Tensor | float, upper: Tensor | float) -> Blend:
        """The set itself: a data range does not bound it."""
        return self

    def violation(self, delta: Tensor) -> Tensor:
        """How far δ is outside, (batch,)."""
        return self.box.violation(delta)

    def project(self, point: Tensor) -> Tensor:
        """The nearest member, (batch, 2)."""
        return self.box.project(point)

    def support(self, direction: Tensor) -> Tensor:
        """The farthest member, (batch, 2)."""
        return self.box.support(direction)

    def sample(self, generator: torch.Generator) -> Tensor:
        """Random members, (batch, 2)."""
        return self.box.sample(generator)


def example_batch(
    shape: tuple[int, ...], seed: int, dtype: torch.dtype = torch.float64
) -> Tensor:
    """x in [0, 1], (12, *shape); every entry of the first four is at an end of the range.

    Args:
        shape: of an example.
        seed: decides the numbers.
        dtype: their type.
    """
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(ROWS, *shape, generator=generator, dtype=torch.float64)
    x[:4] = x[:4].round()
    return x.to(dtype)


def regions_at(x: Tensor) -> Iterator[tuple[str, Region]]:
    """Regions at x with their names.

    Boxes, a ball, a ball of another size at each row, a set of two numbers, and a set that is not convex.
    """
    cube = Cube().at(x)
    ball = Ball.at(x, 0.4)
    factors = torch.linspace(0.25, 2, len(x), dtype=wide(x.dtype)).to(x)
    yield "a cube", cube
    yield "a cube within [0, 1]", cube.clip(0 - x, 1 - x)
    yield "a ball", ball
    # a factor times a member, rounded to half precision, may be outside
    if x.dtype == wide(x.dtype):
        yield "scaled balls", Scaled(ball, per_row(factors, x))
    yield "two numbers", Blend.at(x)
    small_cube = Cube(0.1).at(x)
    yield "a cube or a ball", Union((small_cube, ball))


FEW = ("a cube within [0, 1]", "a ball", "two numbers")
"""Names of one region of each kind, for laws that run an attack many times."""


def linear_function(shape: tuple[int, ...], seed: int) -> Function:
    """The function x̃ ↦ ⟨w, x̃⟩ with random w, whose first entry is 0."""
    generator = torch.Generator().manual_seed(seed + 1)
    w = torch.randn(math.prod(shape), generator=generator, dtype=torch.float64)
    w[0] = 0

    def linear(perturbed: Tensor) -> Tensor:
        terms = perturbed.reshape(len(perturbed), -1) * w.to(perturbed)
        return terms.sum(1)

    return linear


def parabola(perturbed: Tensor) -> Tensor:
    """Σ (x̃_j − 0.4)² of each row, (batch,): its gradient changes everywhere, and vanishes at the lowest point only."""
    distances = perturbed.reshape(len(perturbed), -1) - 0.4
    return distances.square().sum(1)


def constant(perturbed: Tensor) -> Tensor:
    """0 for each row, (batch,), with a gradient of zeros."""
    sums = perturbed.reshape(len(perturbed), -1).sum(1)
    return 0 * sums


def constant_without_graph(perturbed: Tensor) -> Tensor:
    """1 for each row, (batch,), without a graph."""
    return torch.ones(len(perturbed), dtype=perturbed.dtype)


def linear_gain(problem: InnerProblem) -> Tensor:
    """max_{δ ∈ region} J(δ) − J(0) of a J that is linear in δ, (batch,)."""
    _, gradient = problem.value_and_grad(problem.region.zero())
    farthest = problem.region.support(gradient)
    return inner_products(gradient, farthest)


def classifier_problem(
    shape: tuple[int, ...], seed: int, region: Callable[[Tensor], Region]
) -> InnerProblem:
    """Cross-entropy of a linear net of five classes, each row with the label that the net gives it.

    Args:
        shape: of an example.
        seed: decides examples and weights.
        region: x to its region.
    """
    generator = torch.Generator().manual_seed(seed + 2)
    x = torch.rand(ROWS, *shape, generator=generator, dtype=torch.float64)
    features = math.prod(shape)
    w = 0.3 * torch.randn(features, CLASSES, generator=generator, dtype=torch.float64)

    def classifier(perturbed: Tensor) -> Tensor:
        centred = (perturbed - 0.5).reshape(len(perturbed), -1)
        return centred @ w.to(perturbed)

    return InnerProblem(
        forward=classifier,
        loss=losses.cross_entropy,
        x=x,
        y=classifier(x).argmax(1),
        region=region(x),
    )


class Delicate(nn.Module):
    """A net with batch norm, dropout and a frozen parameter: all that an attack could change and not restore."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(1, 4, 3, padding=1),
            nn.BatchNorm1d(4),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Flatten(),
            nn.Linear(4 * features, 3),
        )
        self.body[0].bias.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of three classes, (batch, 3)."""
        return self.body(x.reshape(len(x), 1, -1))
