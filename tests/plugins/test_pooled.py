"""The first convolution with its pool: the same function as torch's layers, and the same derivatives."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.autograd.gradcheck import gradcheck, gradgradcheck

from robustfw import DataSpec, make
from robustfw.training import hardware
from robustfw_kernels import accelerate, patch_plan
from robustfw_kernels.convolution import InputConv2d
from robustfw_kernels.layers import ChannelsLast, Standardize
from robustfw_kernels.pooled import PooledInputConv2d
from robustfw_vision.nets import FlattenLast
from robustfw_vision.pixels import Seen

FORMS = [
    {"pool": 2},
    {"pool": 3},
    {"pool": 2, "padding": 1},
    {"pool": 3, "padding": 2},
    {"pool": 1},
    {"pool": 3, "frame": (2, -1, 3, 0)},
    {"pool": 2, "frame": (-1, 0, -2, 1), "padding": 1},
]


def pooled_layers(channels, filters, kernel, *, pool, padding=0, before=()):
    """What `accelerate` makes of a convolution and a pool, with what comes before them."""
    layers = accelerate(
        nn.Sequential(*before, nn.Conv2d(channels, filters, kernel, padding=padding), nn.MaxPool2d(pool))
    )
    assert isinstance(layers, PooledInputConv2d)
    return layers


def pair(form, dtype=torch.float64, *, frozen=True):
    """Ours and torch's with the same parameters, and images whose sides the windows do not all divide."""
    torch.manual_seed(0)
    form = form.copy()
    frame = form.pop("frame", None)
    before = [nn.ZeroPad2d(frame), Standardize([0.2, 0.1], [0.5, 3.0]), ChannelsLast()] if frame else []
    ours = pooled_layers(2, 4, 3, **form, before=before).to(dtype)
    convolution = nn.Conv2d(2, 4, 3, padding=form.get("padding", 0), dtype=dtype)
    theirs = nn.Sequential(*before, convolution, nn.MaxPool2d(form["pool"]))
    theirs.load_state_dict(ours.state_dict())
    for layers in (ours, theirs):
        layers.requires_grad_(not frozen)
    return ours, theirs, torch.randn(3, 2, 9, 8, dtype=dtype)


def gradients(layers, x, *more):
    here = x.clone(memory_format=torch.preserve_format).requires_grad_()
    y = layers(here)
    return (y, *torch.autograd.grad((y**3).sum(), [here, *more]))


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_values_and_gradients_are_torchs(form, layout):
    ours, theirs, x = pair(form)
    x = x.contiguous(memory_format=layout)
    answers = [gradients(layers.to(memory_format=layout), x) for layers in (ours, theirs)]
    for one, other in zip(*answers, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")  # torch's compiler
def test_the_fast_way_is_taken_by_attacks_and_by_nobody_who_wants_more(monkeypatch):
    taken = []
    fast = patch_plan.PatchPlan.input_gradient
    monkeypatch.setattr(patch_plan.PatchPlan, "input_gradient", lambda *args: taken.append(1) or fast(*args))
    ours, theirs, x = pair({"pool": 2, "frame": (1, 0, 0, 0)})
    gradients(ours, x)
    assert len(taken) == 1
    for layer in ours:
        handle = layer.register_forward_hook(lambda *_: None)
        gradients(ours, x)
        handle.remove()
    with torch.no_grad():
        ours(x)
    gradients(torch.compile(ours, backend="eager"), x)
    assert len(taken) == 1
    for learning in ([0], [1], [0, 1]):  # weight and bias
        answers = []
        for layers in (ours, theirs):
            layers.requires_grad_(False)
            wanted = [list(layers.parameters())[i].requires_grad_() for i in learning]
            answers.append(gradients(layers, x, *wanted))
        for one, other in zip(*answers, strict=True):
            torch.testing.assert_close(one, other)
    assert len(taken) == 1


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:FutureWarning")  # torch's own import
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_derivatives_of_higher_order_and_forwards(form):
    ours, _, x = pair(form)
    assert gradcheck(ours, [x[:1].requires_grad_()], check_forward_ad=True)
    assert gradgradcheck(ours, [x[:1].requires_grad_()])


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_torch_func(form):
    ours, theirs, x = pair(form)
    for layer in ours:
        if isinstance(layer, ChannelsLast):  # vmap has no such memory
            layer.memory_format = torch.contiguous_format
    one, other = (
        torch.func.vmap(torch.func.jacrev(lambda x, layers=layers: layers(x[None]).sum((0, 2, 3))))(x)
        for layers in (ours, theirs)
    )
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize("at_a_time", [1, 2, 5])
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_images_are_worked_on_a_few_at_a_time(form, at_a_time, monkeypatch):
    ours, theirs, _ = pair(form)
    x = torch.randn(5, 2, 9, 8, dtype=torch.float64)
    monkeypatch.setattr(patch_plan, "AT_A_TIME", at_a_time)
    for one, other in zip(gradients(ours, x), gradients(theirs, x), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    ("filters", "kernel", "size", "pool"), [(7, 3, (5, 11), 2), (3, 2, (9, 4), 3), (5, 1, (4, 4), 3)]
)
def test_filters_share_lines_of_the_table(filters, kernel, size, pool):
    """However many fit beside each other, and whatever is left over of a line or of the image."""
    torch.manual_seed(0)
    ours = pooled_layers(3, filters, kernel, pool=pool).double().requires_grad_(False)
    theirs = nn.Sequential(nn.Conv2d(3, filters, kernel), nn.MaxPool2d(pool)).double().requires_grad_(False)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(4, 3, *size, dtype=torch.float64)
    for one, other in zip(gradients(ours, x), gradients(theirs, x), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("before", [[Seen(8, 8)], [nn.BatchNorm2d(2)], [nn.ZeroPad2d(1), nn.ZeroPad2d(1)]])
def test_what_comes_before_is_what_the_gradient_is_known_of(before):
    with pytest.raises(TypeError, match=f"may come before .* but not {type(before[0]).__name__}"):
        PooledInputConv2d(*before, InputConv2d(2, 4, 3), nn.MaxPool2d(2))
    assert not isinstance(accelerate(nn.Sequential(*before, nn.Conv2d(2, 4, 3), nn.MaxPool2d(2))), PooledInputConv2d)


def test_an_empty_batch():
    ours, _, x = pair({"pool": 2})
    y, grad = gradients(ours, x[:0])
    assert (y.shape, grad.shape) == ((0, 4, 3, 3), (0, 2, 9, 8))


@pytest.mark.parametrize("units", [False, True])
@pytest.mark.parametrize("cast", [False, True], ids=["autocast", "cast"])
def test_low_precision_is_as_exact_as_torchs(units, cast, monkeypatch):
    torch.manual_seed(0)
    monkeypatch.setattr(hardware, "matrix_units", lambda: units)
    ours = pooled_layers(1, 32, 5, pool=3).requires_grad_(False)
    theirs = nn.Sequential(nn.Conv2d(1, 32, 5), nn.MaxPool2d(3)).requires_grad_(False)
    theirs.load_state_dict(ours.state_dict())
    x = torch.rand(8, 1, 28, 28)
    _, exact = gradients(theirs, x)
    if cast:
        ours, theirs, x = ours.bfloat16(), theirs.bfloat16(), x.bfloat16()
    with torch.autocast("cpu", torch.bfloat16, enabled=not cast):
        low = gradients(ours, x)
        torchs = gradients(theirs, x)
    assert low[0].dtype == torch.bfloat16
    assert low[1].dtype == x.dtype
    assert cast or not torch.equal(low[1], low[1].bfloat16().float()), "the image's gradient was rounded"
    torch.testing.assert_close(low[0], torchs[0])
    assert (low[1] - exact).norm() < 1.1 * (torchs[1] - exact).norm()


@pytest.mark.parametrize("name", ["paper-mnist", "madry-mnist"])
def test_nets_begin_with_it(name):
    net = make("model", name).build(DataSpec(shape=(1, 28, 28), classes=10))
    assert sum(isinstance(layer, PooledInputConv2d) for layer in net.modules()) == 1


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_maps_are_flattened_as_they_lie(layout):
    x = torch.arange(24.0).reshape(1, 2, 3, 4).contiguous(memory_format=layout)
    row = FlattenLast()(x)
    assert row[0, :4].tolist() == [0, 12, 1, 13]
    assert (row.data_ptr() == x.data_ptr()) == (layout == torch.channels_last)
