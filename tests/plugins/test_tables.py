"""Data sets that scikit-learn ships for every task, and the nets that fit any of them."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
import torch
from sklearn import datasets

import robustfw
from robustfw import DataError, DataSpec, UsageError
from robustfw.data.splits import TensorSplit
from robustfw.task import Binary, Classification, Multilabel, Regression, Segmentation

SHIPPED = ["diabetes", "breast-cancer", "wine", "digits-segmentation", "digits-multilabel"]
TABLES = {
    "diabetes": (lambda: datasets.load_diabetes(scaled=False), 10),
    "breast-cancer": (datasets.load_breast_cancer, 30),
    "wine": (datasets.load_wine, 13),
}


def load(spec):
    splits = robustfw.make("dataset", spec).load(None)
    splits.check()
    return splits


def whole(splits):
    """All examples, in no particular order."""
    parts = (splits.train, splits.validation, splits.test)
    return torch.cat([part.x for part in parts]), torch.cat([part.y for part in parts])


@pytest.mark.parametrize("name", TABLES)
def test_tables_have_their_features_in_their_own_units(name):
    source, features = TABLES[name]
    splits = load(f"{name}:scale=raw")
    x, y = whole(splits)
    bunch = source()
    assert splits.spec.shape == (features,)
    np.testing.assert_allclose(sorted(x.sum(1).tolist()), sorted(bunch.data.sum(1)), rtol=1e-5)
    np.testing.assert_allclose(sorted(y.tolist()), sorted(bunch.target), rtol=1e-6)
    low, high = (torch.tensor(bound) for bound in splits.spec.bounds)
    assert torch.equal(low, x.amin(0)), "a feature's range is that of its values, to the bit"
    assert torch.equal(high, x.amax(0))


@pytest.mark.parametrize("name", TABLES)
def test_one_radius_is_a_share_of_each_features_range(name):
    unit, raw = load(name), load(f"{name}:scale=raw")
    assert unit.spec.bounds == (0, 1)
    x, _ = whole(unit)
    assert torch.equal(x.amin(0), torch.zeros(x.shape[1]))
    assert torch.equal(x.amax(0), torch.ones(x.shape[1]))
    low, high = (torch.tensor(bound, dtype=torch.float64) for bound in raw.spec.bounds)
    own, _ = whole(raw)
    torch.testing.assert_close(x.double(), (own.double() - low) / (high - low), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("scale", ["unit", "raw"])
def test_the_statistics_are_those_of_what_is_not_test(name, scale):
    splits = load(f"{name}:scale={scale}")
    known = torch.cat([splits.train.x, splits.validation.x]).double()
    torch.testing.assert_close(torch.tensor(splits.spec.mean, dtype=torch.float64), known.mean(0))
    torch.testing.assert_close(torch.tensor(splits.spec.std, dtype=torch.float64), known.std(0))


def test_the_progression_of_diabetes_and_its_tolerance_are_in_points():
    raw, unit = load("diabetes:scale=raw,tolerance=30"), load("diabetes:tolerance=30")
    assert raw.spec.task == Regression(tolerance=30.0)
    assert (float(whole(raw)[1].min()), float(whole(raw)[1].max())) == (25, 346)
    assert (float(whole(unit)[1].min()), float(whole(unit)[1].max())) == (0, 1)
    assert unit.spec.task == Regression(tolerance=30.0, unit=321.0)
    torch.testing.assert_close(321 * unit.test.y + 25, raw.test.y)


def test_what_the_tables_are_for():
    cancer, wine = load("breast-cancer").spec, load("wine").spec
    assert (cancer.task, cancer.classes, cancer.outputs, cancer.labels) == (Binary(), 2, 1, ("malignant", "benign"))
    assert (wine.task, wine.classes, wine.outputs) == (Classification(), 3, 3)


def test_pixels_of_ink_are_those_that_were_at_least_half_black():
    still = load("digits-segmentation:noise=0")
    x, y = whole(still)
    assert y.shape == (1797, 8, 8)
    assert torch.equal(y == 1, x[:, 0] >= 0.5)
    noisy = load("digits-segmentation:noise=0.2,share=0.3")
    assert torch.equal(whole(noisy)[1], y), "the noise is in the images alone"
    assert float((whole(noisy)[0] - x).square().mean().sqrt()) == pytest.approx(0.14, abs=0.02)
    assert noisy.spec.task == Segmentation(share=0.3)
    assert noisy.fingerprint() == load("digits-segmentation:noise=0.2").fingerprint()


def test_augmentations_that_move_pixels_are_refused_where_each_has_a_class():
    from robustfw_vision.augment import Crop

    moved = attrs.evolve(load("digits-segmentation"), augment=Crop(pad=1))
    with pytest.raises(DataError, match="leave it out for a segmentation"):
        moved.check()
    attrs.evolve(load("digits-multilabel"), augment=Crop(pad=1)).check()


def test_labels_of_digits_are_three_questions():
    digits, several = load("digits"), load("digits-multilabel:tolerated=1")
    assert several.spec.task == Multilabel(tolerated=1)
    assert several.spec.labels == ("odd", "above four", "loop")
    expected = {0: [0, 0, 1], 1: [1, 0, 0], 4: [0, 0, 0], 5: [1, 1, 0], 8: [0, 1, 1], 9: [1, 1, 1]}
    for digit, answers in expected.items():
        rows = several.test.y[digits.test.y == digit]
        assert len(rows)
        assert (rows == torch.tensor(answers)).all()


@pytest.mark.parametrize("name", SHIPPED)
def test_they_need_no_files(name, tmp_path):
    splits = robustfw.make("dataset", name).load(tmp_path)
    assert not list(tmp_path.iterdir())
    assert splits.fingerprint() == robustfw.make("dataset", name).load(tmp_path).fingerprint()


def test_few_labels_are_for_classes():
    with pytest.raises(UsageError, match="few-labels takes labels from a classification"):
        robustfw.make("dataset", "few-labels:dataset=diabetes").load(None)


EVERY_TASK = {
    "classification": (Classification(), 3, (3,)),
    "binary": (Binary(), 2, (1,)),
    "multilabel": (Multilabel(), 4, (4,)),
    "one target": (Regression(), 1, (1,)),
    "two targets": (Regression(), 2, (2,)),
}


@pytest.mark.parametrize("model", ["linear", "mlp:hidden=[5]", "mlp:hidden=[]"])
@pytest.mark.parametrize("task", EVERY_TASK)
@pytest.mark.parametrize("shape", [(1,), (6,), (2, 5), (1, 1, 1), (3, 1, 1), (2, 3, 4), (2, 3, 4, 5)])
@pytest.mark.parametrize("known", [False, True])
def test_perceptrons_take_examples_of_any_shape_and_task(model, task, shape, known):
    kind, classes, outputs = EVERY_TASK[task]
    statistics = {"mean": (0.5,) * shape[0], "std": (2.0,) * shape[0]} if known else {}
    spec = DataSpec(shape, classes, task=kind, **statistics)
    net = robustfw.make("model", model).build(spec)
    assert net(torch.rand(4, *shape)).shape == (4, *outputs)


@pytest.mark.parametrize("model", ["linear", "mlp:hidden=[5]", "fcn:width=4,layers=2"])
def test_nets_for_segmentation_answer_for_each_pixel(model):
    spec = DataSpec((3, 6, 5), 4, task=Segmentation())
    assert robustfw.make("model", model).build(spec)(torch.rand(2, 3, 6, 5)).shape == (2, 4, 6, 5)


@pytest.mark.parametrize(
    "model",
    ["paper-mnist", "paper-cifar", "fast-cifar", "madry-mnist", "resnet18-cifar", "scattering", "torchvision"],
)
def test_nets_with_one_answer_for_each_image_are_not_for_pixels(model):
    spec = DataSpec((3, 32, 32), 4, task=Segmentation())
    with pytest.raises(UsageError, match=r"gives one answer for each image, .* take fcn, linear or mlp"):
        robustfw.make("model", model).build(spec)


@pytest.mark.parametrize(
    "model",
    ["paper-mnist", "paper-cifar", "fast-cifar", "madry-mnist", "resnet18-cifar", "scattering", "torchvision", "fcn"],
)
def test_convolutional_nets_need_images(model):
    with pytest.raises(UsageError, match="needs images"):
        robustfw.make("model", model).build(DataSpec((30,), 2))


@pytest.mark.parametrize("model", ["paper-mnist", "resnet18-cifar:width=4", "scattering", "fcn:width=4"])
def test_convolutional_nets_give_as_many_numbers_as_the_task_needs(model):
    for task, classes, outputs in EVERY_TASK.values():
        net = robustfw.make("model", model).build(DataSpec((1, 28, 28), classes, task=task))
        assert net.eval()(torch.rand(2, 1, 28, 28)).shape == (2, *outputs)


def test_features_are_standardised_each_by_its_own_statistics():
    spec = DataSpec((3,), 1, task=Regression(), bounds=None, mean=(1.0, 2.0, 3.0), std=(0.5, 10.0, 0.0))
    net = robustfw.make("model", "linear").build(spec)
    x = torch.rand(4, 3)
    standard = (x - torch.tensor([1.0, 2.0, 3.0])) / torch.tensor([0.5, 10.0, 1.0])
    torch.testing.assert_close(net(x), net[-1](standard))


def test_a_pixel_of_fcn_sees_its_neighbourhood_alone():
    net = robustfw.make("model", "fcn:width=8,layers=2").build(DataSpec((1, 11, 11), 2, task=Segmentation()))
    x = torch.rand(1, 1, 11, 11, requires_grad=True)
    (gradient,) = torch.autograd.grad(net(x)[0, :, 5, 5].sum(), x)
    seen = gradient[0, 0].nonzero()
    assert seen.amin(0).tolist() >= [3, 3]
    assert seen.amax(0).tolist() <= [7, 7]


def test_layers_that_no_memory_holds():
    with pytest.raises(UsageError, match=r"fully connected layers would take [\d,]+ GiB, .* choose fewer hidden units"):
        robustfw.make("model", "mlp:hidden=[1000000,1000000]").build(load("digits").spec)


@pytest.mark.parametrize("model", ["paper-mnist", "madry-mnist", "paper-cifar"])
def test_images_whose_layers_no_memory_holds(model):
    with pytest.raises(UsageError, match=rf"fully connected layer of {model} would take .* choose smaller images"):
        robustfw.make("model", model).build(DataSpec((1, 1_000_000, 1_000_000), 10))


def test_single_numbers_need_an_axis():
    with pytest.raises(UsageError, match=r"give them the shape \(1,\)"):
        robustfw.make("model", "linear").build(DataSpec((), 2))


@pytest.mark.parametrize("name", ["wine", "breast-cancer", "diabetes", "diabetes:scale=raw"])
def test_a_linear_model_learns_the_tables(name):
    """As well as the best constant at least: half of its error rate, or of its squared error."""
    splits = load(name)
    torch.manual_seed(0)
    net = robustfw.make("model", "linear").build(splits.spec)
    task, x, y = splits.spec.task, splits.train.x, splits.spec.task.targets(splits.train.y)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    for _ in range(300):
        loss = task.loss(task.read(net(x), len(x)), y).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    x, y = splits.test.x, task.targets(splits.test.y)
    with torch.no_grad():
        outputs = task.read(net(x), len(x))
    if task.labelled:
        constant = 1 - float(y.bincount().max()) / len(y)
        assert float(task.wrong(outputs, y).float().mean()) < constant / 2
    else:
        assert float((outputs - y).square().mean()) < 0.6 * float((y - y.mean()).square().mean())


def test_a_class_for_each_pixel_is_learnt():
    splits = load("digits-segmentation")
    torch.manual_seed(0)
    net = robustfw.make("model", "fcn:width=16,layers=2").build(splits.spec)
    task, train = splits.spec.task, splits.train.first(200)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(100):
        loss = task.loss(task.read(net(train.x), len(train)), train.y).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        wrong = task.wrong(net(splits.test.x), splits.test.y)
    assert float(wrong.float().mean()) < 0.3


def test_raw_and_unit_examples_are_the_same_rows():
    assert attrs.evolve(load("wine").spec, bounds=None, mean=None, std=None) == attrs.evolve(
        load("wine:scale=raw").spec, bounds=None, mean=None, std=None
    )
    assert isinstance(load("wine").train, TensorSplit)
    assert torch.equal(load("wine").train.y, load("wine:scale=raw").train.y)
