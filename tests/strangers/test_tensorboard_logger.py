"""A logger that writes what TensorBoard reads, into the directory of the run that it is told."""

from __future__ import annotations

import contextlib
import json

import pytest

import robustfw

pytest.importorskip("tensorboard")

OPTIONS = {"model": "mlp:hidden=[16]", "attack": "single-step", "batch_size": 400, "device": "cpu", "seed": 0}


def events(run):
    """Scalars by tag as (step, value), and texts by tag."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(run / "tensorboard"))
    read.Reload()
    scalars = {tag: [(event.step, event.value) for event in read.Scalars(tag)] for tag in read.Tags()["scalars"]}
    texts = {
        tag: [event.tensor_proto.string_val[0].decode() for event in read.Tensors(tag)]
        for tag in read.Tags()["tensors"]
    }
    return scalars, texts


def test_a_run_has_its_recipe_its_curves_and_its_end(plugin, tmp_path):
    records = list(robustfw.train(**OPTIONS, epochs=2, validation_examples=40, out=tmp_path / "run", steps=True))
    scalars, texts = events(tmp_path / "run")
    epochs = [record for record in records if isinstance(record, robustfw.Epoch)]
    assert scalars["epoch/robust_accuracy"] == [(epoch.epoch, pytest.approx(epoch.robust_accuracy)) for epoch in epochs]
    steps = [record for record in records if isinstance(record, robustfw.Step)]
    assert scalars["step/loss"] == [(place, pytest.approx(float(s.loss))) for place, s in enumerate(steps, 1)]
    recipe = json.loads(texts["recipe/text_summary"][0])
    assert recipe == json.loads((tmp_path / "run" / "manifest.json").read_text())["recipe"]
    assert texts["outcome/text_summary"] == ["finished"]
    assert not plugin.WRITERS


def test_a_training_that_is_stopped_and_one_that_fails(plugin, tmp_path):
    with contextlib.closing(robustfw.train(**OPTIONS, epochs=2, out=tmp_path / "stopped")) as records:
        next(records)
    assert events(tmp_path / "stopped")[1]["outcome/text_summary"] == ["stopped"]
    with pytest.raises(robustfw.TrainingError):
        list(robustfw.train(**OPTIONS, epochs=2, out=tmp_path / "failed", learning_rate=1e30, clip=None))
    (outcome,) = events(tmp_path / "failed")[1]["outcome/text_summary"]
    assert outcome.startswith("TrainingError: the loss is not finite")


def test_a_training_without_a_directory_is_not_logged(plugin, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    list(robustfw.train(**OPTIONS, epochs=1, validation_examples=40))
    assert not list(tmp_path.iterdir())


def test_a_resumed_run_goes_on_in_the_same_place(command, tmp_path):
    arguments = "train", "--model", "mlp:hidden=[16]", "--attack", "single-step", "--validation-examples", 40
    with contextlib.closing(robustfw.train(**OPTIONS, epochs=2, out=tmp_path / "run")) as records:
        next(records)
    list(robustfw.train(**OPTIONS, epochs=2, out=tmp_path / "run", resume=True))
    scalars, texts = events(tmp_path / "run")
    assert [step for step, _ in scalars["epoch/loss"]] == [1, 2]
    assert texts["outcome/text_summary"] == ["stopped", "finished"]
    assert command(*arguments, "--epochs", 1, "--out", "other").status == 0
    assert (tmp_path / "other" / "tensorboard").is_dir()
