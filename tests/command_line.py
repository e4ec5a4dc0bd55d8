"""The command line in this process, and what it answers."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from robustfw.cli import main


class Answer(NamedTuple):
    """Exit status and output of a command."""

    status: int
    out: str
    err: str

    def refused(self, status: int, *words: str) -> None:
        """One sentence on stderr with these words in it, and nothing else there."""
        assert self.status == status, self
        (line,) = self.err.splitlines()
        assert line.startswith("Error: "), line
        assert "(unexpected: see" not in line
        for word in words:
            assert word in line


def run_command(capsys: pytest.CaptureFixture[str], *arguments: object) -> Answer:
    """The answer of ``robustfw ARGUMENTS``."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return Answer(ended.value.code or 0, *capsys.readouterr())
