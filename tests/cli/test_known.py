"""evaluate --known: worst cases are kept beside the run, and the next evaluation begins with them."""

from __future__ import annotations

import pytest

from .test_output import parsed


def robust(robustfw, run, *flags):
    result = parsed(robustfw("evaluate", run, "--examples", "120", "--json", *flags).out)
    return result["robust"], result.get("known")


def test_the_number_can_only_fall(robustfw, run):
    strong, first = robust(robustfw, run, "--known", "--attack", "pgd:steps=40")
    assert first == {"tried": 0, "fooled": 0}
    weak, none = robust(robustfw, run, "--attack", "random:samples=1")
    assert none is None
    again, second = robust(robustfw, run, "--known", "--attack", "random:samples=1")
    assert weak > strong >= again
    assert second["tried"] == second["fooled"] > 0
    answer = robustfw("evaluate", run, "--examples", "120", "--known", "--attack", "random:samples=1")
    assert f"beginning with {second['tried']} worst cases that are known" in answer.out
    assert f"{second['tried']} tried first, {second['fooled']} fool the net again" in answer.out


@pytest.mark.parametrize("flags", [("--uncertainty", "linf:radius=0.05"), ("--split", "validation")])
def test_another_set_or_split_begins_anew(robustfw, run, flags):
    robust(robustfw, run, "--known", "--attack", "pgd:steps=20")
    _, known = robust(robustfw, run, "--known", "--attack", "random:samples=1", *flags)
    assert known["tried"] == 0


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x08\0\0\0\0\0\0\0{}      "])
def test_a_damaged_file_is_passed_over(robustfw, run, content):
    expected, _ = robust(robustfw, run, "--known", "--attack", "single-step")
    (path,) = (run / "results").glob("known-*.safetensors")
    path.write_bytes(content)
    assert robust(robustfw, run, "--known", "--attack", "single-step") == (expected, {"tried": 0, "fooled": 0})


def test_within_decides_by_itself(robustfw, run):
    robustfw("evaluate", run, "--within", "5s", "--known").refused(2, "--known", "--within")
