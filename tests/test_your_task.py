"""docs/how-to/your-task.md is executed: its code runs from top to bottom, and does what the page says."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest
import torch

from robustfw.plugin.registry import installed

PAGE = (Path(__file__).parents[1] / "docs" / "how-to" / "your-task.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def page():
    """The names of the page after all of its code, and what it printed."""
    names = {"__name__": "page"}
    torch.set_num_threads(1)
    with contextlib.redirect_stdout(io.StringIO()) as output:
        for block in BLOCKS:
            exec(compile(block, "your-task.md", "exec"), names)
    return names, output.getvalue().splitlines()


def test_it_runs_and_learns(page):
    names, lines = page
    assert re.fullmatch(r"within 0\.1: \d+%, in the worst case \d+% of 100", lines[0])
    assert int(re.findall(r"(\d+)%", lines[0])[1]) > 50
    assert names["result"].n == 300
    # more than by naming the larger class alone
    assert names["result"].robust_accuracy > 1 - names["rare"].double().mean()


def test_the_loop_stops_early(page):
    _, lines = page
    stopped = next(line for line in lines if line.startswith("stopped"))
    assert int(re.search(r"epoch (\d+)", stopped)[1]) < 50


def test_the_schedule_halves(page):
    _, lines = page
    rates = [float(re.search(r"rate ([\d.]+)", line)[1]) for line in lines if "learning rate" in line]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] / rates[-1] >= 4


def test_its_table_names_all_tasks():
    named = set(re.findall(r"^\|[^|]*\| `(\w+)", PAGE, re.MULTILINE))
    assert named == {entry.name for entry in installed().entries_of_kind("task")}
