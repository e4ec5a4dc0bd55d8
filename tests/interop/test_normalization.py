"""Normalisations by name and by numbers, and those that nets begin with."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import robustfw
from robustfw import RobustfwWarning, UsageError
from robustfw.interop import Adapter, Normalization, adapt, normalization_in_effect
from robustfw_kernels.layers import Standardize


@pytest.mark.parametrize(
    ("text", "channels", "mean", "std"),
    [
        ("imagenet", 3, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ("ImageNet", None, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ("mnist", 1, (0.1307,), (0.3081,)),
        ("inception", 3, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        ("0.5/0.25", 2, (0.5, 0.5), (0.25, 0.25)),
        ("0.5/0.25", None, (0.5,), (0.25,)),
        ("[0.1, 0.2]/[3,4]", 2, (0.1, 0.2), (3.0, 4.0)),
        ("127.5/127.5", 1, (127.5,), (127.5,)),
    ],
)
def test_it_is_read(text, channels, mean, std):
    normalization = Normalization.read(text, channels)
    assert normalization.mean == mean
    assert normalization.std == std
    again = Normalization.read(normalization.spell(), channels)
    assert (again.mean, again.std) == (mean, std)


def test_none_is_none():
    assert Normalization.read("none", 3) is None


@pytest.mark.parametrize(
    ("text", "channels", "message"),
    [
        ("imagnet", 3, "write none, imagenet"),
        ("0.5", 3, "mean/std such as"),
        ("0.5/0.5/0.5", 3, "mean/std such as"),
        ("a/b", 3, "mean/std such as"),
        ("0.5/0", 3, "standard deviations above 0"),
        ("0.5/-1", 3, "standard deviations above 0"),
        ("nan/1", 3, "finite"),
        ("[1,2]/[1]", 2, "2 and 1"),
        ("imagenet", 1, "for 3 channels and the data has 1"),
        ("[1,2]/[1,1]", 3, "for 2 channels and the data has 3"),
    ],
)
def test_what_is_none_is_refused(text, channels, message):
    with pytest.raises(UsageError, match=message):
        Normalization.read(text, channels)


@pytest.mark.parametrize("shape", [(3, 4, 4), (3,), (3, 7)])
def test_it_is_applied_to_channels_of_any_shape(shape):
    x = torch.rand(5, *shape)
    given = [1, 2, 3], [2, 4, 8]
    expected = torch.stack([(x[:, i] - given[0][i]) / given[1][i] for i in range(3)], dim=1)
    assert torch.equal(adapt(nn.Identity(), normalize=given)(x), expected)


def test_it_is_part_of_the_state():
    first = adapt(nn.Linear(3, 2), normalize="imagenet")
    second = adapt(nn.Linear(3, 2), normalize="0.5/0.5")
    assert set(first.state_dict()) == {"mean", "std", "net.weight", "net.bias"}
    third = adapt(nn.Linear(3, 2), normalize=([0, 0, 0], [1, 1, 1]))
    third.load_state_dict(first.state_dict())
    x = torch.rand(4, 3)
    assert torch.equal(third(x), first(x))
    # loaded statistics are those in effect
    assert third.normalization.mean == (0.485, 0.456, 0.406)
    assert third.normalization.source == "the weights"
    assert second.normalization.source == "given"


def test_another_number_of_channels_is_one_sentence():
    with pytest.raises(robustfw.DataError, match="x has 1 channels and the normalisation"):
        adapt(nn.Identity(), normalize="imagenet")(torch.rand(2, 1, 4, 4))


@pytest.mark.parametrize(
    ("net", "mean"),
    [
        (nn.Linear(3, 2), None),
        (nn.Sequential(nn.Linear(3, 2), Standardize([1.0], [2.0], 0)), None),
        (nn.Sequential(Standardize([1.0], [2.0], 0), nn.Linear(3, 2)), (1.0,)),
        (nn.Sequential(nn.Identity(), Standardize([0.485], [2.0], 0), nn.Linear(3, 2)), (0.485,)),
        (nn.Sequential(nn.Sequential(Standardize([1.0], [2.0], 0)), nn.Linear(3, 2)), (1.0,)),
        (nn.DataParallel(nn.Sequential(Standardize([1.0], [2.0], 0), nn.Linear(3, 2))), (1.0,)),
        (Adapter(nn.Sequential(Standardize([1.0], [2.0], 0))), (1.0,)),
        (Adapter(nn.Identity(), normalization=Normalization(0.25, 2)), (0.25,)),
        (nn.Sequential(nn.BatchNorm1d(3)), None),
    ],
)
def test_what_a_net_begins_with(net, mean):
    normalization = normalization_in_effect(net)
    assert (None if normalization is None else normalization.mean) == mean


def test_a_doubled_normalisation_is_noticed():
    net = nn.Sequential(Standardize([1.0], [2.0], 0), nn.Linear(3, 2))
    with pytest.warns(RobustfwWarning, match="normalises its input already, by 1/2"):
        adapt(net, normalize="0.5/0.5")
    with pytest.raises(UsageError, match="adapted already"):
        adapt(adapt(nn.Linear(3, 2), normalize="0.5/0.5"), normalize="0.5/0.5")


def test_it_is_offered_at_the_front():
    assert robustfw.adapt is adapt
