"""Which normalisation fits a net: one that is forgotten, doubled or another is noticed, the right one is left alone."""

from __future__ import annotations

import functools

import attrs
import pytest
import torch
from torch import nn

from robustfw import DataSpec, TensorSplit
from robustfw.adoption import NormalizationFit
from robustfw.adoption._fit import fit_normalization, spell
from robustfw.interop import Adapter, Normalization

SPEC = DataSpec((3, 8, 8), 2)


@pytest.fixture(scope="module")
def split():
    """Images of which the class is whether they are brighter than grey; contrasts are low."""
    generator = torch.Generator().manual_seed(0)
    brightness = 0.4 + 0.2 * torch.rand(300, 1, 1, 1, generator=generator)
    x = brightness + 0.02 * torch.randn(300, 3, 8, 8, generator=generator)
    return TensorSplit(x.clamp(0, 1), (brightness[:, 0, 0, 0] > 0.5).long())


class Threshold(nn.Module):
    """A net that was trained on standardised images: class 1 where their mean is above that of x = 0.5."""

    def __init__(self, normalization: Normalization | None) -> None:
        super().__init__()
        mean, std = (0.0, 1.0) if normalization is None else (normalization.mean[0], normalization.std[0])
        self.register_buffer("border", torch.tensor((0.5 - mean) / std))
        self.scale = nn.Parameter(torch.tensor(50.0))

    def forward(self, x):
        logit = self.scale * (x[:, 0].flatten(1).mean(1) - self.border)
        return torch.stack([torch.zeros_like(logit), logit], 1)


imagenet = functools.partial(Normalization.read, "imagenet", 3)


def test_a_forgotten_normalisation(split):
    fit = fit_normalization(Threshold(imagenet()), split, SPEC, None)
    assert fit.n == 256
    assert fit.in_effect == "none"
    assert fit.better is not None
    assert fit.correct[fit.better] > 250 > 200 > fit.correct["none"]
    assert "forgotten" in fit.warning
    assert f"--model …,normalize={fit.better}" in fit.warning


def test_a_doubled_normalisation(split):
    inside = Adapter(Threshold(imagenet()), normalization=imagenet())
    fit = fit_normalization(Adapter(inside, normalization=imagenet()), split, SPEC, imagenet())
    assert fit.better == "none"
    assert "twice" in fit.warning


def test_another_normalisation(split):
    half = Normalization.read("0.5/0.5", 3)
    net = Adapter(Threshold(half), normalization=Normalization.read("0.1/0.2", 3))
    fit = fit_normalization(net, split, SPEC, net.normalization)
    assert fit.better == "0.5/0.5"
    assert fit.correct["0.5/0.5"] > 250
    assert "another one" in fit.warning


@pytest.mark.parametrize("text", ["none", "imagenet", "cifar10", "0.5/0.5", "0/0.00392156862745098"])
def test_the_right_one_is_left_alone(split, text):
    normalization = Normalization.read(text, 3)
    net = Adapter(Threshold(normalization), normalization=normalization)
    fit = fit_normalization(net, split, SPEC, normalization)
    assert fit.correct[fit.in_effect] > 250
    assert (fit.better, fit.warning) == (None, None)


def test_the_datas_own_statistics_are_tried(split):
    spec = attrs.evolve(SPEC, mean=(0.3, 0.3, 0.3), std=(0.07, 0.07, 0.07))
    own = Normalization(spec.mean, spec.std, "given")
    fit = fit_normalization(Threshold(own), split, spec, None)
    assert fit.better == spell(own) == "0.3/0.07"
    assert Normalization.read(fit.better, 3).mean == pytest.approx(spec.mean), "what is advised can be written"


def test_chance_alone_is_no_reason(split):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 2))
    fit = fit_normalization(net.eval(), TensorSplit(torch.rand(300, 3, 8, 8), torch.arange(300) % 2), SPEC, None)
    assert fit.better is None
    assert fit.is_guessing
    assert "no more than by guessing among 2 classes" in fit.warning


def test_a_net_that_knows_something_is_not_said_to_guess():
    assert not NormalizationFit(256, "none", {"none": 40, "imagenet": 60}, None, 10).is_guessing
    assert NormalizationFit(256, "none", {"none": 20, "imagenet": 30}, None, 10).is_guessing
    assert NormalizationFit(16, "none", {"none": 1}, None, 1000).warning is None, "one in a thousand is hard to guess"


@pytest.mark.parametrize("slope", [0.5, 3.0])
def test_an_example_is_changed_to_what_the_other_layer_would_have_seen(slope):
    from robustfw.adoption._fit import _change

    mine = Normalization((0.1, 0.2, 0.3), (0.5, 0.6, slope), "given")
    wanted = imagenet()
    x = torch.rand(4, 3, 5, 5)
    a, b = _change(mine, wanted)
    numbers = [torch.tensor(part).reshape(-1, 1, 1) for part in (mine.mean, mine.std, wanted.mean, wanted.std)]
    mean, std, wanted_mean, wanted_std = numbers
    torch.testing.assert_close(((a * x + b) - mean) / std, (x - wanted_mean) / wanted_std)


def test_data_that_are_no_images_have_no_normalisation_to_try():
    tabular = DataSpec((5,), 2)
    assert fit_normalization(nn.Linear(5, 2), TensorSplit(torch.rand(9, 5), torch.arange(9) % 2), tabular, None) is None


def test_it_survives_json():
    fit = NormalizationFit(10, "none", {"none": 3, "imagenet": 9}, "imagenet", 5)
    assert NormalizationFit(**fit.describe()) == fit
