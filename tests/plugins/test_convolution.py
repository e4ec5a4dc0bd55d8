"""Our convolutions: the same function as torch's, and the same derivatives of every order and direction."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.autograd.gradcheck import gradcheck, gradgradcheck

from robustfw import DataSpec, make
from robustfw.training import hardware
from robustfw_kernels.convolution import InputConv2d
from robustfw_kernels.pooled import PooledInputConv2d
from robustfw_kernels.small_maps import HiddenConv2d

FORMS = [
    {},
    {"padding": 2},
    {"stride": 2, "padding": (1, 0)},
    {"dilation": 2, "bias": False},
    {"groups": 2},
    {"padding": "valid"},
    {"padding": 1, "padding_mode": "reflect"},
]


def pair(form, dtype=torch.float64):
    """Ours and torch's with the same parameters, and inputs."""
    torch.manual_seed(0)
    ours, theirs = (layer(2, 4, (3, 2), dtype=dtype, **form) for layer in (InputConv2d, nn.Conv2d))
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs, torch.rand(3, 2, 7, 6, dtype=dtype)


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_values_and_gradients_are_torchs(form, layout):
    ours, theirs, x = pair(form)
    answers = []
    for layer in (ours, theirs):
        here = x.contiguous(memory_format=layout).requires_grad_()
        y = layer.to(memory_format=layout)(here)
        answers.append((y, *torch.autograd.grad((y**3).sum(), [here, *layer.parameters()])))
    for one, other in zip(*answers, strict=True):
        torch.testing.assert_close(one, other)


def test_the_input_alone():
    """As in an attack: parameters are frozen."""
    ours, theirs, x = pair({"padding": 1})
    grads = []
    for layer in (ours, theirs):
        layer.requires_grad_(False)
        here = x.clone().requires_grad_()
        grads.extend(torch.autograd.grad(layer(here).square().sum(), here))
    torch.testing.assert_close(*grads)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:FutureWarning")  # torch's own import
@pytest.mark.parametrize("form", FORMS[:4], ids=str)
def test_derivatives_of_higher_order_and_forwards(form):
    ours, _, x = pair(form)

    def function(x, *parameters):
        names = [name for name, _ in ours.named_parameters()]
        return torch.func.functional_call(ours, dict(zip(names, parameters, strict=True)), x)

    inputs = [x[:1].requires_grad_(), *(p.detach().requires_grad_() for p in ours.parameters())]
    assert gradcheck(function, inputs, check_forward_ad=True)
    assert gradgradcheck(function, inputs)


def test_torch_func():
    ours, theirs, x = pair({})
    ours_jacobian, theirs_jacobian = (
        torch.func.vmap(torch.func.jacrev(lambda x, layer=layer: layer(x[None]).sum((0, 2, 3))))(x)
        for layer in (ours, theirs)
    )
    torch.testing.assert_close(ours_jacobian, theirs_jacobian)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("units", [False, True])
def test_low_precision_is_as_exact_as_torchs(dtype, units, monkeypatch):
    """The sums over the filter's pixels are taken in float32: 25 additions of numbers of 8 bits would be coarse."""
    torch.manual_seed(0)
    monkeypatch.setattr(hardware, "matrix_units", lambda: units)
    ours, theirs = InputConv2d(1, 32, 5), nn.Conv2d(1, 32, 5)
    theirs.load_state_dict(ours.state_dict())
    x, weights = torch.rand(8, 1, 28, 28), torch.randn(8, 32, 24, 24)

    def gradient(layer, *, low):
        here = x.clone().requires_grad_()
        with torch.autocast("cpu", dtype, enabled=low):
            y = layer(here)
        assert y.dtype == (dtype if low else torch.float32)
        (grad,) = torch.autograd.grad((y.float() * weights).sum(), here)
        assert grad.dtype == torch.float32
        return grad

    exact = gradient(theirs, low=False)
    found, torchs = (gradient(layer, low=True) for layer in (ours, theirs))
    assert ours.pays(x.to(dtype).requires_grad_()) != units, "matrix units are torch's to use"
    assert (found - exact).norm() < 1.5 * (torchs - exact).norm()


@pytest.mark.parametrize(
    "layer",
    [
        InputConv2d(1, 4, 3),
        PooledInputConv2d(InputConv2d(1, 4, 3), nn.MaxPool2d(2)).requires_grad_(False),
        HiddenConv2d(1, 4, 3),
    ],
)
def test_types_that_differ_are_an_error_as_with_torch(layer):
    side = 3 if isinstance(layer, HiddenConv2d) else 8
    x = torch.rand(64, 1, side, side, dtype=torch.float64).requires_grad_()
    with pytest.raises(RuntimeError, match=r"dtype|should be the same"):
        layer(x)


@pytest.mark.parametrize("name", ["paper-mnist", "madry-mnist", "resnet18-cifar:width=8"])
def test_it_is_the_first_of_the_nets(name):
    net = make("model", name).build(DataSpec(shape=(1, 28, 28), classes=10))
    first, *rest = [layer for layer in net.modules() if isinstance(layer, nn.Conv2d)]
    assert isinstance(first, InputConv2d)
    assert not any(isinstance(layer, InputConv2d) for layer in rest)
