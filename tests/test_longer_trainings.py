"""A run goes on for more epochs than it had, and a trial training takes a few examples of its data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import robustfw as public
from robustfw import DataSpec, Splits, TensorSplit, UsageError
from robustfw.training._subset import take_examples

from .resuming import BASE, checkpoint, facts, interrupt, metrics


def manifest(run):
    return json.loads((Path(run) / "manifest.json").read_text())


@pytest.mark.parametrize("schedule", ["constant", "inverse-time:decay=0.01"])
def test_two_epochs_and_two_more_are_four_for_a_schedule_without_a_horizon(robustfw, watchers, schedule):
    arguments = (*BASE, "--schedule", schedule, "--averaging", "ema:decay=0.9")
    assert robustfw("train", *arguments, "--epochs", "4", "--out", "whole").status == 0
    assert robustfw("train", *arguments, "--epochs", "2", "--out", "run").status == 0
    answer = robustfw("train", "--resume", "--out", "run", "--epochs", "4")
    assert answer.status == 0
    assert f"going on from epoch 2 to 4 epochs instead of 2: from here on the schedule {schedule} is" in answer.out
    assert "the learning rate stays" in answer.out
    for name in ("last", "best"):
        assert checkpoint("run", name).read_bytes() == checkpoint("whole", name).read_bytes(), name
    of_epochs = [{key: value for key, value in line.items() if key != "epochs"} for line in metrics("run")]
    of_whole = [{key: value for key, value in line.items() if key != "epochs"} for line in metrics("whole")]
    assert of_epochs == of_whole


@pytest.mark.parametrize("schedule", ["one-cycle", "cosine", "multistep:milestones=[0.6]"])
def test_a_schedule_with_a_horizon_is_that_of_the_longer_training_from_there_on(robustfw, watchers, schedule):
    arguments = (*BASE, "--schedule", schedule)
    assert robustfw("train", *arguments, "--epochs", "4", "--out", "whole").status == 0
    assert robustfw("train", *arguments, "--epochs", "2", "--out", "run").status == 0
    rate_at_the_end = metrics("run")[-1]["learning_rate"]
    rates = [line["learning_rate"] for line in metrics("whole")]
    assert rate_at_the_end < 0.5 * rates[1]

    answer = robustfw("train", "--resume", "--out", "run", "--epochs", "4")
    assert answer.status == 0
    assert f"the learning rate goes from {rate_at_the_end:.3g} to {rates[1]:.3g}" in answer.out
    assert [line["learning_rate"] for line in metrics("run")][2:] == rates[2:]
    kept = manifest("run")
    assert kept["recipe"]["train"]["epochs"] == 4
    (extension,) = kept["extensions"]
    assert (extension["epoch"], extension["epochs_before"], extension["epochs"]) == (2, 2, 4)
    assert extension["learning_rate_before"] == pytest.approx(rate_at_the_end)
    assert extension["learning_rate"] == pytest.approx(rates[1])
    assert kept["result"]["n"] > 0


def test_what_is_interrupted_after_it_was_extended_goes_on_bit_for_bit(robustfw, watchers):
    arguments = (*BASE, "--epochs", "2")
    for out in ("whole", "run"):
        interrupt(robustfw, watchers, out, arguments, epoch=1, batch=3)
    assert robustfw("train", "--resume", "--out", "whole", "--epochs", "3").status == 0
    interrupt(robustfw, watchers, "run", ("--resume", "--epochs", "3"), epoch=3, batch=2)
    assert robustfw("train", "--resume", "--out", "run").status == 0
    assert checkpoint("run").read_bytes() == checkpoint("whole").read_bytes()
    assert facts(checkpoint("run"))["epoch"] == 3
    assert len(manifest("run")["extensions"]) == 1


def test_a_run_cannot_have_fewer_epochs_than_it_had(robustfw, watchers):
    assert robustfw("train", *BASE, "--epochs", "2", "--out", "run").status == 0
    before = manifest("run")
    robustfw("train", "--resume", "--out", "run", "--epochs", "1").refused(1, "2 epochs", "for more", "leave out")
    assert manifest("run") == before


def test_a_trial_takes_a_few_examples_and_a_resumed_one_as_many(robustfw, watchers):
    arguments = (*BASE, "--batch-size", "32", "--epochs", "1", "--examples", "100")
    assert robustfw("train", *arguments, "--out", "run").status == 0
    kept = manifest("run")
    assert (kept["data"]["train"], kept["data"]["validation"], kept["data"]["test"]) == (100, 100, 100)
    assert kept["recipe"]["train"]["examples"] == 100
    assert kept["result"]["n"] == 100
    robustfw("train", "--resume", "--out", "run", "--examples", "90").refused(1, "examples is 100 there and 90 here")
    # the data is what the whole data set is, so that all of it can be measured
    assert robustfw("evaluate", "run", "--attack", "single-step").status == 0
    assert robustfw("train", "--resume", "--out", "run", "--epochs", "2").status == 0


def data(n=40):
    x = torch.arange(n, dtype=torch.float32)[:, None] / n
    split = TensorSplit(x, torch.arange(n) % 2)
    return Splits(split, split.first(20), split.first(5), DataSpec((1,), 2))


def test_examples_are_drawn_by_the_seed_and_in_their_order():
    few = take_examples(data(), 10, 0)
    assert (len(few.train), len(few.validation), len(few.test)) == (10, 10, 5)
    assert bool((few.train.x.diff(dim=0) > 0).all())
    assert torch.equal(few.train.x, take_examples(data(), 10, 0).train.x)
    assert not torch.equal(few.train.x, take_examples(data(), 10, 1).train.x)
    assert not torch.equal(few.train.x, data().train.x[:10])
    whole = data()
    assert take_examples(whole, None, 0) is whole


def test_more_examples_than_there_are_is_an_error():
    with pytest.raises(UsageError, match="there are 40 training examples: leave out --examples 41"):
        take_examples(data(), 41, 0)
    with pytest.raises(UsageError, match="examples"):
        list(public.train(dataset=data(), epochs=1, examples=0))
