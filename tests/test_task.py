"""Tasks: what a target is, when an output is wrong, and what else is measured, by hand."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch

import robustfw
from robustfw import DataError, DataSpec, UsageError
from robustfw.task import Binary, Classification, Multilabel, Regression, Segmentation

INFINITY = torch.inf
NAN = torch.nan


def test_classes_by_hand():
    task = Classification()
    outputs = task.read(torch.tensor([[2.0, 1.0], [1.0, 2.0], [1.0, 1.0], [NAN, 0.0], [0.0, -INFINITY]]), 5)
    assert task.wrong(outputs, torch.zeros(5).long()).tolist() == [False, True, True, True, False]
    assert task.measure(outputs, torch.zeros(5).long()) is None
    assert (task.outputs(7), task.labelled, task.graded) == (7, True, False)


@pytest.mark.parametrize(
    "y",
    [
        torch.tensor([0, 2, 1]),
        torch.tensor([0, 2, 1], dtype=torch.int32),
        torch.tensor([0, 2, 1], dtype=torch.uint8),
        torch.tensor([[0], [2], [1]]),
        torch.tensor([[1, 0, 0], [0, 0, 1], [0, 1, 0]]),
        torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, 1, 0]]),
    ],
    ids=["int64", "int32", "uint8", "(n, 1)", "one-hot", "one-hot floats"],
)
def test_labels_of_each_form_are_the_same_labels(y):
    labels = Classification().targets(y)
    assert labels.tolist() == [0, 2, 1]
    assert labels.dtype == torch.int64


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (torch.tensor([0.0, 1.0]), r"labels are float32: give int64 \(y.long\(\)\)"),
        (torch.tensor([[0.5, 0.5], [1.0, 0.0]]), r"several numbers per example.*y.argmax\(1\)"),
        (torch.tensor([[1, 1], [1, 0]]), "several numbers per example"),
        (torch.zeros(2, 1, 2).long(), r"labels have shape \(2, 1, 2\), and should have one number per example"),
        (torch.tensor(3), r"labels have shape \(\)"),
    ],
)
def test_what_is_no_label_is_refused(y, words):
    with pytest.raises(DataError, match=words):
        Classification().targets(y)


@pytest.mark.parametrize(("label", "lowest"), [(3, 0), (-2, -2)])
def test_labels_beyond_the_classes_are_refused(label, lowest):
    with pytest.raises(DataError, match=rf"labels run from {lowest} to {max(label, 0)}, outside 0 … 2"):
        Classification().check(torch.tensor([0, label]), 3)
    Classification().check(torch.tensor([-1, 2]), 3)
    Classification().check(torch.zeros(0).long(), 3)


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        (torch.zeros(4), 'has the task "binary", one that gives a number "regression"'),
        (torch.zeros(4, 1), r"outputs have shape \(4, 1\).*two classes at least: a net with one logit"),
        (torch.zeros(4, 3, 2), r"outputs have shape \(4, 3, 2\), and classification needs \(examples, classes\)"),
        (torch.zeros(3, 3), r"outputs have shape \(3, 3\) for 4 examples: give a row for each"),
        (torch.zeros(4, 3).long(), "outputs are int64: give the logits, not the predicted classes"),
        (
            ("a", torch.zeros(4, 3)),
            r"returns tuple with 0: str, 1: \(4, 3\): write output=NAME .*robustfw.adapt\(net, output=…\)",
        ),
        ({"scores": torch.zeros(4, 3), "features": torch.zeros(4, 9)}, r"dict with scores: \(4, 3\), features: "),
        ({"logits": None}, "returns dict with logits: NoneType"),
        (None, "returns an object of type NoneType"),
    ],
)
def test_outputs_that_are_no_logits_are_refused(outputs, words):
    with pytest.raises(DataError, match=words):
        Classification().read(outputs, 4)


@pytest.mark.parametrize("task", [Classification(), Binary(), Multilabel(), Regression(), Segmentation()])
def test_logits_are_found_among_what_a_net_gives(task):
    shape = {"Binary": (4, 1), "Segmentation": (4, 3, 2, 2)}.get(type(task).__name__, (4, 3))
    logits = torch.randn(shape)
    expected = task.read(logits, 4)
    for outputs in ({"loss": None, "logits": logits}, SimpleNamespace(logits=logits), (logits, None), [logits]):
        assert torch.equal(task.read(outputs, 4), expected)


def test_one_logit_by_hand():
    """Class 1 where z > 0; at 0 nothing is decided."""
    task, z = Binary(), torch.tensor([2.0, -2.0, 0.0, NAN])
    for outputs in (task.read(z, 4), task.read(z[:, None], 4)):
        assert outputs.shape == (4, 2)
        assert task.wrong(outputs, torch.ones(4).long()).tolist() == [False, True, True, True]
        assert task.wrong(outputs, torch.zeros(4).long()).tolist() == [True, False, True, True]
    assert task.targets(torch.tensor([[0.0], [1.0]])).tolist() == [0, 1]
    assert task.targets(torch.tensor([0, 1])).tolist() == [0, 1]
    assert task.outputs(2) == 1
    with pytest.raises(DataError, match='one logit per example: a net with two has the task "classification"'):
        task.read(torch.zeros(4, 2), 4)
    with pytest.raises(DataError, match="two classes, not 3"):
        task.check(torch.tensor([0]), 3)
    with pytest.raises(DataError, match="labels are float32"):
        task.targets(torch.tensor([0.5, 1.0]))


def test_several_labels_by_hand():
    outputs, y = torch.tensor([[1.0, -1.0, 2.0], [1.0, 1.0, 0.0]]), torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])
    assert Multilabel().wrong(outputs, y).tolist() == [False, True]
    assert Multilabel(tolerated=1).wrong(outputs, y).tolist() == [False, True]
    assert Multilabel(tolerated=2).wrong(outputs, y).tolist() == [False, False]
    measured = Multilabel().measure(outputs, y)
    torch.testing.assert_close(measured, torch.tensor([[0.0], [2 / 3]], dtype=torch.float64))
    assert Multilabel().metrics(measured) == {"labels right": pytest.approx(2 / 3)}
    assert Multilabel().targets(torch.tensor([[0, 1]])).dtype == torch.float32
    for y, words in ((torch.tensor([[0.0, 2.0]]), "are 0 or 1"), (torch.zeros(1, 3), "3 labels per example where 2")):
        with pytest.raises(DataError, match=words):
            Multilabel().check(y, 2)


def test_numbers_by_hand():
    task = Regression(tolerance=0.5)
    outputs, y = torch.tensor([[1.0, 2.0], [0.0, 0.0], [NAN, 0.0]]), torch.tensor([[1.5, 2.0], [0.0, -0.6], [0.0, 0.0]])
    assert task.wrong(outputs, y).tolist() == [False, True, True]
    torch.testing.assert_close(task.measure(outputs, y)[:2, 0], torch.tensor([0.5, 0.6], dtype=torch.float64))
    figures = task.metrics(torch.tensor([[1.0], [2.0], [3.0]], dtype=torch.float64))
    assert figures["mean error"] == pytest.approx(2)
    assert figures["median error"] == pytest.approx(2)
    assert figures["largest error"] == 3
    assert task.targets(torch.tensor([1.0, 2.0])).shape == (2, 1)
    assert task.read(torch.tensor([1.0, 2.0]), 2).shape == (2, 1)
    with pytest.raises(DataError, match=r"targets are int64: a regression needs floating point \(y.float\(\)\)"):
        task.targets(torch.tensor([1, 2]))
    with pytest.raises(DataError, match="the net gives 2 numbers per example, and there are 1 targets"):
        task.wrong(torch.zeros(3, 2), torch.zeros(3, 1))
    with pytest.raises(DataError, match="not finite numbers"):
        task.check(torch.tensor([[INFINITY]]), 1)
    with pytest.raises(DataError, match="1 targets per example where 2 are declared"):
        task.check(torch.zeros(3, 1), 2)


def test_numbers_that_were_scaled_keep_their_unit():
    """y is in units of 100: an output that is off by 0.3 is off by 30."""
    task = Regression(tolerance=25, unit=100)
    outputs, y = torch.tensor([[0.3], [0.2]]), torch.zeros(2, 1)
    assert task.wrong(outputs, y).tolist() == [True, False]
    torch.testing.assert_close(task.measure(outputs, y).float(), torch.tensor([[30.0], [20.0]]))


def test_pixels_by_hand():
    """Two of three labelled pixels right; the fourth has no label."""
    y = torch.tensor([[[0, 1], [1, -1]]])
    outputs = torch.zeros(1, 2, 2, 2)
    outputs[0, 1] = torch.tensor([[-1.0, 1.0], [-1.0, 5.0]])
    assert Segmentation(share=0.3).wrong(outputs, y).tolist() == [True]
    assert Segmentation(share=0.4).wrong(outputs, y).tolist() == [False]
    measured = Segmentation().measure(outputs, y)
    torch.testing.assert_close(measured, torch.tensor([[1 / 3, 1, 1, 2, 2]], dtype=torch.float64))
    figures = Segmentation().metrics(measured)
    assert figures["mean IoU"] == pytest.approx(0.5), "each class: one pixel of both, two of either"
    assert figures["pixels right"] == pytest.approx(2 / 3)
    assert Segmentation().targets(y[:, None]).shape == (1, 2, 2)
    with pytest.raises(DataError, match="a class for each pixel"):
        Segmentation().targets(torch.tensor([0, 1]))
    with pytest.raises(DataError, match=r"the net gives classes for \(4, 4\) pixels, and targets are for \(2, 2\)"):
        Segmentation().wrong(torch.zeros(1, 2, 4, 4), y)


def test_a_class_that_occurs_nowhere_is_no_part_of_the_mean():
    y, outputs = torch.zeros(1, 2, 2).long(), torch.zeros(1, 3, 2, 2)
    outputs[:, 0] = 1
    assert Segmentation().metrics(Segmentation().measure(outputs, y))["mean IoU"] == 1
    nothing = Segmentation().measure(outputs, torch.full_like(y, -1))
    assert math.isnan(Segmentation().metrics(nothing)["mean IoU"])
    assert Segmentation().wrong(outputs, torch.full_like(y, -1)).tolist() == [False]


def test_specs_name_tasks():
    assert robustfw.make("task", "regression:tolerance=25") == Regression(25.0)
    assert robustfw.make("task", "segmentation:share=0.2") == Segmentation(0.2)
    for spec in ("regression:tolerance=0", "segmentation:share=1", "multilabel:tolerated=-1"):
        with pytest.raises(UsageError):
            robustfw.make("task", spec)


@pytest.mark.parametrize(
    ("task", "classes", "outputs"),
    [(Classification(), 10, 10), (Binary(), 2, 1), (Multilabel(), 5, 5), (Regression(), 3, 3), (Segmentation(), 4, 4)],
)
def test_a_spec_says_how_many_outputs_a_net_has(task, classes, outputs):
    spec = DataSpec((6,), classes, task=task)
    assert spec.outputs == outputs
    if not isinstance(task, Segmentation):
        net = robustfw.make("model", "mlp:hidden=[3]").build(spec)
        assert net(torch.rand(2, 6)).shape == (2, outputs)
