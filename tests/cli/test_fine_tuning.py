"""train --from: a net that is trained already is trained further, and what it cost and bought is measured."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from robustfw import load, results

from .test_output import parsed

SHORT = ("--epochs", "1", "--attack", "pgd:steps=1", "--validation-examples", "50")


def weights_of(path):
    return load_file(Path(path) / "checkpoints" / "best.safetensors")


def test_it_begins_with_the_weights_of_the_run(robustfw, run):
    assert robustfw("train", "--from", run, *SHORT, "--learning-rate", "1e-12", "--out", "further").status == 0
    start, end = weights_of(run), weights_of("further")
    for name, value in start.items():
        torch.testing.assert_close(end[name], value)


def test_it_goes_slowly_by_default_and_keeps_what_the_run_had(robustfw, run):
    assert robustfw("train", "--from", run, "--out", "further").status == 0
    recipe = json.loads(Path("further/manifest.json").read_text())["recipe"]
    before = json.loads((run / "manifest.json").read_text())["recipe"]
    assert (recipe["train"]["learning_rate"], recipe["train"]["epochs"]) == (0.01, 5)
    for part in ("dataset", "uncertainty", "attack", "objective"):
        assert recipe[part] == before[part]
    assert recipe["model"]["model"] == before["model"]
    assert recipe["model"]["run"] == str(run.resolve())


def test_what_it_bought_is_compared_with_the_start(robustfw, run):
    answer = robustfw("train", "--from", run, *SHORT, "--out", "further")
    assert "McNemar" in answer.out
    (comparison,) = (kept for kept in results.load_results("further") if kept["kind"] == "comparison")
    end = parsed(robustfw("train", "--resume", "--out", "further", "--json").out)
    robust = comparison["robust"]
    assert robust["both"] + robust["only_second"] == end["robust"]
    assert comparison["clean"]["both"] + comparison["clean"]["only_second"] == end["correct"]
    direct = parsed(robustfw("compare", run, "further", "--attack", "pgd", "--json").out)
    for cell in ("both", "only_first", "only_second", "neither"):
        assert direct["clean"][cell] == comparison["clean"][cell]
    assert robustfw("report", "further").status == 0
    page = Path("further/report.html").read_text()
    assert "Comparisons" in page
    assert "second − first" in page
    assert f"further against {run.name}, on the same 359 examples: " in page


def test_frozen_layers_stay(robustfw, run):
    assert robustfw("train", "--from", run, *SHORT, "--freeze", "body", "--out", "head").status == 0
    start, end = weights_of(run), weights_of("head")
    changed = {name for name in start if not torch.equal(start[name], end[name])}
    last = sorted(name for name in start if name.endswith("weight"))[-1].removesuffix("weight")
    assert changed == {f"{last}weight", f"{last}bias"}

    assert robustfw("train", "--from", run, *SHORT, "--freeze", last.strip("."), "--out", "body").status == 0
    end = weights_of("body")
    assert torch.equal(start[f"{last}weight"], end[f"{last}weight"])
    assert any(not torch.equal(start[name], end[name]) for name in start)


def test_frozen_batch_norm_keeps_its_statistics(robustfw):
    small = ("--dataset", "digits", "--model", "resnet18-cifar", *SHORT, "--attack", "single-step")
    net = "conv-net"
    # a small net with batch norm
    Path("nets.py").write_text(
        "from torch import nn\n"
        "def build():\n"
        "    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))\n"
    )
    first = ("--dataset", "digits", "--model", "python:nets.py:build", *small[4:])
    assert robustfw("train", *first, "--out", net).status == 0
    assert robustfw("train", "--from", net, *SHORT, "--freeze", "body", "--out", "frozen").status == 0
    start, end = weights_of(net), weights_of("frozen")
    changed = {name.rpartition(".")[0].rpartition(".")[2] for name in start if not torch.equal(start[name], end[name])}
    assert changed == {"4"}


def test_other_classes_get_a_new_last_layer(robustfw, run):
    assert robustfw("train", "--dataset", "wine", "--model", "mlp", *SHORT, "--out", "wine").status == 0
    Path("rows.py").write_text(
        "import torch, robustfw\n"
        "def load():\n"
        "    x = torch.rand(60, 13, generator=torch.Generator().manual_seed(0))\n"
        "    return x, (x[:, 0] > 0.5).long()\n"
    )
    answer = robustfw("train", "--from", "wine", "--dataset", "python:rows.py:load", *SHORT, "--out", "two")
    assert answer.status == 0, answer
    assert "no start to compare with" in answer.out
    assert load("two")(torch.rand(3, 13)).shape == (3, 2)
    kept = robustfw("train", "--from", "wine", "--dataset", "python:rows.py:load", "--head", "keep", *SHORT)
    kept.refused(2, "head=keep", "head=new")


def test_the_run_is_not_needed_afterwards(robustfw, run):
    assert robustfw("train", "--from", run, *SHORT, "--out", "further").status == 0
    x = torch.rand(4, 1, 8, 8)
    before = load("further")(x)
    shutil.rmtree(run)
    torch.testing.assert_close(load("further")(x), before)
    assert robustfw("evaluate", "further", "--attack", "single-step").status == 0


def test_it_resumes(robustfw, run):
    flags = ("--from", run, "--attack", "pgd:steps=1", "--epochs", "2", "--seed", "3")
    assert robustfw("train", *flags, "--out", "whole").status == 0
    assert robustfw("train", *flags, "--out", "again", "--resume").status == 0
    whole, again = weights_of("whole"), weights_of("again")
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    assert robustfw("train", "--resume", "--out", "again").status == 0


def test_a_net_from_elsewhere(robustfw, run):
    shutil.copy(run / "checkpoints" / "best.safetensors", "net.safetensors")
    flags = ("--model", "mlp", "--weights", "net.safetensors", "--dataset", "digits", *SHORT)
    robustfw("train", *flags).refused(2, "--uncertainty")
    answer = robustfw("train", *flags, "--uncertainty", "linf:radius=0.1", "--out", "hardened")
    assert answer.status == 0
    assert "McNemar" in answer.out
    recipe = json.loads(Path("hardened/manifest.json").read_text())["recipe"]
    assert recipe["model"]["run"] == str(Path("runs/digits-mlp").resolve())


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--from", "run", "--freeze", "conv9"), ("freeze", "conv9", "no such layer")),
        (("--from", "run", "--model", "linear"), ("--model", "--from")),
        (("--from", "run", "--weights", "w.pt"), ("best or last", "--model")),
        (("--from", "nowhere"), ("there is no run in nowhere",)),
        (("--freeze", "body"), ("--from RUN",)),
        (("--head", "new"), ("--from RUN",)),
        (("--weights", "w.pt"), ("--model",)),
    ],
)
def test_what_does_not_fit_is_said(robustfw, run, flags, words):
    answer = robustfw("train", *flags)
    answer.refused(answer.status, *words)
    assert answer.status in (1, 2)
