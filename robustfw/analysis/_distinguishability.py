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
    """Label of the first class."""
    second: int
    """Label of the second class."""
    n: tuple[int, int]
    """Points of the first and of the second class."""
    linear: float
    """½‖m₁ − m₂‖₂, for linear classifiers without mistakes."""
    quadratic: float
    """√(½‖C₁ − C₂‖_*), for quadratic ones without mistakes, with κ = 1."""
    measured: float | None = None
    """ρ of the net's own classifier of these classes, where it is linear in the points."""
    risk: float | None = None
    """R of the net's own classifier; None where there is no ρ."""
    bound: float | None = None
    """The bound on ρ of the net's own classifier, mistakes included."""


def linear_bound(one: Tensor, other: Tensor, risk: float = 0.0) -> float:
    """½‖m₁ − m₂‖₂ + 4 M R: what ρ of a linear classifier is at most (see the module).

    Args:
        one: points of the first class, (n, d).
        other: points of the second class, (n, d).
        risk: R, the share of wrong examples.
    """
    difference = one.double().mean(0) - other.double().mean(0)
    half = float(torch.linalg.vector_norm(difference) / 2)
    if not risk:
        return half
    _, radius = _ball(one, other)
    return half + 4 * risk * radius


def _ball(one: Tensor, other: Tensor) -> tuple[Tensor, float]:
    """½(m₁ + m₂), and M, the distance from there to the farthest point."""
    mean_one = one.double().mean(0)
    mean_other = other.double().mean(0)
    centre = (mean_one + mean_other) / 2
    points = torch.cat([one, other]).double()
    distances = (points - centre).norm(dim=1)
    return centre, float(distances.amax())


def quadratic_bound(
    one: Tensor, other: Tensor, risk: float = 0.0, condition: float = 1.0
) -> float:
    """√(κ (½‖C₁ − C₂‖_* + 2 M R)): what ρ of a quadratic classifier is at most (see the module).

    Args:
        one: points of the first class, (n, d).
        other: points of the second class, (n, d).
        risk: R, the share of wrong examples.
        condition: κ, the ratio of the classifier's extreme eigenvalues.
    """
    mean = _nuclear_norm(one, other) / 2
    if risk:
        points = torch.cat([one, other]).double()
        squares = points.square().sum(1)
        mean += 2 * float(squares.amax()) * risk
    return math.sqrt(condition * mean)


def _nuclear_norm(one: Tensor, other: Tensor) -> float:
    """‖C₁ − C₂‖_*, from a matrix of size min(d, n₁ + n₂).

    C₁ − C₂ = Zᵀ S Z, the rows of Z being the points and S = diag(±1/n). With Zᵀ = Q R its eigenvalues are those of
    R S Rᵀ.
    """
    points = torch.cat([one, other]).double()
    # 1. S
    positive = points.new_full((len(one),), 1 / len(one))
    negative = points.new_full((len(other),), -1 / len(other))
    signs = torch.cat([positive, negative])
    # 2. R in place of Zᵀ where there are fewer points than coordinates
    if len(points) < points.shape[1]:
        points = torch.linalg.qr(points.t(), mode="r").R.t()
    # 3. the sum of |eigenvalues|
    signed_points = signs[:, None] * points
    difference = points.t() @ signed_points
    eigenvalues = torch.linalg.eigvalsh(difference)
    return float(eigenvalues.abs().sum())


@attrs.frozen(eq=False)
class Points:
    """Examples, or features of them."""

    name: str
    """data or features."""
    x: Tensor
    """The points, (n, d)."""
    y: Tensor
    """Their classes, (n,)."""
    head: nn.Linear | None
    """The layer that makes logits of the points, if one does."""

    @property
    def count(self) -> int:
        """The number of pairs of the classes that occur."""
        classes = len(self.y.unique())
        return classes * (classes - 1) // 2

    def pairs(self) -> Iterator[Pair]:
        """Each pair of classes, see `pairs`."""
        return pairs(self.x, self.y, self.head)


def spaces(model: nn.Module, split: Split, batch_size: int = 500) -> list[Points]:
    """The data, and what the net's last linear layer is given; the two are one for a linear classifier.

    Args:
        model: outputs of x (batch, *shape).
        split: the examples.
        batch_size: examples in a forward pass.
    """
    devices = [parameter.device for parameter in model.parameters()]
    device = devices[0] if devices else torch.device("cpu")
    head: nn.Linear | None = None
    data_batches = []
    label_batches = []
    feature_batches = []
    for x, y in split.iterate(batch_size, device):
        if head is None:
            head = head_of(model, x)
        data_batches.append(x.flatten(1).cpu())
        label_batches.append(y.cpu())
        if head is not None:
            feature_batches.append(features(model, head, x))
    data = torch.cat(data_batches)
    labels = torch.cat(label_batches)
    if head is None:
        return [Points(name="data", x=data, y=labels, head=None)]
    head_inputs = torch.cat(feature_batches)
    if torch.equal(head_inputs, data):
        return [Points(name="data", x=data, y=labels, head=head)]
    return [
        Points(name="data", x=data, y=labels, head=None),
        Points(name="features", x=head_inputs, y=labels, head=head),
    ]


def pairs(points: Tensor, y: Tensor, head: nn.Linear | None = None) -> Iterator[Pair]:
    """Each pair of classes that occur, one after the other.

    Args:
        points: (n, d): examples, or features of them.
        y: their classes, (n,).
        head: the layer that makes logits of these points, if one does; ρ of their differences is then measured too.
    """
    points = points.detach().cpu()
    labels = y.cpu()
    points_of = {}
    for label in labels.unique().tolist():
        points_of[label] = points[labels == label]
    for first, second in itertools.combinations(points_of, 2):
        one = points_of[first]
        other = points_of[second]
        pair = Pair(
            first=first,
            second=second,
            n=(len(one), len(other)),
            linear=linear_bound(one, other),
            quadratic=quadratic_bound(one, other),
        )
        if head is not None:
            pair = _measure_head(pair, one=one, other=other, head=head)
        yield pair


def _measure_head(pair: Pair, one: Tensor, other: Tensor, head: nn.Linear) -> Pair:
    """The pair with ρ of the head's own classifier; as it is where that is constant in the ball of the theorem."""
    weight, bias = _logit_difference(head, pair.first, pair.second)
    # 1. whether the boundary meets the ball
    centre, radius = _ball(one, other)
    size = float(weight.norm())
    logit_at_centre = float(centre @ weight) + bias
    if not size or abs(logit_at_centre) > size * radius:
        return pair
    # 2. signed distances to the boundary, positive where an example is right
    distances_one = (one.double() @ weight + bias) / size
    distances_other = -(other.double() @ weight + bias) / size
    # 3. ρ and R, in which both classes weigh ½
    rho_one = float(distances_one.abs().mean())
    rho_other = float(distances_other.abs().mean())
    risk_one = float((distances_one <= 0).double().mean())
    risk_other = float((distances_other <= 0).double().mean())
    risk = (risk_one + risk_other) / 2
    return attrs.evolve(
        pair,
        measured=(rho_one + rho_other) / 2,
        risk=risk,
        bound=linear_bound(one, other, risk),
    )


def _logit_difference(head: nn.Linear, first: int, second: int) -> tuple[Tensor, float]:
    """w and b of the difference of two logits, ⟨w, x⟩ + b."""
    weight = head.weight.detach().cpu().double()
    difference = weight[first] - weight[second]
    bias: Tensor | None = head.bias
    if bias is None:
        return difference, 0.0
    exact_bias = bias.detach().cpu().double()
    return difference, float(exact_bias[first] - exact_bias[second])
