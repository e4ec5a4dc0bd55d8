"""Names: case, _ and - make no difference, aliases find what they stand for, and no suggestion leads elsewhere."""

from __future__ import annotations

import pytest

import robustfw
from robustfw import UsageError
from robustfw.plugin import _names as names
from robustfw.plugin.registry import Registry

REGISTRY = Registry.installed()


@pytest.mark.parametrize(
    ("kind", "typed", "name"),
    [
        ("attack", "PGD", "pgd"),
        ("attack", "fgsm", "single-step"),
        ("attack", "FGSM", "single-step"),
        ("attack", "Fast_Gradient", "single-step"),
        ("attack", "single_step", "single-step"),
        ("attack", "L-BFGS", "lbfgs"),
        ("dataset", "CIFAR10", "cifar10"),
        ("dataset", "cifar-10", "cifar10"),
        ("dataset", "FashionMNIST", "fashion-mnist"),
        ("uncertainty", "L_inf", "linf"),
        ("Uncertainty", "Linf", "linf"),
        ("data-set", "digits", "digits"),
    ],
)
def test_a_name_is_found(kind, typed, name):
    assert REGISTRY.entry(kind, typed).name == name
    assert REGISTRY.record(REGISTRY.make(kind, typed))["use"] == name


@pytest.mark.parametrize(
    ("kind", "typed", "words"),
    [
        ("attack", "autoattack", "what comes nearest here: "),
        ("attack", "Auto-Attack", "restarts, strongest"),
        ("attack", "fgsmm", "did you mean fgsm"),
        ("attack", "lbfgss", "did you mean lbfgs"),
        ("dataset", "cifar1000", r"known: .*cifar10, "),
        ("dataset", "kmnist", r"known: .*cifar10, "),
        ("dataset", "cifar", "did you mean cifar10 or cifar100?"),
        ("model", "resnet18", "did you mean resnet18-cifar?"),
        ("model", "resnet50", "known: "),
        ("uncertainty", "l3", "known: "),
    ],
)
def test_a_name_that_is_not_there(kind, typed, words):
    with pytest.raises(UsageError, match=words.replace("?", r"\?")):
        robustfw.make(kind, typed)


ATTACKS = ["cw", "deepfool", "fab", "fgsm", "lbfgs", "mim", "pgd", "square"]


@pytest.mark.parametrize(
    ("typed", "close"),
    [
        ("fgs", ["fgsm"]),
        ("fgsn", ["fgsm"]),
        ("pdg", ["pgd"]),
        ("pgdd", ["pgd"]),
        ("bfgs", []),
        ("apgd", []),
        ("bim", []),
        ("deepfol", ["deepfool"]),
        ("depefool", ["deepfool"]),
        ("sqare", ["square"]),
        ("", []),
        ("zzz", []),
    ],
)
def test_only_slips_of_the_finger_are_mended(typed, close):
    assert names.find_close(typed, ATTACKS) == close


def test_two_names_that_differ_by_case_are_told_apart_by_it():
    assert names.find("a-b", ["a-b", "AB"]) == "a-b"
    assert names.find("aB", ["a-b", "AB"]) is None
    assert names.find("aB", ["a-b"]) == "a-b"
