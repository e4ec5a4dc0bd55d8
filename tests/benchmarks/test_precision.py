"""The benchmark's own arithmetic, on small data; its accuracies are for the benchmark to say."""

from __future__ import annotations

import sys
from pathlib import Path

import attrs
import pytest
import torch

import robustfw

sys.path.append(str(Path(__file__).parents[2]))

from benchmarks import precision  # found by the line above


@pytest.fixture
def training():
    return precision.Training("mlp", "digits", "linf:radius=0.1", epochs=4, options={"optimizer": "adamw"})


def outcomes(fp32, bf16):
    def alike(accuracies):
        return [dict.fromkeys(precision.MEASURES, each) for each in accuracies]

    return {"fp32": alike(fp32), "bf16": alike(bf16)}


@pytest.mark.filterwarnings("ignore:at .* the loss has no gradient")
def test_both_precisions_are_trained_and_differ(training):
    data = training.data(None, None, None)
    found = {each: training.outcome(each, 0, 50, data) for each in precision.PRECISIONS}
    assert found["fp32"] != found["bf16"]
    for accuracies in found.values():
        assert 50 < accuracies["clean"] <= 100
        assert accuracies["fast method"] < accuracies["clean"]


def test_the_first_images_may_do(training):
    whole, first = training.data(None, None, None), training.data(None, 64, 30)
    assert (len(first.train), len(first.test)) == (64, 30)
    assert (len(first.validation), first.spec) == (len(whole.validation), whole.spec)
    assert torch.equal(first.train.y, whole.train.y[:64])


@pytest.mark.parametrize("training", precision.NETS.values(), ids=list(precision.NETS))
def test_nets_data_and_sets_are_known(training):
    robustfw.make("model", training.model)
    robustfw.make("dataset", training.dataset)
    robustfw.make("uncertainty", training.uncertainty)


def test_a_row_pairs_by_seed():
    row = precision.rows("net", 3, outcomes([90, 91, 92], [91, 92, 93]))[0]
    assert row["difference"] == "+1.00 ± 0.00"
    assert row["fp32"] == "91.00 ± 2.48"


def test_the_claim_is_that_bf16_is_not_below_the_interval():
    assert precision.holds(precision.rows("net", 3, outcomes([90, 91, 92], [88.6, 88.6, 88.6])))
    assert precision.holds(precision.rows("net", 3, outcomes([90, 91, 92], [95, 95, 95])))
    assert not precision.holds(precision.rows("net", 3, outcomes([90, 91, 92], [88.5, 88.5, 88.5])))


def test_what_fails_in_a_training_is_said_and_no_traceback(monkeypatch, capsys, training):
    monkeypatch.setitem(precision.NETS, "paper-mnist", attrs.evolve(training, uncertainty="linf:radius=-1"))
    monkeypatch.setattr(sys, "argv", ["precision", "--only", "paper-mnist"])
    with pytest.raises(SystemExit) as stopped:
        precision.main()
    assert stopped.value.code == 2
    assert "radius must be finite and not negative" in capsys.readouterr().err
