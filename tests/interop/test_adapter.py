"""Nets of any form behind an adapter: outputs, inputs, types, masks; attacks go through and leave them as they were."""

from __future__ import annotations

from typing import Any, NamedTuple

import attrs
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

import robustfw
from robustfw.interop import adapt


class Returning(nn.Module):
    """A linear map whose outputs are of a given form."""

    def __init__(self, form) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.form = form

    def forward(self, x):
        return self.form(self.layer(x))


class Named(NamedTuple):
    features: Any
    scores: Any


@attrs.define
class Answer:
    loss: Any
    logits: Any


@attrs.define
class Boxes:
    boxes: Any
    sizes: Any = None


@pytest.mark.parametrize(
    ("form", "output"),
    [
        (lambda z: z, "auto"),
        (lambda z: Answer(None, z), "auto"),
        (lambda z: {"loss": z.sum(), "logits": z}, "auto"),
        (lambda z: {"out": z}, "auto"),
        (lambda z: Boxes(z), "auto"),
        (lambda z: (z, z + 1), "auto"),
        (lambda z: [z, None], "auto"),
        (lambda z: Named(z + 1, z), "scores"),
        (lambda z: Named(z + 1, z), 1),
        (lambda z: (z + 1, z), 1),
        (lambda z: (z + 1, z), "-1"),
        (lambda z: {"a": z + 1, "b": z}, "b"),
        (lambda z: {0: z + 1, 1: z}, 1),
        (lambda z: Boxes(z), "boxes"),
    ],
)
def test_the_logits_are_picked(form, output):
    net = Returning(form)
    x = torch.rand(4, 3)
    assert torch.equal(adapt(net, output=output)(x), net.layer(x))


@pytest.mark.parametrize(
    ("form", "output", "message"),
    [
        (lambda z: {"a": z, "b": z}, "auto", r"it returns dict with a: \(4, 2\), b: \(4, 2\): write output=NAME"),
        (lambda z: (None, z), "auto", r"it returns tuple with 0: NoneType, 1: \(4, 2\)"),
        (lambda z: {"a": z}, "c", "no output 'c'"),
        (lambda z: z, "logits", r"a tensor of shape \(4, 2\) alone"),
        (lambda z: (z,), 3, "no output 3"),
        (lambda z: Boxes(z, z), "auto", r"Boxes with boxes: \(4, 2\), sizes: \(4, 2\)"),
        (lambda z: 3, "auto", "type int"),
        (lambda z: (), "auto", "type tuple"),
    ],
)
def test_what_there_is_is_listed(form, output, message):
    with pytest.raises(robustfw.DataError, match=message):
        adapt(Returning(form), output=output)(torch.rand(4, 3))


class Several(nn.Module):
    """A net of three inputs by name."""

    def forward(self, *, shift, pixels, scale=1.0):
        return (pixels + shift) * scale


def test_one_of_several_inputs_is_perturbed():
    x = torch.rand(4, 3)
    shift = torch.rand(1, 3)
    net = adapt(Several(), input="pixels", inputs={"shift": shift, "scale": 2.0})
    assert torch.equal(net(x), (x + shift) * 2)
    assert torch.equal(net(x[:1]), (x[:1] + shift) * 2)
    assert not net.state_dict()


def test_a_constant_input_for_all_stays_as_it_is():
    x = torch.rand(4, 3)
    table = torch.rand(4, 3)
    assert torch.equal(adapt(Several(), input="pixels", inputs={"shift": table})(x), x + table)


class Masked(nn.Module):
    """The mean over valid steps of (batch, time, features)."""

    def forward(self, x, valid):
        weights = valid.float().unsqueeze(-1)
        return (x * weights).sum(1) / weights.sum(1)


@pytest.mark.parametrize("mask", [True, "valid"])
def test_a_mask_of_valid_steps(mask):
    x = torch.rand(4, 5, 2)
    valid = torch.arange(5) < torch.tensor([[1], [3], [5], [2]])
    joined = torch.cat([x, valid.float().unsqueeze(-1)], dim=-1)
    expected = torch.stack([x[i, : int(valid[i].sum())].mean(0) for i in range(4)])
    assert torch.allclose(adapt(Masked(), mask=mask)(joined), expected)
    # features are the last axis there, and the mask is not normalised
    normalized = adapt(Masked(), mask=mask, normalize=([1, 2], [2, 4]))(joined)
    assert torch.allclose(normalized, (expected - torch.tensor([1.0, 2.0])) / torch.tensor([2.0, 4.0]), atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_nets_of_other_types(dtype):
    net = nn.Sequential(nn.Linear(3, 2)).to(dtype)
    adapted = adapt(net, normalize="0.5/0.5")
    x = torch.rand(4, 3, requires_grad=True)
    logits = adapted(x)
    assert logits.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    (gradient,) = torch.autograd.grad(logits[:, 0].sum(), x)
    assert gradient.dtype == x.dtype
    assert torch.allclose(gradient, 2 * net[0].weight[0].float().expand(4, 3))


def conv_net() -> nn.Module:
    layers = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.LazyLinear(3)]
    net = nn.Sequential(*layers)
    net(torch.rand(2, 1, 6, 6))
    return net


def weight_norm() -> nn.Module:
    net = conv_net()
    parametrizations.weight_norm(net[0])
    return net


def old_weight_norm() -> nn.Module:
    net = conv_net()
    with pytest.warns(FutureWarning):
        nn.utils.weight_norm(net[0])
    return net


def spectral_norm() -> nn.Module:
    net = conv_net()
    parametrizations.spectral_norm(net[0])
    return net


def frozen() -> nn.Module:
    net = conv_net()
    net[0].requires_grad_(False)
    net[1].eval()
    return net


def compiled() -> nn.Module:
    return torch.compile(conv_net(), backend="eager")


def traced() -> nn.Module:
    return torch.jit.trace(conv_net().eval(), torch.rand(2, 1, 6, 6))


def half() -> nn.Module:
    return conv_net().bfloat16()


NETS = (conv_net, weight_norm, old_weight_norm, spectral_norm, frozen, compiled, traced)
CASES = [(make, adapted) for make in NETS for adapted in (False, True)] + [(half, True)]
"""A bare bfloat16 net takes no float32 input."""


def circumstances(net: nn.Module) -> list[Any]:
    """All that an attack must leave as it was."""
    found: list[Any] = [value.clone() for value in net.state_dict().values()]
    found += [parameter.requires_grad for parameter in net.parameters()]
    found += [parameter.grad is None for parameter in net.parameters()]
    found += [module.training for module in net.modules()]
    return found


@pytest.mark.filterwarnings("ignore:The .grad attribute", "ignore:.torch.jit")  # torch's words about its own passes
@pytest.mark.parametrize(("make", "adapted"), CASES)
def test_attacks_go_through_and_leave_the_net_as_it_was(make, adapted):
    torch.manual_seed(0)
    net = make()
    model = adapt(net, normalize="mnist") if adapted else net
    before = circumstances(model)
    x = torch.rand(4, 1, 6, 6)
    y = torch.tensor([0, 1, 2, 0])
    worst = robustfw.worst_case(model, x, y, uncertainty="linf:radius=0.2", attack="pgd:steps=3")
    assert (worst - x).abs().amax() <= 0.2 + 1e-6
    after = circumstances(model)
    for old, new in zip(before, after, strict=True):
        assert torch.equal(old, new) if isinstance(old, torch.Tensor) else old == new
    # the loss rose: the gradient came through
    model.eval()
    loss = nn.functional.cross_entropy(model(x).float(), y)
    assert nn.functional.cross_entropy(model(worst).float(), y) > loss
