"""README.md and pages in docs/ say what is so: their code runs, their commands print what they show."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import signal
import tomllib
from pathlib import Path
from typing import get_args

import pytest
from click.testing import CliRunner
from torch import nn

from robustfw import RobustfwWarning
from robustfw.analysis._lipschitz import BoundMethod
from robustfw.cli import _add_plugin_commands, cli
from robustfw.cli._analyze import ANALYSES as NAMES
from robustfw.evaluation._audit import ADVICE
from robustfw.plugin import options
from robustfw.plugin.registry import KINDS, installed
from robustfw.reproduction._recipes import find_recipe
from robustfw.training.recipe import Recipe

from .pages import WIDTH, assert_prints, words

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "docs/quickstart.md", "docs/robustness-numbers.md", "docs/analyses.md")
README, QUICKSTART, NUMBERS, ANALYSES = ((ROOT / name).read_text() for name in PAGES)


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def section(heading):
    return re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL)[1]


def commands(page):
    """(command, what the page says it prints) of all console blocks; what it prints is empty where nothing is shown."""
    for block in blocks(page, "console"):
        for entry in re.split(r"^\$ ", block, flags=re.MULTILINE) if "$ " in block else block.splitlines():
            command, _, output = entry.partition("\n")
            if command:
                yield command, output


def run(command, monkeypatch):
    """A command line, in this process."""
    program, *arguments = shlex.split(command)
    assert program == "robustfw"
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    return CliRunner().invoke(cli, arguments, prog_name=program, terminal_width=WIDTH)


# README


@pytest.mark.parametrize("index", [0, 1], ids=["train", "worst_case"])
def test_the_code_prints_what_the_page_says(index):
    code, said = re.findall(r"^```python\n(.*?)^```$\n+^```text\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)[index]
    names = {}
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(code, "README.md", "exec"), names)
    assert words(printed.getvalue()) == words(said)
    assert isinstance(names["net"], nn.Module)
    found = names["record" if index == 0 else "found"]
    assert found.clean_accuracy > 0.7
    assert 0.4 < found.robust_accuracy < found.clean_accuracy


def test_all_code_is_tested():
    assert len(blocks(README, "python")) == 2


def test_the_help_is_the_programs(monkeypatch):
    _add_plugin_commands()  # as the program does at its start
    assert run("robustfw --help", monkeypatch).output in blocks(README, "text")


def test_the_first_training_prints_what_the_page_says(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert_prints(blocks(section("Start"), "text")[0], run("robustfw train", monkeypatch).output)


def test_the_set_up_commands_are_those_of_ci_and_name_extras_that_exist():
    commands = [block.strip() for block in blocks(section("Start"), "console")]
    assert len(commands) == 2
    script = (ROOT / ".ci" / "run").read_text()
    for command in commands:
        assert f'step "{command}"' in script
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert re.findall(r"'\.\[(\w+)\]'", "".join(commands)) == ["test"]
    assert "test" in extras


@pytest.mark.parametrize("kind", installed().kinds)
def test_the_table_lists_the_plugins_that_there_are(kind):
    (row,) = [line for line in README.splitlines() if line.startswith("|") and f"| `{kind}` |" in line]
    ours = [e.name for e in installed().entries_of_kind(kind) if e.distribution.startswith("robustfw ")]
    assert sorted(re.findall(r"`([\w-]+)`", row.split("|")[4])) == ours


def test_specs_in_the_grammars_examples_name_plugins():
    (text,) = (block for block in blocks(README, "text") if block.startswith("pgd "))
    for line in text.splitlines():
        spec, meaning = re.split(r" +", line, maxsplit=1)
        kind = "uncertainty" if spec.startswith("linf") else "attack"
        plugin = installed().make(kind, spec)
        assert installed().make(kind, installed().spell(plugin)) == plugin
        assert meaning


def test_every_command_has_options_and_specs_that_exist():
    shown = [command for page in (README, QUICKSTART, NUMBERS, ANALYSES) for command, _ in commands(page)]
    ours = [
        command[command.index("robustfw ") :] for command in shown if re.match(r"(torchrun .* )?robustfw ", command)
    ]
    assert len(ours) > 10
    for line in ours:
        name, *arguments = shlex.split(line)[1:]
        context = cli.commands[name].make_context(name, arguments)
        given = [(kind, context.params[kind]) for kind in KINDS if context.params.get(kind) is not None]
        for kind, spec in [*given, *(("attack", spec) for spec in context.params.get("attacks", ()))]:
            installed().make(kind, spec)


def test_the_recipe_is_the_measured_command():
    (toml,) = blocks(README, "toml")
    (command,) = (line for line, _ in commands(section("Measured on MNIST")))
    flags = {k.replace("-", "_"): v for k, v in re.findall(r"--(\S+) (\S+)", command)}
    given = {
        kind: flags.pop(kind) for kind in list(flags) if kind in KINDS and kind != "optimizer" and kind != "schedule"
    }
    given["train"] = {name: options.read_value(value) for name, value in flags.items()}
    shipped = find_recipe("madry-mnist", installed().modules()).text
    expected = Recipe.read(given, installed())
    assert Recipe.read(tomllib.loads(toml), installed()) == Recipe.read(tomllib.loads(shipped), installed()) == expected


@pytest.mark.parametrize("name", [*PAGES, "CONTRIBUTING.md", "docs/notation.md", "docs/reproduction.md"])
def test_the_links_lead_somewhere(name):
    page = ROOT / name
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if target.startswith("http"):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path) if path else page
        assert linked.exists(), target
        headings = re.findall(r"^#+ (.*)$", linked.read_text(), re.MULTILINE) if anchor else []
        assert not anchor or anchor in {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}, target


# The quick start


def test_the_quick_start_prints_what_it_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for command, said in commands(QUICKSTART):
        with monkeypatch.context() as patch:
            interrupted = re.search(r"epoch +(\d+)/\d+.*\n\^C", said)
            if interrupted:
                press_ctrl_c_after(int(interrupted[1]), patch)
            answer = run(command, patch)
        assert bool(answer.exit_code) == bool(interrupted), answer.output
        assert_prints(said.replace("^C\n", ""), answer.output)


def press_ctrl_c_after(epoch, monkeypatch):
    """Ctrl-C in the first step after an epoch."""
    from robustfw import console

    drawn = console.training

    def interrupted(*args, **kwargs):
        pressed = False
        for record in drawn(*args, **kwargs):
            if record.epoch == epoch + 1 and not pressed:
                pressed = True
                signal.raise_signal(signal.SIGINT)
            yield record

    monkeypatch.setattr(console, "training", interrupted)


# How to read a robustness number


def test_the_page_on_numbers_prints_what_it_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for command, said in commands(NUMBERS):
        answer = run(command, monkeypatch)
        assert answer.exit_code == 0
        assert_prints(said, answer.output)
    (code,), said = blocks(NUMBERS, "python"), blocks(NUMBERS, "text")[0]
    with contextlib.redirect_stdout(io.StringIO()) as printed, pytest.warns(RobustfwWarning, match="no gradient"):
        exec(compile(code, "robustness-numbers.md", "exec"), {"__name__": "page"})
    assert words(printed.getvalue()) == words(said)


def test_the_page_on_analyses_prints_what_it_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for command, said in commands(ANALYSES):
        answer = run(command, monkeypatch)
        assert answer.exit_code == 0
        assert_prints(said, answer.output)


def test_the_page_on_analyses_has_a_section_for_each_and_every_way_of_knowing():
    for name in NAMES:
        assert re.search(rf"^## {name}", ANALYSES, re.MULTILINE | re.IGNORECASE)
    assert set(re.findall(r"^\| `(\w+)` \|", ANALYSES, re.MULTILINE)) == set(get_args(BoundMethod))


def test_the_page_on_numbers_explains_every_line():
    rows = re.findall(r"^\| ([a-z ]+) \|", NUMBERS, re.MULTILINE)
    assert rows == ["line", *ADVICE]
