"""The command in a folder of its own."""

from __future__ import annotations

import json

import pytest

from ..command_line import run_command


@pytest.fixture
def number(capsys, tmp_path, monkeypatch):
    """``number("--model", …)``: n, correct and robust by ``robustfw evaluate … --json``."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> dict[str, int]:
        answer = run_command(capsys, "evaluate", *arguments, "--json")
        assert answer.status == 0, answer.err
        result = json.loads(answer.out)
        return {name: result[name] for name in ("n", "correct", "robust")}

    return run
