"""`robustfw check`: exit status, expected failures with reasons, names of laws, plain text."""

from __future__ import annotations

import pytest

STRANGE = """
from typing import ClassVar

import attrs
import robustfw
from robustfw.regions import Box

@attrs.frozen
class Declared(robustfw.UncertaintySet):
    "A box whose projection halves, as its class declares."

    radius: float = 0.1
    expected_failures: ClassVar[dict[str, str]] = {REASONS}

    def at(self, x):
        return Box.broadcast(x.detach(), -self.radius, self.radius)

@robustfw.hookimpl
def robustfw_register(add):
    add("declared", Declared)
"""


def test_all_laws_hold(robustfw):
    answer = robustfw("check", "uncertainty", "linf:radius=8/255")
    assert (answer.status, answer.err) == (0, "")
    assert "all " in answer.out.splitlines()[-1]
    assert "\x1b" not in answer.out
    assert robustfw("check", "Uncertainty", "L_inf").status == 0


def test_an_expected_failure_that_does_not_happen_is_broken(robustfw):
    answer = robustfw("check", "uncertainty", "linf", "--expect", "nearest=said not to be convex")
    assert answer.status == 1
    assert "holds, though expected not to" in answer.out
    assert answer.err.startswith("Error: 1 of ")
    assert answer.err.endswith("laws broken: nearest\n")


@pytest.mark.parametrize(
    ("expect", "words"),
    [
        ("nearness=a typo", "there is no law nearness; there are zero is a member, "),
        ("nearest", "cannot read --expect 'nearest': write the law and the reason"),
        ("nearest= ", "cannot read --expect"),
        ("=why", "cannot read --expect"),
    ],
)
def test_an_expectation_that_cannot_be_read(expect, words, robustfw):
    robustfw("check", "uncertainty", "linf", "--expect", expect).refused(2, words)


def test_a_class_declares_its_expected_failures(robustfw, distributions):
    distributions(declared=STRANGE.replace("{REASONS}", "{'nearest': 'not convex'}"))
    answer = robustfw("check", "uncertainty", "declared")
    assert answer.status == 1
    assert "holds, though expected not to" in answer.out
    assert "not convex" in answer.out


def test_a_failure_that_is_expected_with_a_reason_is_none(robustfw, distributions):
    bent = STRANGE.replace("{REASONS}", "{'plain options': 'its repr is bent'}").replace(
        "    def at", "    def __repr__(self):\n        return '?'\n\n    def at"
    )
    distributions(bent=bent)
    answer = robustfw("check", "uncertainty", "declared")
    assert (answer.status, answer.err) == (0, "")
    assert "expected not to hold  its repr is bent" in answer.out
    assert answer.out.splitlines()[-1].endswith("laws hold, and 1 are expected not to")


@pytest.mark.parametrize(
    ("name", "reasons", "words"),
    [
        ("unknown", "{'nearness': 'a typo'}", "there is no law nearness"),
        ("unreasoned", "{'nearest': ''}", "without a reason: give one"),
    ],
)
def test_a_class_that_declares_nonsense(name, reasons, words, robustfw, distributions):
    distributions(**{name: STRANGE.replace("{REASONS}", reasons)})
    robustfw("check", "uncertainty", "declared").refused(2, words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("attak pgd", "there is no kind of plugin 'attak'; did you mean attack?"),
        ("attack pgdd", "no attack named 'pgdd'; did you mean pgd?"),
        ("attack pgd:stepz=1", "attack pgd has no option 'stepz'; did you mean step or steps?"),
    ],
)
def test_a_wrong_name(arguments, words, robustfw):
    robustfw("check", *arguments.split()).refused(2, words)
