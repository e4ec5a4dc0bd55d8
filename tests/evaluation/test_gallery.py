"""Worst cases for people to look at: what is said of each is short enough to stand under a picture."""

from __future__ import annotations

import pytest
import torch

from robustfw.evaluation._gallery import Gallery
from robustfw.evaluation._measurement import AttackedBatch
from robustfw.task import Classification, Multilabel, Regression, Segmentation


def captions(task, outputs, y):
    """The words under the one example."""
    gallery, x = Gallery(task), torch.zeros(1, 1, 2, 2)
    gallery(AttackedBatch(x, y, x + 0.1, outputs, torch.tensor([True]), torch.tensor([0])))
    return gallery.before[0], gallery.after[0]


TWO_OF_FOUR = torch.tensor([[[[1.0, 1.0], [1.0, 1.0]], [[0.0, 0.0], [2.0, 2.0]]]])


@pytest.mark.parametrize(
    ("task", "outputs", "y", "words"),
    [
        (Classification(), torch.tensor([[0.0, 0.0]]), torch.tensor([1]), ("1", "0, 50 %")),
        (Regression(), torch.tensor([[2.5]]), torch.tensor([[4.0]]), ("4", "2.5")),
        (Regression(), torch.zeros(1, 5), torch.tensor([[0.0, 1, 2, 3, 4]]), ("", "off by 4")),
        (Multilabel(), torch.tensor([[1.0, -1, 1, -1]]), torch.tensor([[1.0, 0, 0, 0]]), ("", "25 % wrong")),
        (Segmentation(), TWO_OF_FOUR, torch.zeros(1, 2, 2).long(), ("", "50 % wrong")),
    ],
)
def test_what_is_said_of_an_example(task, outputs, y, words):
    assert captions(task, outputs, y) == words
