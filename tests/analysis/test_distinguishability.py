"""The bounds of Fawzi, Fawzi and Frossard: closed forms, and classifiers whose distances are known exactly."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.datasets import load_digits
from torch import nn

from robustfw.analysis import _distinguishability as distinguishability
from robustfw.analysis._distinguishability import linear_bound, pairs, quadratic_bound, spaces
from robustfw.data.splits import TensorSplit

NUMBERS = st.floats(-4, 4, width=32)


def points(columns):
    return (
        st.integers(1, 6).flatmap(lambda n: arrays.arrays(np.float64, (n, columns), elements=NUMBERS)).map(torch.tensor)
    )


def linear(*weight, bias=0.0):
    """Logits f and 0, so that their difference is f."""
    layer = nn.Linear(len(weight), 2).double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([weight, [0.0] * len(weight)]))
        layer.bias.copy_(torch.tensor([bias, 0.0]))
    return layer


def sigma_points(mean, variances):
    """A set with exactly this mean and these variances, uncorrelated."""
    mean, d = torch.tensor(mean, dtype=torch.float64), len(mean)
    spread = torch.diag((d * torch.tensor(variances, dtype=torch.float64)).sqrt())
    return torch.cat([mean + spread, mean - spread])


def balanced(distance, wrong, n):
    """The mean over two classes that weigh ½ each; the first n rows are of one."""
    parts = [(distance[:n].mean(), wrong[:n].mean()), (distance[n:].mean(), wrong[n:].mean())]
    return tuple(sum(column) / 2 for column in zip(*parts, strict=True))


def both(one, other):
    return torch.cat([one, other]), torch.tensor([0] * len(one) + [1] * len(other))


@given(one=points(3), other=points(3), weight=st.tuples(*[NUMBERS] * 3), share=st.floats(-1, 1))
def test_no_linear_classifier_is_more_robust_than_its_bound(one, other, weight, share):
    """Any hyperplane that meets the ball, however many mistakes it makes; distances measured anew here."""
    w = np.array(weight)
    assume(np.linalg.norm(w) > 1e-3)
    x, y = both(one, other)
    centre = (one.mean(0) + other.mean(0)).numpy() / 2
    radius = np.linalg.norm(x.numpy() - centre, axis=1).max()
    bias = -w @ centre + 0.99 * share * radius * np.linalg.norm(w)
    (pair,) = pairs(x, y, linear(*weight, bias=bias))
    signed = (x.numpy() @ w + bias) / np.linalg.norm(w) * np.where(y == 0, 1, -1)
    rho, risk = balanced(np.abs(signed), signed <= 1e-5, len(one))
    assert pair.measured == pytest.approx(rho, abs=1e-4)
    assert rho <= linear_bound(one, other, risk) + 1e-4
    assert pair.bound == pytest.approx(linear_bound(one, other, pair.risk))


def test_two_points_attain_the_bound():
    x, y = both(torch.tensor([[3.0, 4.0]]), torch.tensor([[-3.0, -4.0]]))
    (pair,) = pairs(x, y, linear(3.0, 4.0))
    assert (pair.measured, pair.risk) == (pytest.approx(5), 0)
    assert pair.linear == pair.bound == pytest.approx(5)


def test_mistakes_must_be_paid_for():
    """Classes of equal means allow no robustness, and yet points lie far from the line, half of them wrong."""
    one = torch.tensor([[3.0, 0.0], [-3.0, 0.0]])
    x, y = both(one, one)
    (pair,) = pairs(x, y, linear(1.0, 0.0))
    assert pair.linear == 0
    assert (pair.measured, pair.risk) == (pytest.approx(3), 0.5)
    assert pair.bound == pytest.approx(4 * 3 * 0.5)


@pytest.mark.parametrize("layer", [linear(0.0, 0.0, bias=1.0), linear(1.0, 0.0, bias=50.0)])
def test_a_classifier_that_is_constant_near_the_data_is_not_measured(layer):
    x, y = both(torch.tensor([[1.0, 0.0]]), torch.tensor([[-1.0, 0.0]]))
    (pair,) = pairs(x, y, layer)
    assert (pair.measured, pair.risk, pair.bound) == (None, None, None)
    assert pair.linear == 1


def test_gaussian_classes_in_closed_form():
    """N(±μ, Σ): ‖μ‖; N(0, diag a) and N(0, diag b): √(½ Σ|aᵢ − bᵢ|); and samples come near."""
    mean, a, b = [1.0, -2.0, 2.0], [4.0, 1.0, 0.5], [1.0, 3.0, 0.5]
    opposite = sigma_points(mean, a), sigma_points([-m for m in mean], a)
    assert linear_bound(*opposite) == pytest.approx(3)
    assert quadratic_bound(*opposite) == pytest.approx(0, abs=1e-6)
    centred = sigma_points([0.0] * 3, a), sigma_points([0.0] * 3, b)
    known = math.sqrt(0.5 * (3 + 2 + 0))
    assert linear_bound(*centred) == pytest.approx(0, abs=1e-12)
    assert quadratic_bound(*centred) == pytest.approx(known)
    assert quadratic_bound(*centred, condition=4) == pytest.approx(2 * known)
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randn(20_000, 3, generator=generator) * torch.tensor(v).sqrt() for v in (a, b)]
    assert quadratic_bound(*drawn) == pytest.approx(known, rel=0.03)
    shifted = [drawn[0] + sign * torch.tensor(mean) for sign in (1, -1)]
    assert linear_bound(*shifted) == pytest.approx(3, rel=0.01)


@given(one=points(2), other=points(2), a=st.floats(0.1, 10), b=st.floats(0.1, 10))
def test_no_quadratic_classifier_is_more_robust_than_its_bound(one, other, a, b):
    """f = a x² − b y²: the boundary is two lines, and the distance to them |√a |x| − √b |y|| / √(a + b)."""
    x, _ = both(one, other)
    value = a * x[:, 0] ** 2 - b * x[:, 1] ** 2
    distance = (math.sqrt(a) * x[:, 0].abs() - math.sqrt(b) * x[:, 1].abs()).abs() / math.sqrt(a + b)
    sign = torch.tensor([1.0] * len(one) + [-1.0] * len(other))
    rho, risk = balanced(distance, (value * sign <= 0).double(), len(one))
    assert rho <= quadratic_bound(one, other, float(risk), condition=max(a / b, b / a)) + 1e-6


def test_the_quadratic_bound_can_be_attained():
    x, y = both(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 2.0]]))
    (pair,) = pairs(x, y)
    assert pair.quadratic == pytest.approx(2)
    assert quadratic_bound(x[:1], x[1:]) >= 2 / math.sqrt(2), "x² − y² has its lines at a distance of √2"


@pytest.mark.parametrize(("rows", "columns"), [(3, 10), (10, 3), (5, 5)])
def test_the_nuclear_norm_is_that_of_the_matrices(rows, columns):
    one, other = torch.randn(2, rows, columns, generator=torch.Generator().manual_seed(0)).unbind()
    moments = [each.double().t() @ each.double() / rows for each in (one, other)]
    known = np.linalg.svd((moments[0] - moments[1]).numpy(), compute_uv=False).sum()
    assert quadratic_bound(one, other) == pytest.approx(math.sqrt(known / 2))


def test_a_trained_classifier_of_digits():
    """3 against 8, by logistic regression."""
    digits = load_digits()
    chosen = np.isin(digits.target, (3, 8))
    x = torch.tensor(digits.images[chosen], dtype=torch.float32).flatten(1) / 16
    y = torch.tensor(digits.target[chosen] == 8).long()
    torch.manual_seed(0)
    layer = nn.Linear(64, 2)
    optimizer = torch.optim.AdamW(layer.parameters(), 0.03)
    for _ in range(100):
        optimizer.zero_grad()
        nn.functional.cross_entropy(layer(x), y).backward()
        optimizer.step()
    (pair,) = pairs(x, y, layer)
    assert pair.risk < 0.02
    assert 0 < pair.measured <= pair.bound
    if pair.risk == 0:
        assert pair.bound == pair.linear


def test_pairs_are_of_the_classes_that_occur():
    x, y = torch.randn(9, 2), torch.tensor([7, 2, 2, 5, 7, 5, 2, 7, 5])
    found = list(pairs(x, y))
    assert [(p.first, p.second, p.n) for p in found] == [(2, 5, (3, 3)), (2, 7, (3, 3)), (5, 7, (3, 3))]
    assert not list(pairs(x[:1], y[:1]))


def test_spaces_of_a_net_are_the_data_and_what_its_last_layer_is_given(net, batch):
    split = TensorSplit(*batch)
    data, features = spaces(net, split, batch_size=5)
    assert torch.equal(data.x, batch[0].flatten(1))
    assert torch.equal(data.y, batch[1])
    assert (data.head, features.head) == (None, net[-1])
    assert torch.allclose(features.x, net[:-1].eval()(batch[0]), atol=1e-6)
    assert data.count == features.count == len(list(features.pairs())) == 3


def test_of_a_linear_net_the_data_is_measured(batch):
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    (data,) = spaces(model, TensorSplit(*batch))
    assert (data.name, data.head) == ("data", model[1])
    assert all(pair.measured <= pair.bound for pair in data.pairs() if pair.measured is not None)


def test_a_net_whose_last_layer_is_not_linear_has_no_features(batch):
    class Doubled(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(16, 3)

        def forward(self, x):
            return 2 * self.layer(x.flatten(1))

    (data,) = spaces(Doubled(), TensorSplit(*batch))
    assert data.head is None


def test_the_net_is_left_as_it_was(net, batch):
    before = {name: value.clone() for name, value in net.state_dict().items()}
    spaces(net.train(), TensorSplit(*batch))
    assert net.training
    assert not any(module._forward_hooks for module in net.modules())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_the_theorem_is_where_the_code_is():
    for formula in ("ρ(f) ≤ ½‖m₁ − m₂‖₂ + 4 M R", "ρ(f) ≤ √(κ (½‖C₁ − C₂‖_* + 2 M R))"):
        assert formula in distinguishability.__doc__
