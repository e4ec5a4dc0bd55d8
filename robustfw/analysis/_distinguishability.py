"""How far apart classes are, and what that allows a linear or a quadratic classifier (Fawzi, Fawzi & Frossard 2015).

ρ(f) = E‖r(x)‖₂ is the mean distance of examples to the boundary of a classifier sign f, r(x) being the smallest
perturbation with f(x) f(x + r) ≤ 0: wrong examples count with their distance as well. Throughout, two classes weigh ½
each, with means m₁, m₂ and second moments C₁, C₂ = E[xxᵀ]; R is the share of wrong examples, weighed in the same way.
Then E|f| = E[y f] + 2 E[|f| on wrong examples], with y = ±1, from which both bounds follow.

**Linear**, f(x) = ⟨w, x⟩ + b. ρ = E|f|/‖w‖, and E[y f] = ½⟨w, m₁ − m₂⟩. Therefore, for each hyperplane that meets the
ball of radius M around ½(m₁ + m₂) in which all examples lie (so that none is further than 2M from it),

    ρ(f) ≤ ½‖m₁ − m₂‖₂ + 4 M R.

**Quadratic**, f(x) = ⟨x, A x⟩, A with eigenvalues of both signs. From a point with f > 0 the boundary is no further
than √(f/|λ_min|), along an eigenvector of λ_min, and so on the other side; E[y f] = ½ tr A(C₁ − C₂), |f| ≤ ‖A‖‖x‖².
With M = max ‖x‖², κ = max(|λ_min/λ_max|, |λ_max/λ_min|) ≥ 1 and the nuclear norm, by Jensen's inequality,

    ρ(f) ≤ √(κ (½‖C₁ − C₂‖_* + 2 M R)).

A classifier that makes no mistake has R = 0, and what remains depends on the data alone. The bounds hold exactly for
the examples that they are computed from; of the distribution they are estimates.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import attrs
import torch
from torch import Tensor, nn

from robustfw.analysis._features import features, head_of
from robustfw.data.splits import Split


@attrs.frozen
class Pair:
    """Two classes, and how robust a classifier of them can be; distances in ℓ2, in units of the points."""

    first: int
    second: int
    n: tuple[int, int]
    linear: float
    """½‖m₁ − m₂‖₂, for linear classifiers without mistakes."""
    quadratic: float
    """√(½‖C₁ − C₂‖_*), for quadratic ones without mistakes, with κ = 1."""
    measured: float | None = None
    """ρ of the net's own classifier of these classes, where it is linear in the points."""
    risk: float | None = None
    """Its R; None where there is no ρ."""
    bound: float | None = None
    """The bound on its ρ, mistakes included."""


def linear_bound(one: Tensor, other: Tensor, risk: float = 0.0) -> float:
    """½‖m₁ − m₂‖₂ + 4 M R of two sets of points, (n, d) each; see the module for what it bounds."""
    half = torch.linalg.vector_norm(one.double().mean(0) - other.double().mean(0)) / 2
    return float(half) + (4 * risk * _ball(one, other)[1] if risk else 0.0)


def _ball(one: Tensor, other: Tensor) -> tuple[Tensor, float]:
    """½(m₁ + m₂), and M, the distance from there to the farthest point."""
    centre = (one.double().mean(0) + other.double().mean(0)) / 2
    return centre, float((torch.cat([one, other]).double() - centre).norm(dim=1).amax())


def quadratic_bound(one: Tensor, other: Tensor, risk: float = 0.0, condition: float = 1.0) -> float:
    """√(κ (½‖C₁ − C₂‖_* + 2 M R)) of two sets of points, (n, d) each; ``condition`` is κ."""
    longest = float(torch.cat([one, other]).double().square().sum(1).amax()) if risk else 0.0
    return math.sqrt(condition * (_nuclear(one, other) / 2 + 2 * longest * risk))


def _nuclear(one: Tensor, other: Tensor) -> float:
    """‖C₁ − C₂‖_*, from a matrix of size min(d, n₁ + n₂).

    C₁ − C₂ = Zᵀ S Z, the rows of Z being the points and S = diag(±1/n). With Zᵀ = Q R its eigenvalues are those of
    R S Rᵀ.
    """
    points = torch.cat([one, other]).double()
    signs = torch.cat([points.new_full((len(one),), 1 / len(one)), points.new_full((len(other),), -1 / len(other))])
    if len(points) < points.shape[1]:
        points = torch.linalg.qr(points.t(), mode="r").R.t()
    return float(torch.linalg.eigvalsh(points.t() @ (signs[:, None] * points)).abs().sum())


@attrs.frozen(eq=False)
class Points:
    """Examples, or features of them."""

    name: str
    x: Tensor
    """(n, d)."""
    y: Tensor
    head: nn.Linear | None
    """The layer that makes logits of them, if one does."""

    @property
    def count(self) -> int:
        """Of pairs of the classes that occur."""
        classes = len(self.y.unique())
        return classes * (classes - 1) // 2

    def pairs(self) -> Iterator[Pair]:
        """Each of them, see `pairs`."""
        return pairs(self.x, self.y, self.head)


def spaces(model: nn.Module, split: Split, batch_size: int = 500) -> list[Points]:
    """The data, and what the net's last linear layer is given; the two are one for a linear classifier."""
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    head, x, y, seen = None, [], [], []
    for some, labels in split.in_order(batch_size, device):
        head = head or head_of(model, some)
        x.append(some.flatten(1).cpu())
        y.append(labels.cpu())
        seen += [] if head is None else [features(model, head, some)]
    data, labels = torch.cat(x), torch.cat(y)
    if head is None or torch.equal(torch.cat(seen), data):
        return [Points("data", data, labels, head)]
    return [Points("data", data, labels, None), Points("features", torch.cat(seen), labels, head)]


def pairs(points: Tensor, y: Tensor, head: nn.Linear | None = None) -> Iterator[Pair]:
    """Each pair of classes that occur, one after the other.

    Args:
        points: (n, d): examples, or features of them.
        y: their classes, (n,).
        head: the layer that makes logits of these points, if one does; ρ of their differences is then measured too.
    """
    points = points.detach().cpu()
    groups = {label: points[y.cpu() == label] for label in y.unique().tolist()}
    for first, second in itertools.combinations(groups, 2):
        one, other = groups[first], groups[second]
        both = linear_bound(one, other), quadratic_bound(one, other)
        pair = Pair(first, second, (len(one), len(other)), *both)
        yield pair if head is None else _measured(pair, one, other, head)


def _measured(pair: Pair, one: Tensor, other: Tensor, head: nn.Linear) -> Pair:
    """With ρ of the head's own classifier; without, where that is constant in the ball of the theorem."""
    weight, bias = _between(head, pair.first, pair.second)
    centre, radius = _ball(one, other)
    size = float(weight.norm())
    if not size or abs(float(centre @ weight) + bias) > size * radius:
        return pair
    right = (one.double() @ weight + bias) / size, -(other.double() @ weight + bias) / size
    rho = sum(float(side.abs().mean()) for side in right) / 2
    risk = sum(float((side <= 0).double().mean()) for side in right) / 2
    return attrs.evolve(pair, measured=rho, risk=risk, bound=linear_bound(one, other, risk))


def _between(head: nn.Linear, first: int, second: int) -> tuple[Tensor, float]:
    """W and b of the difference of two logits."""
    weight = head.weight.detach().cpu().double()
    bias = weight.new_zeros(len(weight)) if head.bias is None else head.bias.detach().cpu().double()
    return weight[first] - weight[second], float(bias[first] - bias[second])
