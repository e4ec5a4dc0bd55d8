"""Pages that are run: files are written, code and commands are executed in order, and what they print is compared."""

from __future__ import annotations

import contextlib
import io
import re
import runpy
import shlex
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner

from robustfw.cli import cli

WIDTH = 110
"""Columns of the pages' terminal."""


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    text: str
    said: str
    """What code prints, from the block of text that follows at once; empty where none does."""


def blocks_of(page: str) -> Iterator[Block]:
    """The blocks of a page with code, commands and files, each with the output that it is said to have."""
    pattern = r"^```(\w+)\n(.*?)^```$(?:\n+^```text\n(.*?)^```$)?"
    for language, text, said in re.findall(pattern, page, re.MULTILINE | re.DOTALL):
        if language != "text":
            yield Block(language, text, said)


def words(text: str) -> Counter[str]:
    """The words of an output in any order; numbers, the marks that hang on them, and line ends are a machine's own."""
    return Counter(re.sub(r"-?\d[\d.,]*(e[+-]?\d+)?%?|best so far", "#", text).replace("#", " ").split())


def assert_prints(said: str, printed: str) -> None:
    """What a page says, with … for the lines that it leaves out."""
    if "\n…\n" not in said:
        assert words(printed) == words(said)
        return
    head, tail = (part.strip().splitlines() for part in said.split("\n…\n"))
    lines = printed.strip().splitlines()
    assert len(lines) > len(head) + len(tail)
    for expected, line in [*zip(head, lines, strict=False), *zip(tail[::-1], lines[::-1], strict=False)]:
        assert words(line) == words(expected)


def commands(text: str) -> Iterator[tuple[str, str]]:
    """(command, what it is said to print) of a console block."""
    for entry in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, output = entry.partition("\n")
        yield command, output


def run_page(path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Execute a page in the present folder; the names that its code has left.

    A block of Python whose first line is a comment with the name of a file is that file. Blocks of commands hold what
    each prints, warnings included; a line of ``…`` stands for lines that are left out.
    """
    monkeypatch.syspath_prepend(Path.cwd())
    names: dict[str, Any] = {"__name__": "page"}
    for block in blocks_of(path.read_text()):
        file = re.match(r"# (\S+\.\w+)\n", block.text)
        if block.language == "python" and file:
            Path(file[1]).write_text(block.text)
            # another page may have had a module of that name
            monkeypatch.delitem(sys.modules, Path(file[1]).stem, raising=False)
        elif block.language == "python":
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                exec(compile(block.text, path.name, "exec"), names)
            assert words(printed.getvalue()) == words(block.said), printed.getvalue()
        elif block.language == "console":
            for command, said in commands(block.text):
                assert_prints(said, run(command, monkeypatch))
    return names


def run(command: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a command prints: robustfw in this process, or a script by ``python``."""
    program, *arguments = shlex.split(command)
    if program == "python":
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            runpy.run_path(arguments[0], run_name="__main__")
        return printed.getvalue()
    assert program == "robustfw", command
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    answer = CliRunner().invoke(cli, arguments, prog_name=program, terminal_width=WIDTH)
    is_refused = answer.output.splitlines()[-1].startswith("Error: ")
    assert bool(answer.exit_code) == is_refused, answer.output
    return answer.output
