"""`robustfw audit`: what it prints, how it exits, and how it is misused."""

from __future__ import annotations

import json
from unittest.mock import ANY

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from robustfw import results
from robustfw.cli._audit import attacks_of
from robustfw.evaluation._audit import ADVICE
from robustfw.plugin import registry

FEW = ("--examples", 60, "--attack", "pgd:steps=5")


@pytest.fixture
def masked(run):
    """A run whose net has logits so large that cross-entropy underflows."""
    path = run / "checkpoints" / "best.safetensors"
    with safe_open(path, "pt") as file:
        tensors, facts = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    last = max(name for name in tensors if name.endswith("weight")).removesuffix("weight")
    for name in ("weight", "bias"):
        tensors[last + name] = 1e5 * tensors[last + name]
    save_file(tensors, path, facts)
    return run


def test_a_sound_net_in_words(robustfw):
    assert robustfw("train", "--out", "run").status == 0
    answer = robustfw("audit", "run", "--strict")
    assert (answer.status, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert [line.split("  ")[1] for line in lines[1:11]] == list(ADVICE)
    assert sum("✓ passed" in line for line in lines) == 9
    assert lines[-1].startswith("verdict          ✓ sound: none of 9 lines checked failed, which is no certificate")
    assert "examples         200, test" in lines
    assert "→" not in answer.out


def test_a_masked_net_in_words(robustfw, masked):
    answer = robustfw("audit", masked, *FEW)
    assert answer.status == 0
    lines = answer.out.splitlines()
    red = [i for i, line in enumerate(lines) if "✗ FAILED" in line]
    assert any("gradients not zero" in lines[i] for i in red)
    for i in red:
        (name,) = (name for name in ADVICE if lines[i].startswith(f"  {name} "))
        assert lines[i + 1].strip() == f"→ {ADVICE[name]}"
    assert lines[-1].startswith("verdict          ✗ SUSPICIOUS: ")
    assert "do not believe the robust accuracy" in answer.err
    assert robustfw("audit", masked, *FEW, "--strict").status == 1


def test_as_json(robustfw, run):
    answer = robustfw("audit", run, *FEW, "--seed", 4, "--json")
    assert (answer.status, answer.err, answer.out.count("\n")) == (0, "", 1)
    result = json.loads(answer.out)
    known = registry.installed()
    assert result.pop("verdict") in ("sound", "suspicious")  # an epoch of training does not decide it
    assert results.load_results(run, ["audit"]) == [{"command": ANY, "robustfw": ANY, "verdict": ANY} | result]
    assert {key: value for key, value in result.items() if key != "lines"} == {
        "kind": "audit",
        "run": str(run),
        "uncertainty": "linf:radius=0.1",
        "attack": known.spell(known.make("attack", "pgd:steps=5")),
        "transfer": [],
        "n": 60,
        "examples": 60,
        "seed": 4,
        "split": "test",
        "weights": "best",
        "bounds": [0, 1],
        "loss": "cross-entropy",
    }
    assert [line["name"] for line in result["lines"]] == list(ADVICE)


def test_json_and_strict(robustfw, masked):
    answer = robustfw("audit", masked, *FEW, "--json", "--strict")
    assert answer.status == 1
    assert json.loads(answer.out)["verdict"] == "suspicious"


def test_another_set_and_split(robustfw, run):
    answer = robustfw("audit", run, *FEW, "--uncertainty", "l2:radius=0.3", "--split", "validation", "--json")
    assert json.loads(answer.out)["uncertainty"] == "l2:radius=0.3"


@pytest.mark.parametrize(
    ("spec", "missing"),
    [
        ("pgd:steps=7", set()),
        ("pgd:steps=7,random_start=false", set()),
        ("frank-wolfe", {"restarts"}),
        ("single-step", {"double"}),
        ("strongest", {"double", "restarts"}),
    ],
)
def test_rivals_are_made_of_the_attack_as_far_as_it_has_options(spec, missing):
    known = registry.installed()
    made = attacks_of(known, spec)
    assert {name for name in ("one", "double", "restarts", "noise") if getattr(made, name) is None} == missing
    if made.double:
        assert made.double.steps == 2 * made.many.steps
    if made.restarts:
        assert made.restarts.attack.random_start


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ("nothing", 1, ["there is no run in nothing: name a directory that robustfw train made"]),
        ("run --attack pgdd", 2, ["no attack named 'pgdd'; did you mean pgd?"]),
        ("run --attack pgd:stepz=3", 2, ["attack pgd has no option 'stepz'"]),
        ("run --uncertainty linff", 2, ["no uncertainty named 'linff'"]),
        ("run --uncertainty l0 --attack frank-wolfe", 2, ["frank-wolfe needs a convex set"]),
        ("run --examples 360", 2, ["there are 359 test examples"]),
        ("run --device gpu", 2, ["the device 'gpu' cannot be used here"]),
    ],
)
def test_misuse(arguments, status, words, robustfw, run):
    answer = robustfw("audit", *arguments.split())
    answer.refused(status, *words)
    assert answer.out == ""


@pytest.mark.filterwarnings("ignore:.* weights in .* are not numbers")
def test_a_net_that_knows_nothing(robustfw, run):
    path = run / "checkpoints" / "best.safetensors"
    with safe_open(path, "pt") as file:
        tensors, facts = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    save_file({name: torch.full_like(tensor, torch.nan) for name, tensor in tensors.items()}, path, facts)
    robustfw("audit", run).refused(1, "the net gets none of the 200 examples right")


def test_transferred_examples(robustfw, run):
    assert robustfw("train", "--epochs", "2", "--objective", "clean", "--out", "other").status == 0
    sets = ("--uncertainty", "l2:radius=0.5", "--uncertainty", "linf:radius=0.1")
    assert robustfw("craft", "other", *sets, "--out", "made").status == 0
    result = json.loads(robustfw("audit", run, *FEW, "--transfer", "made", "--json").out)
    (line,) = (line for line in result["lines"] if "transfer" in line["name"])
    assert line["verdict"] in ("passed", "failed")
    assert result["transfer"] == ["made"]
    refused = robustfw("audit", run, *FEW, "--transfer", "made", "--uncertainty", "l1:radius=2")
    refused.refused(2, "made holds no examples within l1:radius=2.0, but within l2:radius=0.5, linf:radius=0.1")
    robustfw("audit", run, *FEW, "--transfer", "made", "--split", "validation").refused(2, "give --split test")
    robustfw("audit", run, *FEW, "--transfer", "nothing").refused(1, "there is no collection in nothing")
