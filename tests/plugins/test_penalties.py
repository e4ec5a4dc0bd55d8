"""Penalties on gradients, Jacobians and operator norms against closed forms on linear nets and explicit matrices."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

import robustfw
from robustfw import UsageError
from robustfw_kernels.convolution import InputConv2d
from robustfw_objectives.jacobians import Contractive, InputGradient, OperatorNorm
from robustfw_objectives.spectral import operator_norm

from .linear_nets import batch_arguments, linear

SEEDS = st.integers(0, 10_000)


def small_net(seed=0):
    torch.manual_seed(seed)
    layers = nn.Conv2d(1, 3, 3, stride=2, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(12, 5), nn.Tanh()
    return nn.Sequential(*layers, nn.Linear(5, 3)).double(), torch.rand(4, 1, 4, 4, dtype=torch.float64)


@given(seed=SEEDS)
def test_the_input_gradient_of_a_linear_net_is_its_closed_form(seed):
    """∇ₓJ = Wᵀ(p − e_y)."""
    model, x, y = linear(seed)
    expected = (model(x).softmax(1) - functional.one_hot(y, 4)) @ model.weight
    found = InputGradient(beta=0.5).penalty(*batch_arguments(model, x, y))
    torch.testing.assert_close(found, 0.5 * expected.square().sum(1))


def test_the_gradient_of_the_input_gradient_is_that_of_its_closed_form():
    model, x, y = linear()
    form = ((model(x).softmax(1) - functional.one_hot(y, 4)) @ model.weight).square().sum()
    expected = torch.autograd.grad(form, list(model.parameters()))
    found = torch.autograd.grad(InputGradient().penalty(*batch_arguments(model, x, y)).sum(), list(model.parameters()))
    torch.testing.assert_close(found, expected)


def test_the_input_gradient_is_the_first_order_of_an_l2_ball():
    """max over ‖δ‖₂ ≤ r of J is J + r‖∇ₓJ‖₂ + O(r²), where the maximum is found by the attack."""
    model, x, y = linear()
    radius = 1e-4
    worst = robustfw.worst_case(model, x, y, uncertainty=f"l2:radius={radius}", attack="pgd", bounds=None)
    loss, at_worst = (functional.cross_entropy(model(z), y, reduction="none") for z in (x, worst))
    slope = InputGradient().penalty(*batch_arguments(model, x, y)).sqrt()
    torch.testing.assert_close((at_worst - loss) / radius, slope, rtol=1e-3, atol=0)


@given(seed=SEEDS)
def test_the_contractive_penalty_of_a_linear_net_is_its_squared_frobenius_norm(seed):
    model, x, y = linear(seed)
    exact = Contractive(beta=2.0, probes=4).penalty(*batch_arguments(model, x, y))
    torch.testing.assert_close(exact, 2 * model.weight.square().sum().expand(5))


def test_a_random_probe_is_unbiased():
    """The mean of 20,000 estimates is within five standard errors of ‖W‖_F²."""
    model, x, y = linear(rows=1)
    torch.manual_seed(1)
    many = x.expand(20_000, -1)
    found = Contractive(beta=1.0, probes=2).penalty(*batch_arguments(model, many, y.expand(20_000))).detach()
    error = float(found.std()) / math.sqrt(20_000)
    assert error > 0
    assert abs(float(found.mean() - model.weight.detach().square().sum())) < 5 * error


def test_the_contractive_penalty_is_the_sum_over_layers():
    """Against the full Jacobians of each layer with what follows it."""
    model, x = small_net()
    stages, h, expected = [model[:3], model[3:5], model[5:]], x, torch.zeros(4, dtype=torch.float64)
    for stage in stages:
        rows = [torch.autograd.functional.jacobian(lambda z, f=stage: f(z[None])[0], row) for row in h]
        expected += torch.stack(rows).flatten(1).square().sum(1)
        h = stage(h).detach()
    found = Contractive(beta=1.0, probes=12).penalty(*batch_arguments(model, x, torch.zeros(4).long()))
    torch.testing.assert_close(found, expected)


def test_branches_from_one_place_count_no_identity():
    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.other, self.head = nn.Linear(4, 3), nn.Linear(4, 3), nn.Linear(3, 2)

        def forward(self, x):
            return self.head(self.one(x) + self.other(x))

    torch.manual_seed(0)
    model, x = Branches(), torch.rand(3, 4)
    found = Contractive(beta=1.0, probes=3).penalty(*batch_arguments(model, x, torch.zeros(3).long()))
    expected = (model.one.weight + model.other.weight).square().sum() + model.head.weight.square().sum()
    torch.testing.assert_close(found, expected.expand(3))


LAYERS = {
    "linear": (nn.Linear(30, 20), (30,)),
    "padded": (nn.Conv2d(3, 6, 3, padding=1), (3, 7, 7)),
    "strided": (nn.Conv2d(3, 6, 3, stride=2, padding=1), (3, 8, 9)),
    "dilated in groups": (nn.Conv2d(4, 6, 3, dilation=2, groups=2), (4, 8, 8)),
    "circular": (nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), (2, 6, 6)),
    "first of a net": (InputConv2d(1, 4, 5, padding=2), (1, 8, 8)),
    "transposed": (nn.ConvTranspose2d(3, 2, 4, stride=2), (3, 4, 4)),
    "sequence": (nn.Conv1d(3, 5, 4, stride=3), (3, 17)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_operator_norms_are_the_largest_singular_values_of_explicit_matrices(name):
    """To 1e-4 in float32, with the derivative u vᵀ of the singular value."""
    layer, shape = copy.deepcopy(LAYERS[name])
    torch.manual_seed(3)
    layer.reset_parameters()
    size = math.prod(shape)
    without_bias = copy.deepcopy(layer).double()
    with torch.no_grad():
        without_bias.bias.zero_()
    matrix = without_bias(torch.eye(size, dtype=torch.float64).reshape(size, *shape)).flatten(1)
    expected = torch.linalg.matrix_norm(matrix, 2)
    found = operator_norm(layer, torch.zeros(1, *shape), 20)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=0)
    (slope,) = torch.autograd.grad(found, layer.weight)
    (exact,) = torch.autograd.grad(expected, without_bias.weight)
    assert float(functional.cosine_similarity(slope.double().flatten(), exact.flatten(), dim=0)) > 0.99


@given(seed=SEEDS, rank=st.integers(0, 3))
def test_operator_norms_of_matrices_of_any_rank(seed, rank):
    """Where the Krylov space ends early, and for W = 0."""
    torch.manual_seed(seed)
    layer = nn.Linear(5, 4).double()
    with torch.no_grad():
        layer.weight.copy_(torch.randn(4, rank, dtype=torch.float64) @ torch.randn(rank, 5, dtype=torch.float64))
    found = operator_norm(layer, torch.zeros(1, 5, dtype=torch.float64), 20)
    torch.testing.assert_close(found, torch.linalg.matrix_norm(layer.weight, 2), atol=1e-12, rtol=1e-9)


def test_the_operator_norm_penalty_is_the_sum_over_layers_and_the_same_each_time():
    model, x = small_net()
    penalty = OperatorNorm(beta=0.5, iterations=30)
    first, second = (penalty.penalty(*batch_arguments(model, x, torch.zeros(4).long())) for _ in range(2))
    assert torch.equal(first, second)
    sizes = [(model[0], (1, 1, 4, 4)), (model[3], (1, 12)), (model[5], (1, 5))]
    expected = sum(operator_norm(layer, torch.zeros(size, dtype=torch.float64), 50) for layer, size in sizes)
    torch.testing.assert_close(first, (0.5 * expected).expand(4))


def test_the_operator_norm_needs_layers():
    with pytest.raises(UsageError, match="no linear or convolutional layer"):
        OperatorNorm().penalty(*batch_arguments(nn.Flatten(), torch.rand(2, 3), torch.zeros(2).long()))
