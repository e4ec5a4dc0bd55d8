"""Whatever is wrong, there is one sentence that says what to do, an exit status, and nothing lost."""

from __future__ import annotations

import json
import os
import re
import sys

import pytest
import torch
from torch import nn

import robustfw as package
from robustfw import DataError, DataSpec, Splits, TensorSplit

from .conftest import TRAINING


def contents(folder):
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


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


# Data


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (torch.zeros(4, 1, 2, 2, dtype=torch.uint8), "x is uint8: give floats"),
        (torch.full((4, 1, 2, 2), 255.0), r"x ranges over \[255, 255\], outside its bounds \[0, 1\]"),
        (torch.full((4, 1, 2, 2), torch.nan), "not finite numbers, in 4 of 4 examples"),
    ],
)
def test_examples_of_the_wrong_type_or_range(x, words):
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    with pytest.raises(DataError, match=words):
        package.worst_case(net, x, torch.zeros(4).long(), uncertainty="linf", attack="pgd")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"x": torch.full((8, 1, 2, 2), 255.0)}, r"ranges over \[255, 255\], outside its bounds \[0, 1\]"),
        ({"x": torch.full((8, 1, 2, 2), torch.nan)}, "train: x has values that are not finite numbers, in 8 of 8"),
        ({"x": torch.zeros(8, 4)}, "the data set declares"),
        ({"y": torch.full((8,), 2)}, "labels run from 2 to 2, outside 0 … 1"),
        ({"y": torch.zeros(8)}, r"train: labels are float32: give int64 \(y.long\(\)\)"),
        ({"y": torch.zeros(8, 3)}, "train: targets are several numbers per example"),
        ({"x": torch.zeros(0, 1, 2, 2), "y": torch.zeros(0).long()}, "there is not one training example"),
    ],
)
def test_splits_that_do_not_fit_their_spec(change, words, tmp_path):
    good = TensorSplit(torch.zeros(8, 1, 2, 2), torch.zeros(8).long())
    wrong = TensorSplit(change.get("x", good.x), change.get("y", good.y))
    with pytest.raises(DataError, match=words):
        package.train(dataset=Splits(wrong, good, good, DataSpec((1, 2, 2), 2)), model="linear", out=tmp_path / "run")
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("y", [torch.arange(8).int() % 2, torch.arange(8)[:, None] % 2, torch.eye(2).repeat(4, 1)])
def test_labels_of_other_forms_are_read(y):
    split = TensorSplit(torch.rand(8, 1, 2, 2), y)
    splits = Splits(split, split, split, DataSpec((1, 2, 2), 2))
    assert len(list(package.train(dataset=splits, model="linear", epochs=1))) == 1


def test_bytes_are_read_as_shares_of_255():
    split = TensorSplit(torch.randint(256, (8, 1, 2, 2), dtype=torch.uint8), torch.arange(8) % 2)
    splits = Splits(split, split, split, DataSpec((1, 2, 2), 2))
    assert len(list(package.train(dataset=splits, model="linear", epochs=2))) == 2


@pytest.fixture
def no_network(monkeypatch):
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")


@pytest.mark.parametrize(("dataset", "name"), [("fashion-mnist", "FashionMNIST"), ("cifar10", "CIFAR10")])
def test_data_that_is_neither_there_nor_to_be_had(dataset, name, robustfw, no_network):
    answer = robustfw("train", "--dataset", dataset, "--data-dir", "empty", "--out", "run")
    answer.refused(1, f"{name} is not in empty and could not be downloaded", "--data-dir or ROBUSTFW_DATA")
    assert answer.out == ""


def test_folders_of_images_that_are_not_there(robustfw):
    robustfw("train", "--dataset", "image-folder", "--data-dir", "empty").refused(1, "no images in empty/images/train")


# Run directories


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


def changed(run, change):
    manifest = json.loads((run / "manifest.json").read_text())
    change(manifest)
    (run / "manifest.json").write_text(json.dumps(manifest))


def test_a_manifest_without_the_form_of_the_data(robustfw, run):
    changed(run, lambda manifest: manifest["data"].update(spec={"colour": "red"}))
    robustfw("evaluate", run).refused(1, "does not describe its data")


def test_a_manifest_that_names_a_plugin_that_is_gone(robustfw, run):
    changed(run, lambda manifest: manifest["recipe"].update(uncertainty={"use": "ellipsoid"}))
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
    changed(run, lambda manifest: manifest.pop("result"))
    metrics = run / "metrics.jsonl"
    whole = metrics.read_text()
    metrics.write_text(whole + '{"epoch": 2, "lo')
    assert robustfw("train", "--resume", "--out", run).status == 0


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--epochs 5", "train.epochs is 1 there and 5 here"),
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
    changed(run, lambda manifest: manifest["data"].update(hash="0" * 64))
    robustfw("evaluate", run).refused(1, "the data is not what", "give the folder of its own data by --data-dir")
    robustfw("train", "--resume", "--out", run).refused(1, "was trained on other data", "--data-dir")


def test_resuming_with_another_number_of_processes(robustfw, run):
    changed(run, lambda manifest: manifest.update(processes=2))
    answer = robustfw("train", "--resume", "--out", run)
    answer.refused(1, "trained by 2 processes, not 1", "go on with as many, or choose another --out")


def test_a_run_of_objects_belongs_to_its_program(robustfw, tmp_path):
    split = TensorSplit(torch.rand(8, 3), torch.arange(8) % 2)
    splits = Splits(split, split, split, DataSpec((3,), 2))
    list(package.train(dataset=splits, model=nn.Linear(3, 2), epochs=1, out=tmp_path / "run"))
    for arguments in (("evaluate", "run"), ("train", "--resume", "--out", "run")):
        robustfw(*arguments).refused(1, "the dataset of the run in run was given as an object, which only the program")


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
