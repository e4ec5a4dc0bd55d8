"""Our convolutions: the same function as torch's, and the same derivatives of every order and direction."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.autograd.gradcheck import gradcheck, gradgradcheck
from torch.utils._python_dispatch import TorchDispatchMode

from robustfw import DataSpec, make
from robustfw_vision.convolution import HiddenConv2d, InputConv2d

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
def test_low_precision_is_as_exact_as_torchs(dtype):
    """The sums over the filter's pixels are taken in float32: 25 additions of numbers of 8 bits would be coarse."""
    torch.manual_seed(0)
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
    error, torchs = ((gradient(layer, low=True) - exact).norm() for layer in (ours, theirs))
    assert error < 1.5 * torchs


@pytest.mark.parametrize("name", ["paper-mnist", "madry-mnist", "resnet18-cifar:width=8"])
def test_it_is_the_first_of_the_nets(name):
    net = make("model", name).build(DataSpec(shape=(1, 28, 28), classes=10))
    first, *rest = [layer for layer in net.modules() if isinstance(layer, nn.Conv2d)]
    assert isinstance(first, InputConv2d)
    assert not any(isinstance(layer, InputConv2d) for layer in rest)


class Widths(TorchDispatchMode):
    """How wide the images are of which torch is asked the gradient for the weights."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        if "convolution_backward" in str(operator) and args[-1][1]:
            self.seen.append(args[1].shape[3])
        return operator(*args, **(kwargs or {}))


def hidden(side=(3, 3), batch=12, dtype=torch.bfloat16, **form):
    """Ours and torch's with the same parameters, a batch, and a way to their gradients, in autocast."""
    torch.manual_seed(0)
    form = {"kernel_size": 3, "padding": 1} | form
    ours, theirs = HiddenConv2d(8, 16, **form), nn.Conv2d(8, 16, **form)
    theirs.load_state_dict(ours.state_dict())
    x = torch.rand(batch, 8, *side)

    def gradients(layer, *, low=True):
        here = x.clone().contiguous(memory_format=torch.channels_last).requires_grad_()
        with torch.autocast("cpu", dtype, enabled=low):
            y = layer(here)
        learning = [p for p in layer.parameters() if p.requires_grad]
        return [y, *torch.autograd.grad(y.float().square().sum(), [here, *learning])]

    return ours, theirs, gradients


@pytest.mark.parametrize(
    ("form", "wide"),
    [
        ({}, 48),
        ({"side": (5, 2)}, 36),
        ({"side": (8, 8), "kernel_size": 5, "padding": 0}, 48),
        ({"side": (4, 8), "kernel_size": (3, 5), "padding": (0, 2)}, 60),
        ({"side": (8, 7), "kernel_size": 1, "padding": 0, "bias": False}, 42),
        ({"batch": 7}, 28),
        ({"batch": 101}, 4),
        ({"batch": 1}, 4),
    ],
    ids=str,
)
def test_weights_on_small_maps_as_exactly_as_torchs(form, wide):
    ours, theirs, gradients = hidden(**form)
    with Widths() as widths:
        found = gradients(ours)
    assert widths.seen == [wide], "several images side by side"
    exact, torchs = gradients(theirs, low=False), gradients(theirs)
    for one, other, reference in zip(found, torchs, exact, strict=True):
        assert one.dtype == other.dtype
        assert (one - reference).norm() <= 1.2 * (other - reference).norm() + 1e-6 * reference.norm()


@pytest.mark.parametrize(
    "form",
    [
        {"side": (3, 9)},
        {"padding": 2},
        {"stride": 2},
        {"dilation": 2, "side": (6, 6)},
        {"groups": 2},
        {"padding": "same"},
        {"padding_mode": "reflect"},
        {"dtype": torch.float16},
    ],
    ids=str,
)
def test_elsewhere_it_is_torchs_own(form):
    ours, theirs, gradients = hidden(**form)
    with Widths() as widths:
        found = gradients(ours)
    assert widths.seen == [form.get("side", (3, 3))[1] + (2 if form.get("padding_mode") else 0)]
    for one, other in zip(found, gradients(theirs), strict=True):
        assert torch.equal(one, other)


def test_in_float32_and_with_fixed_weights_it_is_torchs_own():
    ours, theirs, gradients = hidden()
    for one, other in zip(gradients(ours, low=False), gradients(theirs, low=False), strict=True):
        assert torch.equal(one, other)
    for layer in (ours, theirs):
        layer.requires_grad_(False)
    with Widths() as widths:
        found = gradients(ours)
    assert not widths.seen
    for one, other in zip(found, gradients(theirs), strict=True):
        assert torch.equal(one, other)


def test_small_maps_in_derivatives_of_second_order():
    ours, theirs, _ = hidden()
    x, found = torch.rand(6, 8, 3, 3), []
    for layer in (ours, theirs):
        here = x.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            y = layer(here)
        (slope,) = torch.autograd.grad(y.float().square().sum(), here, create_graph=True)
        found.append(torch.autograd.grad(slope.square().sum(), layer.weight)[0])
    torch.testing.assert_close(*found)


def test_an_empty_batch_of_small_maps():
    ours, _, gradients = hidden(batch=0)
    assert all(not gradient.any() for gradient in gradients(ours)[1:])


@pytest.mark.parametrize("name", ["fast-cifar", "paper-cifar"])
def test_nets_with_small_maps_have_such_layers(name):
    net = make("model", name).build(DataSpec(shape=(3, 32, 32), classes=10))
    kinds = [type(layer) for layer in net.modules() if isinstance(layer, nn.Conv2d)]
    assert kinds == [InputConv2d, *[HiddenConv2d] * (len(kinds) - 1)]
