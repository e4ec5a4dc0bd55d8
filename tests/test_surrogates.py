"""Stand-ins for nets without gradients: the same outputs, and gradients that lead somewhere."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from robustfw.inner.surrogates import averaged, find_steps, straight_through

torch.manual_seed(0)
LAYER = nn.Sequential(nn.Flatten(), nn.Linear(36, 16), nn.ReLU(), nn.Linear(16, 4)).eval()


def thermometer(x):
    levels = torch.linspace(0.1, 0.9, 5)
    code = (x[..., None] > levels).float()
    return LAYER(code.mean(-1))


def in_place(x):
    x = x * 16
    x.round_()
    return LAYER(x / 16)


def masked(x):
    mask = x > 0.5
    return LAYER(torch.where(mask, x, torch.zeros_like(x)) + (~mask).float() * 0.1)


NETS = {
    "round": lambda x: LAYER(torch.round(x * 15) / 15),
    "method": lambda x: LAYER((x * 15).round() / 15),
    "in place": in_place,
    "floor": lambda x: LAYER((x * 8).floor() / 8),
    "ceil": lambda x: LAYER(torch.ceil(x * 8) / 8),
    "sign": lambda x: LAYER(torch.sign(x - 0.5)),
    "cast to long": lambda x: LAYER((x * 255).long().float() / 255),
    "cast to byte": lambda x: LAYER((x * 255).byte() / 255),
    "cast by to": lambda x: LAYER((x * 255).to(torch.uint8).to(torch.float32) / 255),
    "comparison": lambda x: LAYER((x >= 0.5).float()),
    "operator": lambda x: LAYER((x > 0.5).to(x.dtype)),
    "thermometer": thermometer,
    "masks": masked,
    "masked fill": lambda x: LAYER(x.masked_fill(x < 0.3, 0.0)),
    "decimals": lambda x: LAYER(torch.round(x, decimals=1)),
}


def gradient(function, x):
    x = x.clone().requires_grad_()
    outputs = function(x)
    if not outputs.requires_grad:
        return torch.zeros_like(x)
    (found,) = torch.autograd.grad(outputs.logsumexp(1).sum(), x, allow_unused=True)
    return torch.zeros_like(x) if found is None else found


@pytest.mark.parametrize("name", NETS)
def test_values_are_those_of_the_net(name):
    x = torch.rand(7, 1, 6, 6)
    torch.testing.assert_close(straight_through(NETS[name])(x), NETS[name](x))


@pytest.mark.parametrize("name", [name for name in NETS if name not in ("masks", "masked fill")])
def test_gradients_lead_somewhere(name):
    x = torch.rand(7, 1, 6, 6)
    assert not gradient(NETS[name], x).any(), "the net itself has none"
    found = gradient(straight_through(NETS[name]), x)
    assert (found != 0).float().mean() > 0.3
    assert bool(found.isfinite().all())


def test_rounding_is_the_identity_backwards():
    x = torch.rand(3, 1, 6, 6)
    rounded = straight_through(NETS["round"])
    at = (torch.round(x * 15) / 15).requires_grad_()
    (expected,) = torch.autograd.grad(LAYER(at).logsumexp(1).sum(), at)
    torch.testing.assert_close(gradient(rounded, x), expected)


def test_a_sound_net_is_as_it_was():
    x = torch.rand(3, 1, 6, 6)
    assert torch.equal(straight_through(LAYER)(x), LAYER(x))
    torch.testing.assert_close(gradient(straight_through(LAYER), x), gradient(LAYER, x), rtol=0, atol=0)


def test_nothing_is_left_behind():
    straight_through(NETS["round"])(torch.rand(2, 1, 6, 6))
    assert (torch.tensor([0.2, 0.7]) > 0.5).dtype == torch.bool
    with pytest.raises(ZeroDivisionError):
        straight_through(lambda x: 1 / 0)(torch.rand(2, 1, 6, 6))
    assert (torch.tensor([0.2, 0.7]) > 0.5).dtype == torch.bool


def test_the_mean_of_draws_is_that_of_the_predictions():
    torch.manual_seed(3)
    draws = torch.randn(5, 6, 4)
    calls = iter(draws)
    found = averaged(lambda x: next(calls), 5)(torch.rand(6, 2))
    torch.testing.assert_close(found.softmax(1), draws.softmax(-1).mean(0))


def test_the_gradient_of_the_mean_is_less_noisy():
    def noisy(x):
        return LAYER(x + 0.5 * torch.randn_like(x))

    x = torch.rand(1, 1, 6, 6)
    torch.manual_seed(0)
    single = torch.stack([gradient(noisy, x) for _ in range(30)])
    mean = torch.stack([gradient(averaged(noisy, 30), x) for _ in range(30)])
    assert mean.var(0).sum() < 0.3 * single.var(0).sum()


FOUND = {
    "round": ("round",),
    "in place": ("round",),
    "floor": ("floor",),
    "cast to byte": ("byte",),
    "cast by to": ("to",),
    "comparison": ("ge",),
    "thermometer": ("gt",),
}


@pytest.mark.parametrize("name", FOUND)
def test_steps_are_found(name):
    assert find_steps(NETS[name], torch.rand(3, 1, 6, 6)) == FOUND[name]


def test_a_sound_net_has_none():
    class Careful(nn.Module):
        def forward(self, x):
            assert x.amax() <= 1, "a check of what it is given is no step of the net"
            return LAYER(x.to(torch.float64).to(torch.float32).clamp(0, 1))

    assert set(find_steps(Careful(), torch.rand(3, 1, 6, 6))) <= {"le"}
    convolutional = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.GELU(), nn.MaxPool2d(2), nn.Dropout())
    assert find_steps(convolutional.eval(), torch.rand(3, 1, 6, 6)) == ()
