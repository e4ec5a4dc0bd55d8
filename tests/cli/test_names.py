"""Names, flags and values as people of the field type them: found, or answered with what to type."""

from __future__ import annotations

import json

import pytest

from .conftest import TRAINING

LAZY = """
import robustfw

@robustfw.hookimpl
def robustfw_register(add):
    add("late", "robustfw_is_not_there:Late", kind="attack", summary="An attack of later.", aliases=("tardy",))
"""


def test_show_by_an_alias_says_whose_it_is(robustfw):
    answer = robustfw("show", "attack", "fgsm")
    assert answer.status == 0
    assert answer.out.startswith("fgsm is another name of single-step\nattack single-step (robustfw ")
    assert "δ = argmax_{δ ∈ 𝒰} ⟨∇J(x), δ⟩" in answer.out
    assert "also called: fgsm, fast-gradient" in answer.out
    assert robustfw("show", "Attack", "Single_Step").out == robustfw("show", "attack", "single-step").out
    assert "another name" not in robustfw("show", "Attack", "Single_Step").out


def test_the_list_of_plugins_has_the_aliases(robustfw):
    (line,) = (line for line in robustfw("plugins").out.splitlines() if line.startswith("  single-step"))
    assert "fgsm, fast-gradient" in line
    entries = json.loads(robustfw("plugins", "--json").out)["plugins"]
    (entry,) = (entry for entry in entries if entry["name"] == "single-step")
    assert "fgsm" in entry["aliases"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("train --lr 0.1", "no such option --lr: did you mean --learning-rate?"),
        ("train --learning_rate 0.1", "no such option --learning_rate: did you mean --learning-rate?"),
        ("train --Epochs 3", "no such option --Epochs: did you mean --epochs?"),
        ("train --epoch 3", "no such option --epoch: did you mean --epochs?"),
        ("train --eps 8/255", "radius is an option of --uncertainty, --uncertainty linf:radius=…"),
        ("train --radius 8/255", "radius is an option of --uncertainty, --uncertainty linf:radius=…"),
        ("train --steps 8", "steps is an option of --attack, --attack pgd:steps=…"),
        ("train --step-size 8", "step is an option of --attack, --attack pgd:step=…"),
        ("train --weight-decay 8", "weight_decay is an option of --optimizer, --optimizer"),
        ("evaluate run --eps 8/255", "radius is an option of --uncertainty, --uncertainty linf:radius=…"),
        ("evaluate run --nothing-like-it", "no such option --nothing-like-it"),
        ("plugins --jsno", "no such option --jsno: did you mean --json?"),
    ],
)
def test_a_flag_that_is_not_there(arguments, words, robustfw):
    answer = robustfw(*arguments.split())
    assert answer.status == 2
    assert answer.err.splitlines()[-1].startswith(f"Error: {words}" if words.startswith("no") else "Error: no such")
    assert words in answer.err


def test_a_record_holds_the_names_themselves_and_radii_as_ratios(robustfw, tmp_path):
    typed = ("--dataset", "DIGITS", "--attack", "FGSM", "--uncertainty", "L_inf:eps=8/255")
    assert robustfw("train", *TRAINING, *typed, "--out", "run").status == 0
    recipe = json.loads((tmp_path / "run" / "manifest.json").read_text())["recipe"]
    assert recipe["dataset"]["use"] == "digits"
    assert recipe["attack"]["use"] == "single-step"
    assert recipe["uncertainty"] == {"use": "linf", "radius": "8/255"}
    assert robustfw("train", "--resume", "--out", "run", "--uncertainty", f"linf:radius={8 / 255!r}").status == 0


def test_a_lazy_plugin_is_listed_without_an_import_and_its_failure_names_it(robustfw, distributions):
    distributions(lazy=LAZY)
    answer = robustfw("plugins")
    assert (answer.status, answer.err) == (0, "")
    assert "An attack of later." in answer.out
    reason = "the plugin lazy (lazy 1.0) could not load the attack late: ModuleNotFoundError: No module named"
    robustfw("show", "attack", "tardy").refused(1, reason)
    robustfw("train", "--attack", "late", "--out", "run").refused(1, reason)
    robustfw("train", "--eps", "1")  # looks through the plugins, and loads none
    assert robustfw("train", *TRAINING, "--out", "run").status == 0
