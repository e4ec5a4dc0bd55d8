"""A resumed training has all of its state: optimizers, schedules, averages; and a finished run stays as it is."""

from __future__ import annotations

import contextlib
import json

import pytest
from safetensors import safe_open

from robustfw.records import Step

from .resuming import BASE, USUAL, assert_equal_runs, checkpoint, facts, interrupt, metrics

# What else is in a state


@pytest.mark.parametrize(
    "schedule",
    ["constant", "cosine", "multistep:milestones=[0.3,0.6,0.9]", "one-cycle:pct_start=0.5", "inverse-time:decay=0.1"],
)
@pytest.mark.parametrize("optimizer", ["sgd:momentum=0.9", "sgd:momentum=0", "adamw:weight_decay=0.1", "muon"])
def test_optimizers_and_schedules(optimizer, schedule, robustfw, watchers):
    rate = "0.01" if optimizer.startswith("adamw") else "0.1"
    arguments = (*BASE, "--epochs", "2", "--learning-rate", rate, "--optimizer", optimizer, "--schedule", schedule)
    assert robustfw("train", *arguments, "--out", "whole").status == 0
    interrupt(robustfw, watchers, "run", arguments, epoch=1, batch=5)
    assert robustfw("train", "--resume", "--out", "run").status == 0
    assert_equal_runs("run", "whole")
    assert len({line["learning_rate"] for line in metrics("run")}) == (1 if schedule == "constant" else 2)


def test_momentum_of_filters(robustfw, watchers):
    arguments = (*BASE, "--model", "fast-cifar:widths=[8]", "--epochs", "2", "--optimizer", "muon")
    assert robustfw("train", *arguments, "--out", "whole").status == 0
    interrupt(robustfw, watchers, "run", arguments, epoch=1, batch=5)
    with safe_open(checkpoint("run"), framework="pt") as file:
        kept = [name for name in file.keys() if name.endswith(".filter_momentum")]  # noqa: SIM118  # not a mapping
    assert len(kept) == 2, "of both convolutions that learn; the first one is fixed"
    assert robustfw("train", "--resume", "--out", "run").status == 0
    assert_equal_runs("run", "whole")


def test_weights_to_roll_back_to(robustfw, watchers):
    """The net learns against a weak attack, overfits, is rolled back: before the interruption and after it."""
    arguments = (
        *BASE, "--epochs", "5", "--attack", "random:samples=1", "--uncertainty", "linf:radius=0.2",
        "--validation-attack", "pgd:steps=5", "--on-overfitting", "roll-back", "--learning-rate", "0.02",
        "--schedule", "one-cycle:pct_start=0.9",
    )  # fmt: skip
    assert robustfw("train", *arguments, "--out", "whole").status == 0
    rolled_back = [line["epoch"] for line in metrics("whole") if "rolled back" in " ".join(line["warnings"])]
    assert 1 < rolled_back[0] < rolled_back[-1]
    interrupt(robustfw, watchers, "run", arguments, epoch=rolled_back[-1], batch=3)
    with safe_open(checkpoint("run"), framework="pt") as file:
        good = {name.removeprefix("good.") for name in file.keys() if name.startswith("good.")}  # noqa: SIM118
        assert good == {name.removeprefix("model.") for name in file.keys() if name.startswith("model.")}  # noqa: SIM118
    assert robustfw("train", "--resume", "--out", "run").status == 0
    assert_equal_runs("run", "whole")


def test_warm_up_clipping_augmentation_and_ascent_in_training_mode(robustfw, watchers):
    arguments = (*USUAL, "--radius-warmup", "2.5", "--clip", "0.5", "--ascent-mode", "train", "--seed", "7")
    assert robustfw("train", *arguments, "--out", "whole").status == 0
    interrupt(robustfw, watchers, "run", arguments)
    assert robustfw("train", "--resume", "--out", "run").status == 0
    assert_equal_runs("run", "whole")


# A run that is finished, a run that is not there


def test_a_finished_run_is_evaluated_again_and_left_alone(robustfw, whole):
    before = checkpoint(whole).read_bytes(), checkpoint(whole).stat().st_mtime_ns, metrics(whole)
    result = json.loads((whole / "manifest.json").read_text())["result"]
    answer = robustfw("train", "--resume", "--out", whole)
    assert answer.status == 0
    assert answer.out.splitlines()[0] == "the training in whole is finished"
    assert "robust accuracy" in answer.out
    assert (checkpoint(whole).read_bytes(), checkpoint(whole).stat().st_mtime_ns, metrics(whole)) == before
    again = json.loads((whole / "manifest.json").read_text())["result"]
    assert {**again, "seconds": 0} == {**result, "seconds": 0}


def test_without_a_run_yet_resume_starts_one(robustfw, whole):
    assert robustfw("train", *USUAL, "--resume", "--out", "run").status == 0
    assert_equal_runs("run", whole)


def test_a_program_stops_and_resumes(watchers, robustfw, whole):
    import robustfw as package

    options = {
        "model": "delicate", "attack": "pgd:steps=2", "batch_size": 128, "validation_examples": 60, "threads": 1,
        "device": "cpu", "epochs": 3, "ema": 0.9, "out": "run",
    }  # fmt: skip
    with contextlib.closing(package.train(**options, steps=True)) as records:
        for record in records:
            if isinstance(record, Step) and (record.epoch, record.batch) == (2, 4):
                break
    assert facts(checkpoint("run"))["batch"] == 4
    assert [record.epoch for record in package.train(**options, resume=True)] == [2, 3]
    assert_equal_runs("run", whole)
