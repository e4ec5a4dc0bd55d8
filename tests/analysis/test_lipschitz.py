"""Lipschitz constants: operators against explicit matrices, bounds from above and from below."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import robustfw
from robustfw import DataSpec
from robustfw.analysis._lipschitz import QUANTILES, Slopes, batch_size, bound_net, layers, slopes
from robustfw.analysis._operators import is_affine, spectral_norm, subspace_iteration
from robustfw.testing._model import SPECS
from robustfw_kernels.convolution import InputConv2d


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def explicit(module, shape):
    """The largest singular value of the module's Jacobian at 0, as a matrix."""
    jacobian = torch.func.jacrev(lambda x: module(x[None])[0])(torch.zeros(shape))
    return float(torch.linalg.matrix_norm(jacobian.detach().flatten(-len(shape)).flatten(0, -2).double(), 2))


def whole(model, x):
    return bound_net(model, layers(model, x))


OPERATORS = [
    (nn.Conv2d(2, 5, 3), (2, 6, 7)),
    (nn.Conv2d(2, 4, 3, stride=2, padding=1), (2, 7, 6)),
    (nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=2, bias=False), (4, 5, 5)),
    (nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular"), (1, 5, 5)),
    (nn.Conv1d(3, 2, 4), (3, 9)),
    (nn.ConvTranspose2d(3, 2, 3, stride=2), (3, 4, 4)),
    (InputConv2d(1, 6, 5, padding=2), (1, 8, 8)),
    (nn.AvgPool2d(3, stride=1), (2, 5, 5)),
    (nn.ZeroPad2d(2), (1, 3, 3)),
    (nn.Upsample(scale_factor=2), (2, 3, 3)),
    (nn.Linear(7, 3), (7,)),
    (nn.BatchNorm2d(3).eval(), (3, 2, 2)),
]


@pytest.mark.parametrize(("module", "shape"), OPERATORS, ids=lambda value: type(value).__name__)
def test_norms_of_operators_are_those_of_their_matrices(module, shape):
    like = torch.zeros(1, *shape)
    known = explicit(module, shape)
    assert is_affine(module, like, generator())
    assert spectral_norm(module, like, generator())[0] == pytest.approx(known, rel=1e-3)
    found = subspace_iteration(module, like, generator())
    assert known * (1 - 1e-3) <= found <= known * (1 + 1e-5), "from below"


def test_a_periodic_convolution_in_closed_form():
    """Its singular values are the moduli of the kernel's Fourier transform."""
    layer = nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular", bias=False)
    known = float(torch.fft.fft2(layer.weight[0, 0].detach(), s=(12, 12)).abs().amax())
    assert subspace_iteration(layer, torch.zeros(1, 1, 12, 12), generator()) == pytest.approx(known, rel=1e-4)


def test_the_reshaped_kernel_is_not_the_operator():
    """‖W as a matrix‖ is what some penalties take; a constant 3x3 kernel of norm 1 stretches images by nearly 3."""
    layer = nn.Conv2d(1, 1, 3, padding=1, bias=False)
    with torch.no_grad():
        layer.weight.fill_(1 / 3)
    assert float(torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2)) == pytest.approx(1)
    assert subspace_iteration(layer, torch.zeros(1, 1, 20, 20), generator()) > 2.9


def test_an_operator_that_is_zero():
    layer = nn.Conv2d(1, 2, 3)
    with torch.no_grad():
        layer.weight.zero_()
    assert subspace_iteration(layer, torch.zeros(1, 1, 5, 5), generator()) == 0


def test_batch_norm_as_it_is_in_evaluation():
    layer = nn.BatchNorm1d(3)
    with torch.no_grad():
        layer.running_var.copy_(torch.tensor([4.0, 0.25, 1.0]))
        layer.weight.copy_(torch.tensor([1.0, -1.0, 3.0]))
    (found,) = layers(layer, torch.zeros(1, 3))
    assert (found.bound, found.how) == (pytest.approx(3, rel=1e-4), "exact")
    assert layer.training


class Rounded(nn.Module):
    def forward(self, x):
        return (255 * x).round() / 255


@pytest.mark.parametrize("module", [nn.ReLU(), nn.MaxPool2d(2), nn.LayerNorm(4), Rounded(), nn.Sigmoid(), nn.GELU()])
def test_what_is_not_affine(module):
    assert not is_affine(module, torch.zeros(1, 1, 4, 4), generator())


def test_a_linear_net_is_known_exactly():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 4))
    known = float(torch.linalg.svdvals(model[1].weight.detach().double())[0])
    found = whole(model, torch.zeros(1, 3, 2, 2))
    assert [(layer.name, layer.how) for layer in found.layers] == [("0", "known"), ("1", "exact")]
    assert found.upper == pytest.approx(known)
    (at,) = slopes(model, [torch.randn(5, 3, 2, 2)])
    assert at.tolist() == pytest.approx([known] * 5, rel=1e-5)


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), widths=st.lists(st.integers(1, 9), min_size=1, max_size=4), scale=st.floats(0.1, 9))
def test_slopes_lie_below_the_product(seed, widths, scale):
    torch.manual_seed(seed)
    parts = [nn.Linear(4, widths[0])]
    for before, after in zip(widths, [*widths[1:], 3], strict=True):
        parts += [nn.ReLU(), nn.Linear(before, after)]
    model = nn.Sequential(*parts)
    x = scale * torch.randn(20, 4)
    upper = whole(model, x[:1]).upper
    found = Slopes.from_batches(slopes(model, [x[:15], x[15:]]))
    assert found.n == 20
    assert list(found.quantiles) == sorted(found.quantiles)
    assert found.quantiles[-1] <= upper * (1 + 1e-5)


@pytest.mark.parametrize("spec", ["mlp", "paper-mnist", "madry-mnist", "scattering:angles=2", "linear"])
def test_our_chains_have_a_bound_and_it_holds(spec):
    torch.manual_seed(0)
    data = DataSpec((1, 28, 28), 10, mean=(0.13,), std=(0.31,))
    model = robustfw.make("model", spec).build(data)
    x = torch.rand(3, 1, 28, 28, generator=generator())
    found = whole(model, x[:1])
    assert not found.unbounded
    (at,) = slopes(model, [x])
    assert 0 < float(at.amax()) <= found.upper
    moved = x + 1e-2 * torch.randn(3, 1, 28, 28, generator=generator())
    with torch.no_grad():
        change = (model.eval()(moved) - model(x)).norm(dim=1) / (moved - x).flatten(1).norm(dim=1)
    assert float(change.amax()) <= found.upper


def test_what_is_declared_is_believed():
    model = robustfw.make("model", "scattering:angles=2").build(SPECS[3])
    (waves,) = (layer for layer in layers(model, torch.zeros(1, 1, 8, 8)) if layer.kind == "Scattering2d")
    assert (waves.bound, waves.how) == (1.0, "declared")


def test_a_branching_net_has_layers_but_no_product():
    model = robustfw.make("model", "resnet18-cifar:width=2").build(SPECS[1])
    found = whole(model, torch.zeros(1, 3, 32, 32))
    assert found.upper is None
    assert "3 (PreActBlock)" in found.unbounded
    assert all(layer.bound is not None for layer in found.layers)
    assert sum(layer.kind.endswith("Conv2d") for layer in found.layers) == 1 + 16 + 3


def test_a_layer_without_a_bound():
    model = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    found = whole(model, torch.zeros(1, 4))
    assert (found.upper, found.unbounded) == (None, ("1",))
    assert [layer.how for layer in found.layers] == ["exact", "unknown", "exact"]


def test_a_net_that_only_wraps_is_no_chain():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Linear(4, 2)

        def forward(self, x):
            return 1000 * self.net(x)

    assert whole(Scaled(), torch.zeros(1, 4)).unbounded == ("the net (Scaled)",)


def test_a_layer_that_is_called_twice_counts_twice():
    layer = nn.Linear(3, 3)
    found = whole(nn.Sequential(layer, layer), torch.zeros(1, 3))
    assert found.upper == pytest.approx(found.layers[0].bound ** 2)


@pytest.mark.parametrize(
    ("pool", "known"),
    [
        (nn.MaxPool2d(2), 1),
        (nn.MaxPool2d(3, stride=1), 3),
        (nn.MaxPool2d(3, stride=2), 2),
        (nn.MaxPool2d((3, 1), stride=(1, 1)), math.sqrt(3)),
        (nn.MaxPool1d(4, stride=2), math.sqrt(2)),
    ],
)
def test_overlapping_pools_count_values_more_than_once(pool, known):
    """A single bright value shows what the bound is for: as many outputs as windows change with it."""
    x = torch.zeros(1, *[11] * (1 if isinstance(pool, nn.MaxPool1d) else 2))
    (found,) = layers(pool, x)
    assert found.bound == pytest.approx(known)
    lit = []
    for i in range(x.numel()):
        bright = x.clone()
        bright.view(-1)[i] = 1
        lit.append(float(pool(bright).norm()))
    assert max(lit) == pytest.approx(known)


@pytest.mark.parametrize(
    "module",
    [
        nn.Tanh(),
        nn.Sigmoid(),
        nn.GELU(),
        nn.SiLU(),
        nn.Hardswish(),
        nn.ELU(2.0),
        nn.LeakyReLU(-1.5),
        nn.Softplus(),
        nn.ReLU6(),
    ],
)
def test_slopes_of_activations(module):
    """Rounded up, and by no more than a hundredth where they are attained."""
    (found,) = layers(module, torch.zeros(1, 1))
    x = torch.linspace(-20, 20, 40_001, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(module(x).sum(), x)
    assert float(slope.abs().amax()) <= found.bound + 1e-12
    assert float(slope.abs().amax()) >= 0.99 * found.bound


def test_slopes_are_norms_of_jacobians(net, batch):
    x, _ = batch
    (found,) = slopes(net, [x])
    net.eval()
    jacobians = torch.func.vmap(torch.func.jacrev(lambda each: net(each[None])[0]))(x)
    known = torch.linalg.matrix_norm(jacobians.flatten(2).double(), 2)
    torch.testing.assert_close(found, known.detach(), rtol=1e-5, atol=1e-8)


def test_slopes_of_a_net_without_any():
    class Constant(nn.Module):
        def forward(self, x):
            return torch.ones(len(x), 3)

    (found,) = slopes(Constant(), [torch.rand(4, 2)])
    assert found.tolist() == [0] * 4


def test_the_net_is_left_as_it_was(net, batch):
    x, _ = batch
    list(layers(net.train(), x[:1]))
    list(slopes(net, [x]))
    assert net.training
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
    assert not any(module._forward_pre_hooks for module in net.modules())


def test_batches_fit_into_memory():
    assert batch_size((1, 28, 28), 10, 500) == 500
    assert batch_size((3, 224, 224), 1000, 500) == 1
    assert QUANTILES[0] == 0
    assert QUANTILES[-1] == 1
