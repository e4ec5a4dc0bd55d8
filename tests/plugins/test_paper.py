"""The paper's claims: verdicts follow from intervals, and intervals from the seeds; who judges which recipe."""

from __future__ import annotations

import pytest

from robustfw import UsageError
from robustfw.plugin.registry import installed
from robustfw.reproduction import Claim, Experiment, Judge, Mean, Part
from robustfw.reproduction._recipes import find_recipes
from robustfw_paper.claims import PaperJudge
from robustfw_paper.verdicts import judge_above, judge_within


@pytest.mark.parametrize(
    ("values", "verdict"),
    [((1.0, 1.1, 0.9), "confirmed"), ((-1.0, -1.1, -0.9), "not confirmed"), ((1.0, -1.0, 0.5), "undecided")],
)
def test_above(values, verdict):
    assert judge_above(Mean(values)) == verdict


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ((2.0, 2.01, 1.99), "confirmed"),
        ((1.0, 1.01, 0.99), "not confirmed"),
        ((3.0, 3.01, 2.99), "not confirmed"),
        ((1.5, 1.51, 1.49), "undecided"),
        ((0.0, 4.0), "undecided"),
    ],
)
def test_within(values, verdict):
    assert judge_within(Mean(values), 1.5, 2.5) == verdict


def test_one_seed_decides_nothing():
    assert judge_above(Mean((5.0,))) == "undecided"
    assert judge_within(Mean((5.0,)), 0, 10) == "undecided"


def test_a_difference_has_its_sign():
    assert Mean((0.1, 0.2)).spell(" points", sign=True) == "+0.15 ± 0.64 points"
    assert Mean((-0.125,)).spell(" points", 1, sign=True) == "-0.1 points"
    assert Mean((99.0, 99.2)).spell() == "99.10 ± 1.27 %"


def test_a_claim_of_several_parts():
    def verdict(*verdicts):
        return Claim("it is so", tuple(Part("net", "", Mean((1.0,)), each) for each in verdicts), " %").verdict

    assert verdict("confirmed", "confirmed") == "confirmed"
    assert verdict("confirmed", "undecided") == "undecided"
    assert verdict("undecided", "not confirmed") == "not confirmed"
    assert verdict() == "undecided"


def test_the_paper_judges_its_own_recipes_alone():
    hooks = installed().hooks
    recipes = find_recipes(installed().modules())
    mnist = Experiment.read(recipes["mnist"].text, "mnist")
    judge = hooks.robustfw_judge(experiment=mnist)
    assert isinstance(judge, PaperJudge)
    assert isinstance(judge, Judge)
    assert judge.source_figures("clean")["l2"] == 99.28
    assert judge.source_figures("transfer")["linf"] == 79.96
    other = Experiment.read(recipes["mnist"].text.replace('use = "paper"', 'use = "another"'), "mnist")
    assert hooks.robustfw_judge(experiment=other) is None


@pytest.mark.parametrize(
    ("claims", "words"),
    [
        ({"clean": {}}, "claims lacks best"),
        ({"best": "linf", "cleen": {}}, "claims has an unknown key 'cleen'; known: best, clean, transfer, table"),
    ],
)
def test_claims_that_are_wrong(claims, words):
    with pytest.raises(UsageError, match=words):
        PaperJudge.read(claims)
