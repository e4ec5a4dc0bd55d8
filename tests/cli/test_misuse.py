"""Whatever is wrong with an argument, a recipe or an evaluation, one sentence says what to do, and nothing is lost."""

from __future__ import annotations

import os
import re
import sys

import pytest
import torch

from .conftest import TRAINING
from .folders import contents

# Names, keys, values

RADIUS = "uncertainty linf: radius must be"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--attack pgdd", ["no attack named 'pgdd'; did you mean pgd?"]),
        ("--attack nothing-like-it", ["known: apgd, cw, deepfool, frank-wolfe, ", "targeted"]),
        ("--attack=", ["no attack named ''; known: "]),
        ("--dataset digit", ["no dataset named 'digit'; did you mean digits"]),
        ("--optimizer adam", ["no optimizer named 'adam'; did you mean adamw?"]),
        ("--validation-attack pgdd", ["no attack named 'pgdd'"]),
        ("--attack pgd:stepz=3", ["attack pgd has no option 'stepz'; did you mean step or steps?"]),
        ("--attack pgd:steps", ["cannot read 'steps' in 'pgd:steps': write pgd:key=value"]),
        ("--attack pgd:steps=2.7", ["attack pgd: steps must be a whole number, not 2.7"]),
        ("--attack pgd:steps=0", ["attack pgd: 'steps' must be >= 1: 0"]),
        ("--attack pgd:random_start=1", ["attack pgd: random_start must be true or false, not 1"]),
        ("--attack restarts:attack=(pgdd)", ["no attack named 'pgdd'; did you mean pgd?"]),
        ("--attack restarts:attack=(pgd", ["a bracket or a quote is not closed"]),
        ("--uncertainty linf:radius=eight", [RADIUS, "a number or a ratio like 8/255", "not 'eight'"]),
        ("--uncertainty linf:radius=8/0", [RADIUS, "not '8/0'"]),
        ("--uncertainty linf:radius=8/", [RADIUS, "not '8/'"]),
        ("--uncertainty linf:radius=1/2/3", [RADIUS, "not '1/2/3'"]),
        ("--uncertainty linf:radius=true", [RADIUS, "not True"]),
        ("--uncertainty linf:radius=-1", [RADIUS, "finite and not negative, not -1"]),
        ("--uncertainty linf:radius=nan", [RADIUS, "a number or a ratio like 8/255", "not nan"]),
        ("--uncertainty linf:radius=[0.1,0.2]", ["2 radii do not fit 1 channels: give one radius, or one per channel"]),
        ("--epochs 2.5", ["train: epochs must be a whole number, not 2.5"]),
        ("--epochs 0", ["train: 'epochs' must be >= 1: 0"]),
        ("--ema 1", ["train: 'ema' must be < 1: 1"]),
        ("--precision fp8", ["train: precision must be auto or fp32 or bf16, not 'fp8'"]),
        ("--device gpu", ["the device 'gpu' cannot be used here", "give cpu, or auto"]),
        ("--attack frank-wolfe --uncertainty l0", ["frank-wolfe needs a convex set: use pgd for this one"]),
        ("--model paper-cifar", ["paper-cifar needs images of at least 32x32; the data has shape (1, 8, 8)"]),
        ("--resume", ["--resume needs --out RUN"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_name_key_or_value(arguments, words, robustfw, tmp_path):
    out = () if arguments == "--resume" else ("--out", "out")
    robustfw("train", *arguments.split(), *out).refused(2, *words)
    assert contents(tmp_path) == {}
    if out:  # the name is still free
        assert robustfw("train", *TRAINING, *out).status == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("show attak pgd", ["there is no kind of plugin 'attak'; did you mean attack?"]),
        ("show attack pdg", ["no attack named 'pdg'; did you mean pgd?"]),
        ("check uncertainty linff", ["no uncertainty named 'linff'; did you mean linf?"]),
        ("check uncertainty linf:radius=x", [RADIUS, "not 'x'"]),
    ],
)
def test_other_commands(arguments, words, robustfw):
    robustfw(*arguments.split()).refused(2, *words)


@pytest.mark.parametrize("arguments", ["nothing", "train --nothing", "show attack", "evaluate run --examples 0"])
def test_a_wrong_command_or_flag_points_to_the_help(arguments, robustfw):
    answer = robustfw(*arguments.split())
    assert answer.status == 2
    assert re.search(r"robustfw.* (-h|--help)' for help", answer.err)  # click 8.1 names the first
    assert answer.err.splitlines()[-1].startswith("Error: ")


@pytest.mark.skipif(torch.cuda.is_available(), reason="has CUDA")
def test_a_device_that_is_not_there(robustfw, run):
    robustfw("train", "--device", "cuda").refused(2, "the device 'cuda' cannot be used here", "give cpu, or auto")
    robustfw("evaluate", run, "--device", "cuda").refused(2, "the device 'cuda' cannot be used here")


# Recipes


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("epochs = = 3", ["recipe.toml is not TOML", "line 1"]),
        ("\xff\xfe", ["recipe.toml is not TOML"]),
        ("[atack]\nuse = 'pgd'", ["a recipe has no part 'atack'; did you mean attack?"]),
        ("[train]\nepoch = 3", ["train in recipe.toml has no option 'epoch'; did you mean epochs?"]),
        ("[train]\nepochs = '3'", ["train: epochs must be a whole number, not '3'"]),
        ("train = 3", ["recipe.toml", "make it a table [train]"]),
        ("attack = 3", ["cannot make a plugin of kind 'attack' from 3"]),
        ("[attack]\nsteps = 3", ["names nothing: add use ="]),
        ("[attack]\nuse = 'pgd'\nstepz = 3", ["attack pgd has no option 'stepz'"]),
    ],
)
def test_a_wrong_recipe(text, words, robustfw, tmp_path):
    (tmp_path / "recipe.toml").write_bytes(text.encode("latin-1"))
    robustfw("train", "recipe.toml").refused(2, *words)
    assert list(contents(tmp_path)) == [str(tmp_path / "recipe.toml")]


def test_a_recipe_that_is_not_there(robustfw, tmp_path):
    robustfw("train", "recipe.toml").refused(2, "cannot read the recipe recipe.toml: No such file or directory")
    robustfw("train", tmp_path).refused(2, f"cannot read the recipe {tmp_path}")


# Evaluation


def test_more_examples_than_there_are(robustfw, run):
    robustfw("evaluate", run, "--examples", 360).refused(2, "there are 359 test examples: leave out --examples 360")
    assert "of 359," in robustfw("evaluate", run, "--examples", 359).out


def test_a_split_without_examples(robustfw):
    assert robustfw("train", *TRAINING, "--dataset", "digits:validation=0", "--out", "run").status == 0
    robustfw("evaluate", "run", "--split", "validation").refused(1, "there are no validation examples")


def test_a_set_that_does_not_fit(robustfw, run):
    robustfw("evaluate", run, "--uncertainty", "linf:radius=[0.1,0.2]").refused(2, "2 radii do not fit 1 channels")


def test_weights_that_are_not_there(robustfw, run):
    (run / "checkpoints" / "best.safetensors").unlink()
    robustfw("evaluate", run).refused(1, "has no best checkpoint", "--weights last")
    answer = robustfw("train", "--resume", "--out", run)
    assert answer.status == 0
    assert "no epoch counts as the best" in answer.err


# Everything else


def test_an_unexpected_error_is_one_line_and_a_traceback_on_request(robustfw, run, monkeypatch):
    def burn(*_):
        raise ZeroDivisionError("smoke\nfire")

    monkeypatch.setattr("robustfw.training._reopen.rebuild", lambda *_, **__: burn())
    answer = robustfw("evaluate", run)
    assert answer.status == 1
    assert answer.err == "Error: ZeroDivisionError: smoke (unexpected: see robustfw --debug …)\n"
    assert "Traceback" in robustfw("--debug", "evaluate", run).err


def test_debug_shows_where_an_error_comes_from(robustfw):
    answer = robustfw("--debug", "train", "--attack", "pgdd")
    assert answer.status == 2
    assert answer.err.startswith("Traceback")
    assert answer.err.splitlines()[-1] == "Error: no attack named 'pgdd'; did you mean pgd?"


def test_a_file_that_cannot_be_opened_is_named(robustfw, run, monkeypatch):
    def closed(*_, **__):
        raise PermissionError(13, "Permission denied", "/secret")

    monkeypatch.setattr("robustfw.training._reopen.rebuild", closed)
    robustfw("evaluate", run).refused(1, "/secret: Permission denied")


def test_ctrl_c_outside_of_a_training(robustfw, run, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("robustfw.training._reopen.rebuild", interrupted)
    assert robustfw("evaluate", run) == (130, "", "stopped\n")


@pytest.mark.parametrize(("command", "said"), [("--help", "min over ? of"), ("plugins", "{???? ? r}")])
def test_a_terminal_without_greek(command, said, program):
    answer = program(command, environment=os.environ | {"PYTHONIOENCODING": "latin-1"})
    assert answer.status == 0
    assert said in answer.out


@pytest.mark.skipif(os.name == "nt", reason="a POSIX shell's pipe")
def test_a_reader_that_goes_away(program):
    answer = program("-c", f"{sys.executable} -m robustfw plugins --json | head -n 1", program=("sh",))
    assert answer == (0, "{\n", "")
