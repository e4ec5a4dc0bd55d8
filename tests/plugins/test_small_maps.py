"""Convolutions on small maps: torch's function and derivatives, by a matrix or with images side by side."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.autograd.gradcheck import gradcheck, gradgradcheck
from torch.utils._python_dispatch import TorchDispatchMode

from robustfw import DataSpec, make
from robustfw.training import hardware
from robustfw_kernels.convolution import InputConv2d
from robustfw_kernels.small_maps import MANY, HiddenConv2d


@pytest.fixture(autouse=True)
def units(monkeypatch):
    """This processor has matrix units, whether it has or not; or it has none."""
    monkeypatch.setattr(hardware, "matrix_units", lambda: True)
    return lambda there: monkeypatch.setattr(hardware, "matrix_units", lambda: there)


class Asked(TorchDispatchMode):
    """How wide the images are of which torch is asked a convolution, or the gradient for the weights."""

    def __init__(self):
        super().__init__()
        self.forward, self.weights = [], []

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        name = str(operator)
        if "convolution_backward" in name:
            if args[-1][1]:
                self.weights.append(args[1].shape[3])
        elif "convolution" in name:
            self.forward.append(args[0].shape[3])
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


def assert_as_exact(found, torchs, exact):
    for one, other, reference in zip(found, torchs, exact, strict=True):
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        assert (one - reference).norm() <= 1.3 * (other - reference).norm() + 1e-6 * reference.norm()


@pytest.mark.parametrize(
    ("form", "wide"),
    [
        ({}, 48),
        ({"side": (5, 2)}, 36),
        ({"side": (8, 8), "kernel_size": 5, "padding": 0}, 48),
        ({"side": (4, 8), "kernel_size": (3, 5), "padding": (0, 2)}, 60),
        ({"side": (8, 7), "kernel_size": 1, "padding": 0, "bias": False}, 42),
        ({"batch": 7}, 28),
        ({"batch": 61}, 4),
        ({"batch": 1}, 4),
        ({"dtype": torch.float16}, 48),
    ],
    ids=str,
)
def test_images_are_laid_side_by_side_as_exactly_as_torchs(form, wide):
    ours, theirs, gradients = hidden(**form)
    with Asked() as asked:
        found = gradients(ours)
    assert asked.forward == asked.weights == [wide], "several images in a strip"
    assert found[0].is_contiguous(memory_format=torch.channels_last)
    assert_as_exact(found, gradients(theirs), gradients(theirs, low=False))


MATRICES = [
    {},
    {"side": (2, 2)},
    {"side": (1, 1), "bias": False},
    {"side": (2, 4)},
    {"padding": 2},
    {"padding": 0},
    {"kernel_size": (5, 1), "padding": (1, 0), "side": (5, 1)},
    {"kernel_size": 5, "padding": (0, 2), "side": (5, 4)},
]


@pytest.mark.parametrize("form", MATRICES, ids=str)
@pytest.mark.parametrize("low", [False, True])
def test_maps_no_larger_than_the_filter_are_one_product(form, low):
    ours, theirs, gradients = hidden(batch=MANY, **form)
    with Asked() as asked:
        found = gradients(ours, low=low)
    assert not asked.forward
    assert found[0].is_contiguous(memory_format=torch.channels_last)
    exact = [each.double() for each in gradients(theirs, low=False)]
    if low:
        assert_as_exact(found, gradients(theirs), exact)
    else:
        torch.testing.assert_close(found, gradients(theirs, low=False), rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:FutureWarning")  # torch's own import
@pytest.mark.parametrize("form", MATRICES, ids=str)
def test_derivatives_of_a_matrix_of_higher_order_and_forwards(form):
    form = {"kernel_size": 3, "padding": 1} | form
    side = form.pop("side", (3, 3))
    torch.manual_seed(0)
    layer = HiddenConv2d(2, 3, dtype=torch.float64, **form)
    x = torch.rand(MANY, 2, *side, dtype=torch.float64)

    def function(*parameters):
        names = [name for name, _ in layer.named_parameters()]
        return torch.func.functional_call(layer, dict(zip(names, parameters, strict=True)), x).square().sum(0)

    parameters = [p.detach().requires_grad_() for p in layer.parameters()]
    assert gradcheck(function, parameters, check_forward_ad=True)
    assert gradgradcheck(function, parameters)


@pytest.mark.parametrize(
    "form",
    [
        {"side": (3, 9)},
        {"padding": 2},
        {"stride": 2, "batch": MANY},
        {"dilation": 2, "side": (6, 6)},
        {"groups": 2, "batch": MANY},
        {"padding": "same", "batch": MANY},
        {"padding_mode": "reflect", "batch": MANY},
        {"side": (2, 5), "batch": MANY, "low": False},
        {"batch": MANY - 1, "low": False},
    ],
    ids=str,
)
def test_elsewhere_it_is_torchs_own(form):
    low = form.pop("low", True)
    ours, theirs, gradients = hidden(**form)
    with Asked() as asked:
        found = gradients(ours, low=low)
    assert asked.weights == [form.get("side", (3, 3))[1] + (2 if form.get("padding_mode") else 0)]
    for one, other in zip(found, gradients(theirs, low=low), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("form", "own"), [({}, True), ({"batch": MANY}, True), ({"batch": MANY, "side": (2, 2)}, False)], ids=str
)
def test_in_half_precision_without_matrix_units_only_what_is_less_work_is_not_torchs_own(form, own, units):
    units(False)
    ours, theirs, gradients = hidden(**form)
    with Asked() as asked:
        found = gradients(ours)
    assert len(asked.forward) == own
    assert all(map(torch.equal, found, gradients(theirs))) == own
    assert_as_exact(found, gradients(theirs), gradients(theirs, low=False))


@pytest.mark.parametrize(("side", "wide"), [((5, 4), 60), ((5, 5), 5)])
def test_where_weights_are_fixed_strips_pay_on_shorter_lines(side, wide):
    ours, theirs, gradients = hidden(side)
    for layer in (ours, theirs):
        layer.requires_grad_(False)
    with Asked() as asked:
        found = gradients(ours)
    assert asked.forward == [wide]
    assert_as_exact(found, gradients(theirs), gradients(theirs, low=False))


@pytest.mark.parametrize("batch", [6, MANY])
def test_derivatives_of_second_order(batch):
    ours, theirs, _ = hidden()
    x, found = torch.rand(batch, 8, 3, 3), []
    for layer in (ours, theirs):
        here = x.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            y = layer(here)
        (slope,) = torch.autograd.grad(y.float().square().sum(), here, create_graph=True)
        found.append(torch.autograd.grad(slope.square().sum(), layer.weight)[0])
    torch.testing.assert_close(*found, rtol=0.02, atol=0.02 * float(found[1].abs().max()))


def test_torch_func():
    ours, theirs, _ = hidden()
    x = torch.rand(MANY, 8, 3, 3)
    for batches in (x[:3], x.expand(2, *x.shape)):  # of one image each, and of many
        found = [
            torch.func.vmap(torch.func.jacrev(lambda x, layer=layer: layer(x).sum((0, 2, 3))))(
                batches if batches.dim() == 5 else batches[:, None]
            )
            for layer in (ours, theirs)
        ]
        torch.testing.assert_close(*found)


def test_an_empty_batch_of_small_maps():
    ours, _, gradients = hidden(batch=0)
    assert all(not gradient.any() for gradient in gradients(ours)[1:])


@pytest.mark.parametrize("name", ["fast-cifar", "paper-cifar"])
def test_nets_with_small_maps_have_such_layers(name):
    net = make("model", name).build(DataSpec(shape=(3, 32, 32), classes=10))
    kinds = [type(layer) for layer in net.modules() if isinstance(layer, nn.Conv2d)]
    assert kinds == [InputConv2d, *[HiddenConv2d] * (len(kinds) - 1)]
