"""The range of the data: numbers, one for each feature, tensors; what is outside, and what is rounding."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import robustfw
from robustfw import DataError, DataSpec, TensorSplit, Threat, UsageError
from robustfw.data.bounds import check_range, ends, spell_bounds

STATISTICS = {
    "ImageNet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "CIFAR-10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "CIFAR-100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "MNIST": ((0.1307,), (0.3081,)),
    "Fashion-MNIST": ((0.2860,), (0.3530,)),
    "halves": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}


def region(x, bounds, radius=10.0):
    return Threat(robustfw.make("uncertainty", f"linf:radius={radius}"), bounds).region(x)


def reach(x, bounds):
    """The lowest and highest x̃ of a set that is larger than the range."""
    threat = Threat(robustfw.make("uncertainty", "linf:radius=10"), bounds)
    at = threat.region(x)
    return [threat.apply(at, x, at.support(sign * torch.ones_like(x))) for sign in (-1, 1)]


def test_numbers_and_one_for_each_feature_by_hand():
    x = torch.tensor([[0.5, 2.0], [0.0, 1.0]])
    low, high = reach(x, (0.0, 3.0))
    assert low.tolist() == [[0, 0], [0, 0]]
    assert high.tolist() == [[3, 3], [3, 3]]
    low, high = reach(x, ((0.0, 1.0), (0.5, 4.0)))
    assert low.tolist() == [[0, 1], [0, 1]]
    assert high.tolist() == [[0.5, 4], [0.5, 4]]
    low, high = reach(x, (-1.0, (0.5, 4.0)))
    assert low.tolist() == [[-1, -1], [-1, -1]]


def test_one_for_each_channel_of_images():
    x = torch.full((2, 3, 4, 4), 0.25)
    low, high = reach(x, ((0.0, 0.1, 0.2), (0.5, 0.6, 0.7)))
    for channel in range(3):
        assert bool((low[:, channel] == torch.tensor(0.1 * channel)).all())
        assert bool((high[:, channel] == torch.tensor((0.5, 0.6, 0.7)[channel])).all())


def test_tensors_that_broadcast():
    x = torch.full((2, 1, 2, 2), 0.5)
    lower, upper = torch.zeros(1, 2, 2), torch.tensor([[[0.5, 0.6], [0.7, 0.8]]])
    low, high = reach(x, (lower, upper))
    assert bool((low == 0).all())
    assert torch.equal(high, upper.expand(2, 1, 2, 2))


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        (((0.0, 0.0), (1.0, 1.0, 1.0)), r"there are 2 bounds, and examples of shape \(3, 2, 2\)"),
        ((torch.zeros(5), 1.0), r"bounds of shape \(5,\) do not fit examples of shape \(3, 2, 2\)"),
    ],
)
def test_bounds_that_do_not_fit(bounds, words):
    with pytest.raises(UsageError, match=words):
        region(torch.full((2, 3, 2, 2), 0.5), bounds)


@pytest.mark.parametrize("name", STATISTICS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_bounds_by_the_formula_that_normalised_the_data_are_taken(name, dtype):
    """(x − mean)/std of 0 and 1 in the tensor's type, the bounds in Python's: they differ by rounding."""
    mean, std = STATISTICS[name]
    shape = (1, len(mean), 1, 1)
    wide = torch.promote_types(dtype, torch.float32)
    levels = torch.arange(256, dtype=wide).reshape(16, 1, 4, 4).expand(16, len(mean), 4, 4) / 255
    x = ((levels - torch.tensor(mean, dtype=wide).reshape(shape)) / torch.tensor(std, dtype=wide).reshape(shape)).to(
        dtype
    )
    bounds = (
        tuple((0 - m) / s for m, s in zip(mean, std, strict=True)),
        tuple((1 - m) / s for m, s in zip(mean, std, strict=True)),
    )
    at = region(x, bounds, radius=0.1)
    assert float(at.violation(at.zero()).max()) == 0
    net = nn.Sequential(nn.Flatten(), nn.Linear(16 * len(mean), 2)).to(dtype)
    moved = robustfw.worst_case(
        net, x, torch.arange(16) % 2, uncertainty="linf:radius=0.1", attack="pgd", bounds=bounds
    )
    lower, upper = (torch.tensor(end, dtype=torch.float64).reshape(shape) for end in bounds)
    assert bool((moved.double() >= lower - 4e-2 * (dtype == torch.bfloat16) - 1e-6).all())
    assert bool((moved.double() <= upper + 4e-2 * (dtype == torch.bfloat16) + 1e-6).all())
    with pytest.raises(DataError, match="outside its bounds"):
        region(x + 0.2, bounds)


def test_beyond_rounding_is_outside():
    one = torch.ones(1, 2)
    assert check_range(one + 2e-7, (0.0, 1.0)), "two units in the last place"
    assert not check_range(one, (0.0, 1.0))
    with pytest.raises(DataError, match=r"x ranges over \[1, 1\], outside its bounds \[0, 1\]"):
        check_range(one + 2e-6, (0.0, 1.0))
    with pytest.raises(DataError, match=r"outside its bounds of each feature \(from 0 to 2 in all\)"):
        check_range(one, ((0.0, 0.0), (0.5, 2.0)))


@pytest.mark.parametrize("bounds", [None, (0.0, 1.0), ((0.0, 0.0), (1.0, 1.0))])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_what_is_no_number_is_refused_with_and_without_a_range(bounds, value):
    x = torch.full((300, 2), 0.5)
    x[123, 1] = value
    with pytest.raises(DataError, match="not finite numbers, in 1 of 300 examples"):
        check_range(x, bounds)
    net = nn.Linear(2, 2)
    y = torch.zeros(300).long()
    asked = {"uncertainty": "linf:radius=0.1", "attack": "single-step", "bounds": bounds}
    with pytest.raises(DataError, match="not finite numbers"):
        robustfw.worst_case(net, x, y, **asked)
    with pytest.raises(DataError, match="not finite numbers"):
        robustfw.evaluate(net, TensorSplit(x, y), **asked)


def test_large_numbers_whose_sum_is_not_finite_are_numbers():
    x = torch.full((4, 3), 2e38)
    assert not check_range(x, None)


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (torch.zeros(3, 2, dtype=torch.uint8), "x is uint8: give floats in the data's range"),
        (torch.zeros(3), r"x has shape \(3,\): give a batch of examples"),
    ],
)
def test_other_forms_are_refused(x, words):
    with pytest.raises(DataError, match=words):
        check_range(x, (0.0, 1.0))


def test_a_batch_of_none_is_in_every_range():
    assert not check_range(torch.zeros(0, 3), (0.0, 1.0))


def test_ends_and_words():
    assert ends(None, torch.zeros(1, 2)) == (-torch.inf, torch.inf)
    lower, upper = ends((0, (1, 2)), torch.zeros(1, 2))
    assert lower == 0.0
    assert upper.tolist() == [1.0, 2.0]
    assert spell_bounds(0.0, 1.0) == "[0, 1]"


def test_a_spec_checks_its_bounds():
    assert DataSpec((2,), 2, bounds=[[0, 1], [2, 3]]).bounds == ((0, 1), (2, 3)), "lists, as JSON has them"
    with pytest.raises(ValueError, match="bounds must ascend"):
        DataSpec((2,), 2, bounds=((0.0, 5.0), 1.0))
    with pytest.raises(ValueError, match="bounds per feature are 2 numbers"):
        DataSpec((2,), 2, bounds=((0.0, 1.0, 2.0), 3.0))


def test_a_training_keeps_ranges_per_feature():
    """No attack takes a feature beyond its own range, whatever the others'."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(40, 2, generator=generator) * torch.tensor([1.0, 100.0])
    y = (x[:, 0] > 0.5).long()
    spec = DataSpec((2,), 2, bounds=((0.0, 0.0), (1.0, 100.0)))
    split = TensorSplit(x, y)
    *_, last = robustfw.train(
        dataset=robustfw.Splits(split, split, split, spec), model="mlp:hidden=[8]", uncertainty="linf:radius=[0.2,20]",
        epochs=1, batch_size=20,
    )  # fmt: skip
    moved = robustfw.worst_case(last.model, x, y, uncertainty="linf:radius=[0.2,20]", attack="pgd", bounds=spec.bounds)
    assert bool((moved >= 0).all())
    assert bool((moved <= torch.tensor([1.0, 100.0])).all())
    assert float((moved - x)[:, 1].abs().max()) > 1, "the second feature moves in its own unit"


@pytest.mark.parametrize(
    ("least", "most", "advice"),
    [
        (0.0, 255.0, r"given as x / 255 \(range=\[0,255\]"),
        (-1.0, 1.0, r"given as \(x \+ 1\) / 2 \(range=\[-1,1\].*normalize=0.5/0.5"),
        (-2.1, 2.6, "standardisation belongs into the model"),
    ],
)
def test_a_usual_range_is_named_with_what_mends_it(least, most, advice):
    with pytest.raises(DataError, match=advice):
        check_range(torch.tensor([[least, most]]), (0.0, 1.0))
