"""Results in notebooks and data frames, and pictures as a figure."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from torch import nn

import robustfw
from robustfw import DataError, RobustfwWarning, TensorSplit
from robustfw.evaluation import Comparison, Fooled, Sweep
from robustfw.evaluation._audit import Audit
from robustfw.evaluation._checklist import Line
from robustfw.evaluation._transfer import Share, Transfer

ATTACK = {"uncertainty": "linf:radius=0.2", "attack": "pgd:steps=3"}


def evaluation():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    x = torch.rand(50, 1, 4, 4)
    with torch.no_grad():
        y = net(x).argmax(1)
    y[0] = (y[0] + 1) % 3
    return robustfw.evaluate(net, TensorSplit(x, y), **ATTACK)


class Cells(HTMLParser):
    """The texts of a table's cells; an error where tags do not close or something is fetched."""

    def __init__(self, html):
        super().__init__()
        self.texts = []
        self.open = []
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        assert not {"src", "href"} & dict(attributes).keys()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "td":
            self.texts.append(data)


def test_an_evaluation_shows_itself():
    result = evaluation()
    texts = Cells(result._repr_html_()).texts
    assert texts[:2] == ["clean", "98.00%"]
    assert texts[4] == "robust"
    assert f"{result.robust} of 50" in texts
    low, high = result.interval
    assert f"{low:.2%} to {high:.2%}" in texts


def test_doubts_are_shown_and_words_are_escaped():
    class Flat(nn.Linear):
        def forward(self, x):
            return 0 * super().forward(x)

    x = torch.rand(9, 4)
    with pytest.warns(RobustfwWarning) as caught:
        result = robustfw.evaluate(Flat(4, 3), TensorSplit(x, torch.arange(9) % 3), **ATTACK)
    html = result._repr_html_()
    assert len(caught) == len(result.doubts) >= 2
    assert all(doubt in html for doubt in result.doubts)
    transfer = Transfer(1, 1, 1.0, (0.2, 1.0), 1.0, (Share("<b>", 1, 1, 1.0, (0.2, 1.0)),))
    assert "<b>" not in transfer._repr_html_()


def test_rows_are_flat_and_make_a_data_frame():
    pandas = pytest.importorskip("pandas")
    result = evaluation()
    row = result.to_row()
    assert all(value is None or isinstance(value, bool | int | float | str) for value in row.values())
    assert (row["n"], row["robust"], row["interval_low"]) == (50, result.robust, result.interval[0])
    frame = pandas.DataFrame([row, row])
    assert frame["robust_accuracy"].tolist() == [result.robust_accuracy] * 2
    examples = pandas.DataFrame(result.examples.to_rows())
    assert examples["robust"].mean() == pytest.approx(result.robust_accuracy)


def test_other_results_have_rows_and_tables():
    fooled = Fooled(torch.tensor([[True, True], [False, True], [False, False]]), torch.tensor([0.0, 1.5, torch.inf]))
    results = [
        Sweep.from_fooled(fooled, [1.0, 2.0]),
        Comparison.from_masks(torch.tensor([True, True, False]), torch.tensor([True, False, False])),
        Audit.from_lines(3, [Line.check("noise", False, "2 of 3"), Line.skip("restarts", "none")]),
        Transfer(3, 1, 1 / 3, (0.1, 0.7), 0.3, (Share("linf", 3, 1, 1 / 3, (0.1, 0.7)),)),
    ]
    for result in results:
        assert Cells(result._repr_html_()).texts
        assert all(not isinstance(value, tuple | list | dict) for value in result.to_row().values())
    sweep, comparison, audit, transfer = results
    assert sweep.to_row()["accuracy at 2"] == pytest.approx(1 / 3)
    assert comparison.to_row()["only_first"] == 1
    assert audit.to_row()["noise"] == "failed"
    assert "use attacks without gradients" in audit._repr_html_()
    assert transfer.to_row()["linf"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_are_a_figure(channels):
    x = torch.rand(7, channels, 8, 8)
    adversarial = (x + 0.03 * torch.randn_like(x).sign()).clamp(0, 1)
    figure = robustfw.show_pictures(x, adversarial, after=[f"class {i}" for i in range(7)])
    (axes,) = figure.axes
    assert len(axes.images) == 3 * 7
    texts = [text.get_text() for text in axes.texts]
    assert texts.count("×30") == 7
    assert {"original", "change", "adversarial", "class 6"} <= set(texts)
    # arrays in another range give the same pictures
    again = robustfw.show_pictures(x.numpy() * 4 - 2, adversarial.numpy() * 4 - 2, bounds=(-2.0, 2.0))
    np.testing.assert_allclose(again.axes[0].images[0].get_array(), axes.images[0].get_array(), atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((torch.rand(2, 5), torch.rand(2, 5)), r"original has the shape \(2, 5\)"),
        ((torch.rand(2, 1, 4, 4), torch.rand(3, 1, 4, 4)), "images of one shape"),
        ((torch.rand(0, 1, 4, 4), torch.rand(0, 1, 4, 4)), "not one image"),
    ],
)
def test_what_is_no_picture_is_told(arguments, words):
    with pytest.raises(DataError, match=words):
        robustfw.show_pictures(*arguments)
    assert re.search("for 2 images", str(_too_few_words()))


def _too_few_words():
    with pytest.raises(DataError) as error:
        robustfw.show_pictures(torch.rand(2, 1, 4, 4), torch.rand(2, 1, 4, 4), before=["one"])
    return error.value
