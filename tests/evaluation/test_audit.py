"""The masking checklist by hand: each line that holds attacks against each other can fail on its own."""

from __future__ import annotations

import json

import pytest
import torch

import robustfw
from robustfw import DataError, PluginError, TensorSplit
from robustfw.evaluation._audit import ADVICE, CHECKS, Attacks, TransferExamples, audit
from robustfw.inner.threat import Threat

from .one_pixel import HALF, SPLIT, OneNumber, Share, audit_pixel, failed_lines, find_line


def test_by_hand_all_is_well():
    found = audit_pixel(transfer=[TransferExamples(torch.arange(10), SPLIT.x - 0.1)])
    assert failed_lines(found) == set()
    assert [line.name for line in found.lines] == list(ADVICE)
    assert find_line(found, "large radius").numbers["robust"] == [10, 0, 0]
    assert find_line(found, "large radius").numbers["factors"] == [1, 2, 4]  # 0.8 reaches from the pixels to 0


@pytest.mark.parametrize(
    ("line", "attack", "counted"),
    [
        ("one step", "one", {"fooled_by_one_step": 10, "fooled_by_many_steps": 0, "fooled_by_one_step_alone": 10}),
        ("twice the steps", "double", {"robust": 10, "robust_with_twice_the_steps": 0, "more_fooled": 10, "n": 10}),
        ("restarts", "restarts", {"standing": 10, "more_fooled": 10}),
        ("noise", "noise", {"standing": 10, "more_fooled": 10}),
    ],
)
def test_a_rival_that_wins_fails_its_line_alone(line, attack, counted):
    found = audit_pixel(**{attack: Share(1.0)})
    assert failed_lines(found) == {line}
    assert find_line(found, line).numbers.items() >= counted.items()


def test_twice_the_steps_may_not_fool_fewer_either():
    found = audit_pixel(many=Share(1.0))
    assert failed_lines(found) == {"twice the steps"}
    assert find_line(found, "twice the steps").numbers["fewer_fooled"] == 10


def test_a_transferred_example_that_wins_fails_its_line_alone():
    found = audit_pixel(transfer=[TransferExamples(torch.tensor([7, 3, 5]), SPLIT.x[[7, 3, 5]] - 0.2)])
    assert failed_lines(found) == {"transfer"}
    counted = {"nets": 1, "shown": 3, "standing": 3, "fooled_by_transfer_alone": 3}
    assert find_line(found, "transfer").numbers.items() >= counted.items()


@pytest.mark.parametrize(("fooled", "verdict"), [(1, "passed"), (2, "failed")])
def test_what_is_tolerated_passes_and_one_more_fails(fooled, verdict):
    rows = torch.arange(fooled)
    line = find_line(audit_pixel(transfer=[TransferExamples(rows, SPLIT.x[rows] - 0.2)]), "transfer")
    assert line.verdict == verdict
    assert line.numbers["tolerated"] == 1


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_transferred_examples_are_counted_once_whatever_the_nets_and_batches(batch_size):
    sets, moved = robustfw.make("uncertainty", "linf:radius=0.2"), SPLIT.x - 0.2
    given = [TransferExamples(torch.arange(4), moved[:4]), TransferExamples(torch.arange(2, 6), moved[2:6])]
    found = audit(OneNumber(), SPLIT, threat=Threat(sets), attacks=Attacks(HALF), transfer=given, batch_size=batch_size)
    assert find_line(found, "transfer").numbers["fooled_by_transfer_alone"] == 6


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (TransferExamples(torch.arange(3), SPLIT.x[:3] - 0.21), "3 of 3 transferred examples lie outside the set"),
        (TransferExamples(torch.arange(3), SPLIT.x[:3] - 2), "outside its bounds"),
        (TransferExamples(torch.tensor([10]), SPLIT.x[:1]), "one index each, below 10"),
        (TransferExamples(torch.arange(3), SPLIT.x[:2]), "2 with 3 indices"),
    ],
)
def test_transferred_examples_that_do_not_fit(given, words):
    with pytest.raises(DataError, match=words):
        audit_pixel(transfer=[given])


def test_a_margin_loss_that_finds_more():
    found = audit_pixel(many=Share(0.5, by_margin=1.0))
    assert failed_lines(found) == {"gradients not zero"}
    assert find_line(found, "gradients not zero").numbers["more_fooled_by_margin_loss"] == 10


def test_attacks_that_are_missing_leave_their_lines_unchecked():
    found = audit_pixel(one=None, double=None, restarts=None, noise=None)
    unchecked = {line.name for line in found.lines if line.verdict == "not checked"}
    assert unchecked == {"one step", "twice the steps", "restarts", "noise", "transfer"}
    assert found.verdict == "sound"


def test_a_net_that_knows_nothing_is_not_audited():
    with pytest.raises(DataError, match="none of the 10 examples right"):
        audit_pixel(split=TensorSplit(SPLIT.x, torch.ones(10).long()))


def test_a_rival_that_leaves_its_set_is_named():
    with pytest.raises(PluginError, match="Share left the uncertainty set"):
        audit_pixel(one=Share(2.0))


def test_as_json():
    result = audit_pixel(noise=Share(1.0)).describe()
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert (result["n"], result["verdict"], len(result["lines"])) == (10, "suspicious", len(CHECKS))
    for line in result["lines"]:
        assert line.keys() >= {"name", "verdict", "numbers", "advice"}
        assert line["advice"] == ADVICE[line["name"]]
        assert line["numbers"] or line["verdict"] == "not checked"
