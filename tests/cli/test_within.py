"""evaluate --within: a first interval after a given time."""

from __future__ import annotations

import pytest

from .test_output import parsed


def test_it_says_how_many_examples_it_measured(robustfw, run):
    answer = robustfw("evaluate", run, "--within", "60s", "--attack", "single-step")
    assert answer.status == 0
    assert "359 of 359 test examples, drawn at random, within 60 s" in answer.out
    result = parsed(robustfw("evaluate", run, "--within", "1m", "--attack", "single-step", "--json").out)
    whole = parsed(robustfw("evaluate", run, "--attack", "single-step", "--json").out)
    assert (result["n"], result["within"]) == (359, 60.0)
    assert (result["correct"], result["robust"]) == (whole["correct"], whole["robust"])


@pytest.mark.parametrize("typed", ["0s", "soon", "-3s", "60 parsecs", ""])
def test_what_is_no_length_of_time(robustfw, run, typed):
    answer = robustfw("evaluate", run, "--within", typed)
    assert answer.status == 2
    assert "is no length of time: write 60s, 2m or 1h" in answer.err


def test_it_decides_by_itself_which_examples(robustfw, run):
    robustfw("evaluate", run, "--within", "5s", "--examples", "3").refused(2, "--within", "--examples")
