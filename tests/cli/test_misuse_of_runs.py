"""Whatever is wrong with a run directory, one sentence says what to do, and nothing is lost."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

import robustfw as package
from robustfw import DataSpec, Splits, TensorSplit

from .conftest import TRAINING
from .folders import contents


def test_a_directory_that_holds_a_run(robustfw, run):
    before = contents(run)
    answer = robustfw("train", *TRAINING, "--out", run)
    answer.refused(1, "holds a run already: go on with it by --resume, or choose another --out")
    assert contents(run) == before


@pytest.mark.parametrize("out", ["file", "file/run"])
@pytest.mark.parametrize("resume", [[], ["--resume"]])
def test_a_directory_that_is_a_file(out, resume, robustfw, tmp_path):
    (tmp_path / "file").write_text("precious")
    robustfw("train", *TRAINING, "--out", out, *resume).refused(1, f"run directory {out}: ", "choose another --out")
    assert (tmp_path / "file").read_text() == "precious"


def test_evaluating_what_is_no_run(robustfw, tmp_path):
    (tmp_path / "file").write_text("precious")
    robustfw("evaluate", "file").refused(1, "file is a file: name a directory that robustfw train made")
    robustfw("evaluate", "nothing").refused(1, "there is no run in nothing: name a directory that robustfw train made")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"recipe": 3}', '{"recipe": {}}', '{"recipe": {}, "data": {}}', "\x00\xff"]
)
def test_a_manifest_that_is_garbage(text, robustfw, run):
    (run / "manifest.json").write_bytes(text.encode("latin-1"))
    before = contents(run)
    for arguments in (("evaluate", run), ("train", "--resume", "--out", run)):
        robustfw(*arguments).refused(1, "manifest.json", "train again with another --out")
    assert contents(run) == before


def change_manifest(run, change):
    manifest = json.loads((run / "manifest.json").read_text())
    change(manifest)
    (run / "manifest.json").write_text(json.dumps(manifest))


def test_a_manifest_without_the_form_of_the_data(robustfw, run):
    change_manifest(run, lambda manifest: manifest["data"].update(spec={"colour": "red"}))
    robustfw("evaluate", run).refused(1, "does not describe its data")


def test_a_manifest_that_names_a_plugin_that_is_gone(robustfw, run):
    change_manifest(run, lambda manifest: manifest["recipe"].update(uncertainty={"use": "ellipsoid"}))
    robustfw("evaluate", run).refused(2, "no uncertainty named 'ellipsoid'; known: ")
    assert robustfw("evaluate", run, "--uncertainty", "l2").status == 0


@pytest.mark.parametrize("size", [0, 100, -1])
@pytest.mark.parametrize(("name", "other"), [("last", "best"), ("best", "last")])
def test_a_truncated_checkpoint(name, other, size, robustfw, run):
    path = run / "checkpoints" / f"{name}.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    before = contents(run)
    advice = (f"{name}.safetensors is damaged", f"the {other} weights may be there: robustfw evaluate", other)
    robustfw("evaluate", run, "--weights", name).refused(1, *advice)
    robustfw("train", "--resume", "--out", run).refused(1, *advice)
    assert contents(run) == before
    assert robustfw("evaluate", run, "--weights", other).status == 0


def test_a_line_of_metrics_that_was_cut_off_is_dropped(robustfw, run):
    change_manifest(run, lambda manifest: manifest.pop("result"))
    metrics = run / "metrics.jsonl"
    whole = metrics.read_text()
    metrics.write_text(whole + '{"epoch": 2, "lo')
    assert robustfw("train", "--resume", "--out", run).status == 0


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--batch-size 64", "train.batch_size is 128 there and 64 here"),
        ("--attack pgd:steps=9", "attack.steps is 1 there and 9 here"),
        ("--attack single-step", "attack.use is pgd there and single-step here"),
        ("--optimizer sgd:momentum=0", "train.optimizer.momentum is 0.9 there and 0.0 here"),
        ("--uncertainty linf:radius=8/255", "uncertainty.radius is 0.1 there and 8/255 here"),
    ],
)
def test_resuming_with_another_recipe(flags, words, robustfw, run):
    before = contents(run)
    answer = robustfw("train", *flags.split(), "--resume", "--out", run)
    answer.refused(1, words, "leave that option out to go on with it, or choose another --out")
    assert contents(run) == before


def test_resuming_with_the_same_recipe(robustfw, run):
    assert robustfw("train", *TRAINING, "--resume", "--out", run).status == 0


def test_a_run_whose_data_differs(robustfw, run):
    change_manifest(run, lambda manifest: manifest["data"].update(hash="0" * 64))
    robustfw("evaluate", run).refused(1, "the data is not what", "give the folder of its own data by --data-dir")
    robustfw("train", "--resume", "--out", run).refused(1, "was trained on other data", "--data-dir")


def test_resuming_with_another_number_of_processes(robustfw, run):
    change_manifest(run, lambda manifest: manifest.update(processes=2))
    answer = robustfw("train", "--resume", "--out", run)
    answer.refused(1, "trained by 2 processes, not 1", "go on with as many, or choose another --out")


def test_a_run_of_objects_belongs_to_its_program(robustfw, tmp_path):
    split = TensorSplit(torch.rand(8, 3), torch.arange(8) % 2)
    splits = Splits(split, split, split, DataSpec((3,), 2))
    list(package.train(dataset=splits, model=nn.Linear(3, 2), epochs=1, out=tmp_path / "run"))
    for arguments in (("evaluate", "run"), ("train", "--resume", "--out", "run")):
        robustfw(*arguments).refused(1, "the dataset of the run in run was given as an object, which only the program")
