"""What people read and what scripts read: help, tables, results, JSON."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest
from click.testing import CliRunner

from robustfw import console
from robustfw.cli import cli
from robustfw.plugin import options, registry

from .conftest import TRAINING


def parsed(text):
    """Exactly one JSON object, without NaN and Infinity."""

    def refuse(name):
        raise AssertionError(name)

    result = json.loads(text, parse_constant=refuse)
    assert isinstance(result, dict)
    assert text.count("\n") == 1
    return result


# JSON


def test_a_training_as_json(robustfw):
    answer = robustfw("train", *TRAINING, "--out", "run", "--json")
    assert (answer.status, answer.err) == (0, "")
    result = parsed(answer.out)
    assert result["run"] == "run"
    assert result["split"] == "test"
    assert 0 < result["robust_accuracy"] <= result["clean_accuracy"] < 1
    manifest = json.loads(Path("run/manifest.json").read_text())
    assert manifest["result"] == {key: value for key, value in result.items() if key != "run"}
    assert parsed(robustfw("train", "--resume", "--out", "run", "--json").out)["robust"] == result["robust"]


def test_an_evaluation_as_json(robustfw, run):
    answer = robustfw("evaluate", run, "--examples", 100, "--json")
    assert (answer.status, answer.err) == (0, "")
    result = parsed(answer.out)
    assert result["n"] == 100
    assert result["clean_accuracy"] == result["correct"] / 100
    assert result["robust_accuracy"] == result["robust"] / 100
    low, high = result["interval"]
    assert low < result["robust_accuracy"] < high
    assert (result["radius"], result["weights"], result["bounds"]) == (0.1, "best", [0, 1])
    assert result["uncertainty"] == "linf:radius=0.1"
    judge = registry.installed().make("attack", "restarts:n=5,attack=(pgd:steps=40)")
    assert result["attacks"] == [registry.installed().spell(judge)]


@pytest.mark.parametrize(
    ("spec", "radius"),
    [
        ("linf:radius=8/255", 8 / 255),
        ("linf:radius=[8/255]", [8 / 255]),
        ("l2:radius=2", 2),
        ("l0:radius=3", 3),
    ],
)
def test_a_radius_is_a_number_or_a_list_of_numbers(spec, radius, robustfw, run):
    answer = robustfw("evaluate", run, "--uncertainty", spec, "--examples", 10, "--attack", "single-step", "--json")
    assert parsed(answer.out)["radius"] == radius


def test_a_number_that_is_none_is_null(robustfw):
    answer = robustfw("train", *TRAINING, "--dataset", "digits:validation=0", "--out", "run", "--json")
    parsed(answer.out)
    (line,) = Path("run/metrics.jsonl").read_text().splitlines()
    assert parsed(line + "\n")["robust_accuracy"] is None


def test_errors_leave_stdout_to_json(robustfw):
    assert robustfw("evaluate", "nothing", "--json").out == ""


def test_warnings_are_not_lost_with_json(robustfw):
    hopeless = ("--attack", "random:samples=1", "--uncertainty", "linf:radius=0.4", "--validation-attack", "pgd")
    answer = robustfw("train", *hopeless, "--epochs", 3, "--schedule", "constant", "--json", "--out", "run")
    assert parsed(answer.out)["weights"] == "last"
    assert "Warning: catastrophic overfitting" in answer.err
    assert "no epoch counts as the best" in answer.err


# Results


def test_a_training_in_words(robustfw):
    answer = robustfw("train", *TRAINING, "--validation-attack", "pgd:steps=3,step=none", "--out", "my run")
    lines = answer.out.splitlines()
    assert lines[0] == "training in my run"
    assert re.match(r"epoch 1/1  loss \d\.\d+  validation: clean .*%  robust .*%  \d+\.\d s  best so far", lines[1])
    assert [line.split()[0] for line in lines[2:7]] == ["clean", "robust", "uncertainty", "attack", "cost"]
    assert lines[4].split() == ["uncertainty", "linf:radius=0.1"]
    assert lines[5].split() == ["attack", "pgd:steps=3"]
    assert "robustfw evaluate 'my run' --attack" in lines[-1]


def test_without_validation_there_is_no_best_and_no_nan(robustfw):
    answer = robustfw("train", *TRAINING, "--dataset", "digits:validation=0", "--out", "run")
    assert "validation: no examples" in answer.out
    assert "nan" not in answer.out
    assert "best" not in answer.out


def test_a_new_run_gets_a_name_of_its_own(robustfw, tmp_path):
    for _ in range(2):
        assert robustfw("train", *TRAINING).status == 0
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"digits-mlp-linf", "digits-mlp-linf-2"}


# Briefly


@pytest.mark.parametrize(
    ("kind", "spec", "brief"),
    [
        ("attack", "pgd", "pgd"),
        ("attack", "pgd:steps=10,step=none", "pgd"),
        ("attack", "pgd:steps=7,result=last", "pgd:steps=7,result=last"),
        ("attack", "restarts:attack=(pgd:steps=10),n=3", "restarts:n=3"),
        ("attack", "restarts:attack=(pgd:steps=100)", "restarts:attack=(pgd:steps=100)"),
        ("attack", "strongest:attacks=[(pgd:steps=10),(pgd:steps=3)]", "strongest:attacks=[(pgd),(pgd:steps=3)]"),
        ("uncertainty", "linf:radius=1/10", "linf"),
        ("uncertainty", "linf:radius=8/255", "linf:radius=8/255"),
        ("model", "mlp:hidden=[256,256]", "mlp"),
        ("model", "mlp:hidden=[]", "mlp:hidden=[]"),
        ("optimizer", "sgd:momentum=0", "sgd:momentum=0.0"),
    ],
)
def test_a_brief_spelling_leaves_out_what_is_so_anyway(kind, spec, brief):
    known = registry.installed()
    plugin = known.make(kind, spec)
    assert known.spell(plugin, brief=True) == brief
    assert known.make(kind, brief) == plugin


@pytest.mark.parametrize(("kind", "name"), list(registry.installed().entries))
def test_a_plugin_without_options_is_its_name(kind, name):
    known = registry.installed()
    assert known.spell(known.make(kind, name), brief=True) == name


# Tables


def test_a_listing_has_one_line_per_plugin(robustfw):
    answer = robustfw("plugins")
    lines = answer.out.splitlines()
    for entry in registry.installed().entries.values():
        about = inspect.cleandoc(entry.cls.__doc__).splitlines()[0]
        # a model and a data set may have one name
        (line,) = (line for line in lines if re.match(rf"  {entry.name} ", line) and about in line)
        assert line.split(None, 1)[1].split(about)[1].split("  ")[-1].strip() == entry.distribution
    assert all(line == line.rstrip() for line in lines)


@pytest.mark.parametrize(("kind", "name"), list(registry.installed().entries))
def test_what_is_shown_of_a_plugin_is_dedented_and_not_folded(kind, name, robustfw):
    out = robustfw("show", kind, name).out
    entry = registry.installed().entry(kind, name)
    assert inspect.cleandoc(entry.cls.__doc__) in out
    table = out.partition("\noptions ")[2].splitlines()
    assert sum(line.startswith("  ") for line in table[1:]) == len(options.fields(entry.cls))
    assert out.splitlines()[-1] == f"in full: {registry.installed().spell(entry.cls())}"


def test_a_check_has_one_line_per_law(robustfw):
    out = robustfw("check", "uncertainty", "linf:radius=0.2").out
    assert len(re.findall(r"^  .* holds ", out, re.MULTILINE)) == int(re.search(r"all (\d+) laws hold", out)[1])


def test_a_terminal_gets_a_table_that_fits(monkeypatch):
    from rich.console import Console

    terminal = Console(force_terminal=True, width=60, record=True, highlight=False)
    monkeypatch.setattr(console._output, "_out", terminal)
    console.table("kind", ["name", "what it is"], [["pgd", "a long story " * 10]])
    console.paragraph("title", "A first line.\n\n    Some prose that\n    was folded.\n\n      code\n")
    text = terminal.export_text()
    assert max(len(line) for line in text.splitlines()) <= 60
    assert "Some prose that was folded." in text
    assert "\n  code\n" in text


# Help


@pytest.mark.parametrize(("columns", "least", "most"), [(70, 60, 70), (100, 80, 100), (200, 95, 110)])
@pytest.mark.parametrize("command", [[], ["train"], ["evaluate"], ["audit"]])
def test_help_uses_the_width_there_is(command, columns, least, most, robustfw, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert least < max(len(line) for line in robustfw(*command, "--help").out.splitlines()) <= most


def test_the_list_of_commands_is_not_cut():
    out = CliRunner().invoke(cli, ["--help"]).output
    listed = out.partition("Commands:\n")[2].splitlines()
    assert {line.split()[0] for line in listed} == set(cli.commands)
    assert all(line.endswith(".") and not line.endswith("..") for line in listed)


def test_flags_of_the_training_say_what_they_take():
    out = " ".join(CliRunner().invoke(cli, ["train", "--help"]).output.split())
    for text in (
        "--optimizer SPEC Spec of an optimizer. [sgd]",
        "--schedule SPEC Spec of a schedule. [one-cycle]",
        "--validation-attack SPEC Spec; the training attack if none. [pgd:steps=10]",
        "--epochs VALUE Passes over the training examples (a whole number). [20]",
        "--device VALUE auto, cpu, cuda",
    ):
        assert text in out
    assert "exit status 130" in out


@pytest.mark.parametrize("program", [["-m", "robustfw"], ["-c", "from robustfw.cli import main; main()"]])
def test_ways_to_start_the_program(program):
    answer = subprocess.run([sys.executable, *program, "--version"], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"robustfw, version \d+\.\d+\.\d+\n", answer.stdout)


def test_fractions_stay_exact_in_the_record(robustfw):
    assert robustfw("train", *TRAINING, "--uncertainty", "linf:radius=8/255", "--out", "run").status == 0
    recipe = json.loads(Path("run/manifest.json").read_text())["recipe"]
    assert registry.installed().make("uncertainty", recipe["uncertainty"]).radius == Fraction(8, 255)
