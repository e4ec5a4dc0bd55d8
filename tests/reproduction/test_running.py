"""The whole of a small experiment, stopped and gone on with; and its verdicts, from the files beside it."""

from __future__ import annotations

import importlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from robustfw import RunError, results
from robustfw.cli import cli
from robustfw.reproduction import Experiment, Measurements
from robustfw.reproduction._plan import Plan
from robustfw.reproduction._running import Runner
from robustfw.storage import _locks as locks

TINY = Path(__file__).parent / "tiny.toml"


def reproduce(folder, *arguments):
    command = ["reproduce", str(TINY), "--quick", "--out", str(folder / "it"), *arguments]
    return CliRunner().invoke(cli, command, obj=command, catch_exceptions=False)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("experiment")
    answer = reproduce(folder, "--seeds", "2", "--processes", "1")
    assert answer.exit_code == 0, answer.output
    return folder / "it", answer.stdout


def test_it_ends_with_tables_and_verdicts(done):
    folder, printed = done
    page = json.loads((folder / "reproduction.json").read_text())
    assert [table["title"] for table in page["tables"]] == ["exact: as it should be", "faithful: as it was"]
    assert [row[0] for row in page["tables"][1]["rows"]] == ["baseline", "robust ℓ2", "robust ℓ∞", "another baseline"]
    assert page["tables"][0]["rows"][1][1] == "99.10 %"
    assert {claim["verdict"] for claim in page["claims"]} <= {"confirmed", "not confirmed", "undecided"}
    assert sum(not claim["net"] for claim in page["claims"]) == 2 * 6
    (leads,) = (
        [c for c in page["claims"] if c["mode"] == "exact" and c["claim"] == "robust ℓ∞ the best" and c["net"]],
    )
    assert [(c["net"], c["paper"]) for c in leads] == [
        ("transfer set, ahead of robust ℓ2", "+10.00 points"),
        ("test set, ahead of robust ℓ2", "+0.10 points"),
    ]
    assert page["summary"][-1].startswith("faithful: another baseline, less the baseline: ")
    assert page["tables"][0]["command"].startswith("robustfw ")
    assert page["tables"][0]["note"].startswith("2 seeds, mean ± 95 % interval (Student's t); budget quick. Transfer: ")
    for claim in page["claims"]:
        assert claim["claim"] in printed
        assert claim["net"] in printed
        assert claim["ours"] in printed
    assert len(page["runs"]) == 2 * 3 + 2 * 4


def test_the_numbers_are_those_of_the_files(done):
    folder, _ = done
    plan = Plan(Experiment.read(TINY.read_text(), "it"), ("exact", "faithful"), "quick", 2)
    found = Measurements(plan, "exact", folder)
    for seed in (0, 1):
        shown = results.load_results(folder / f"runs/exact-l2-{seed}", ["transfer"])
        by_source = {r["source"]: 100 * r["accuracy"] for r in shown}
        assert found.transfer_within_a_seed("l2")[seed] == by_source[f"runs/exact-baseline-{seed}"]
        assert found.transfer("l2")[1 - seed] == by_source[f"runs/exact-baseline-{1 - seed}"]
        (whole,) = (r for r in results.load_results(folder / f"runs/exact-l2-{seed}", ["evaluation"]) if r["n"] == 359)
        assert found.clean("l2")[seed] == pytest.approx(100 * whole["correct"] / 359)
        (part,) = (r for r in results.load_results(folder / f"runs/exact-l2-{seed}", ["evaluation"]) if r["n"] == 100)
        assert found.robust("l2")[seed] == 100 * part["robust_accuracy"]
        (swept,) = results.load_results(folder / f"runs/exact-l2-{seed}", ["sweep"])
        assert found.under_new_attacks("l2")[seed] == pytest.approx(50 * sum(swept["accuracy"][1:]))
    assert found.transfer_within_a_seed("baseline") == [0, 0]
    assert found.clean("baseline") != found.clean("l2")
    (other,) = (
        r
        for r in results.load_results(folder / "runs/exact-baseline-1", ["transfer"])
        if r["collection"].endswith("baseline-0")
    )
    assert found.transfer("baseline")[0] == 100 * other["accuracy"]


def test_a_command_of_it_can_be_typed_and_gives_its_number_again(done, tmp_path):
    folder = Path(shutil.copytree(done[0], tmp_path / "it"))
    before = {r["command"]: r for r in results.load_results(folder / "runs/faithful-linf-0")}
    command = next(command for command, r in before.items() if r["kind"] == "transfer")
    typed = [sys.executable, "-m", *shlex.split(command)]  # whatever the PATH of the tests is
    subprocess.run(typed, cwd=folder, check=True, capture_output=True)
    assert {r["command"]: r for r in results.load_results(folder / "runs/faithful-linf-0")} == before


def test_asked_again_it_does_nothing_and_for_more_it_does_what_is_missing(done, tmp_path):
    folder = tmp_path / "it"
    shutil.copytree(done[0], folder)
    log = (folder / "log.txt").read_text()
    assert reproduce(tmp_path, "--seeds", "2", "--exact").exit_code == 0
    assert (folder / "log.txt").read_text() == log
    shutil.rmtree(folder / "runs/exact-l2-0/results")
    assert reproduce(tmp_path, "--seeds", "2", "--exact").exit_code == 0
    more = (folder / "log.txt").read_text().removeprefix(log)
    again = [line for line in more.splitlines() if line.startswith("$")]
    assert again
    assert all(" runs/exact-l2-0 " in line for line in again)
    assert not any("train" in line.split()[2] for line in again)


def test_one_mode_and_one_seed(tmp_path):
    answer = reproduce(tmp_path, "--faithful")
    assert answer.exit_code == 0, answer.output
    assert not list((tmp_path / "it" / "runs").glob("exact-*"))
    page = json.loads((tmp_path / "it" / "reproduction.json").read_text())
    assert {claim["verdict"] for claim in page["claims"]} == {"undecided"}
    assert "faithful, no claim is decided by one seed: ask for --seeds 3 or more." in answer.stdout
    collected = json.loads((tmp_path / "it/transfer/faithful-baseline-0/manifest.json").read_text())["n"]
    assert f"One seed, budget quick. Transfer: accuracy on {collected} adversarial examples, " in answer.stdout


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize(("how", "to_all"), [(signal.SIGINT, True), (signal.SIGINT, False), (signal.SIGKILL, False)])
def test_stopped_or_killed_the_trainings_under_way_save_what_they_have(how, to_all, tmp_path):
    """A terminal sends Ctrl-C to all processes; what reaches the first one only is passed on, a kill noticed."""
    recipe = tmp_path / "long.toml"
    recipe.write_text(TINY.read_text().replace("epochs = 2", "epochs = 400"))
    command = [sys.executable, "-m", "robustfw", "reproduce", str(recipe), "--quick", "--exact", "--out", "it"]
    with subprocess.Popen(
        command, cwd=tmp_path, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        while not any("epoch   2/400" in log.read_text() for log in (tmp_path / "it").glob("log-*.txt")):
            time.sleep(0.1)
            assert running.poll() is None
        os.killpg(running.pid, how) if to_all else os.kill(running.pid, how)
        _, said = running.communicate(timeout=100)  # ends when the last of the processes does
    assert running.returncode == (130 if how == signal.SIGINT else -how)
    if how == signal.SIGINT:
        assert said.splitlines()[-1].startswith("stopped, nothing is lost; to go on: robustfw reproduce ")
    saved = list((tmp_path / "it" / "runs").glob("*/checkpoints/last.safetensors"))
    assert saved
    epochs = [len((path.parents[1] / "metrics.jsonl").read_text().splitlines()) for path in saved]
    assert 1 <= max(epochs) < 400
    assert "epoch   2/400" in (tmp_path / "it" / "log.txt").read_text()


def test_another_model_has_a_folder_of_its_own_and_is_in_its_recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = CliRunner().invoke(cli, ["reproduce", str(TINY), "--quick", "--exact", "--model", "linear"])
    assert answer.exit_code == 0, answer.output
    (folder,) = (tmp_path / "reproductions").iterdir()
    assert folder.name.endswith("-quick-linear")
    assert (folder / "recipe.toml").read_text().startswith("# by --model linear\n")
    for manifest in folder.glob("runs/*/manifest.json"):
        assert json.loads(manifest.read_text())["recipe"]["model"]["use"] == "linear"


def test_a_folder_of_another_recipe_is_left_alone(tmp_path):
    (tmp_path / "it").mkdir()
    (tmp_path / "it" / "recipe.toml").write_text("# another\n")
    answer = reproduce(tmp_path)
    assert answer.exit_code == 1
    assert "was begun with another recipe" in answer.output
    assert (tmp_path / "it" / "recipe.toml").read_text() == "# another\n"


def test_a_second_one_in_the_folder_is_refused_and_the_first_goes_on(tmp_path):
    pytest.importorskip("fcntl")
    lock = locks.claim(tmp_path / "it", "reproduced")
    (tmp_path / "it" / "log-1.txt").write_text("$ robustfw train, under way")
    answer = reproduce(tmp_path)
    assert answer.exit_code == 1
    assert "it is being reproduced already, by another process: end that, or choose another --out" in answer.output
    assert [path.name for path in (tmp_path / "it").iterdir()] == ["log-1.txt"]
    lock.release()


KILLED = """
import os
import signal

def main(arguments):
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_process_that_is_killed_is_told_with_its_command(tmp_path, monkeypatch):
    (tmp_path / "killed.py").write_text(KILLED)
    monkeypatch.syspath_prepend(tmp_path)
    plan = Plan(Experiment.read(TINY.read_text(), "it"), ("exact",), "quick", 1)
    with pytest.raises(RunError, match=r"memory runs out; .* robustfw train .*: the same command goes on") as caught:
        list(Runner(importlib.import_module("killed").main, tmp_path, 1, 1).carry_out(plan.jobs()))
    assert "\n" not in str(caught.value)


def test_a_command_that_fails_is_named(tmp_path):
    plan = Plan(Experiment.read(TINY.read_text(), "it"), ("exact",), "quick", 1)
    with pytest.raises(RunError, match=r"a command failed: robustfw train .*log.txt"):
        list(Runner(sys.exit, tmp_path, 1, 1).carry_out(plan.jobs()))
    assert "$ robustfw train" in (tmp_path / "log.txt").read_text()


CHATTY = """
import os
import time
from pathlib import Path

def main(arguments):
    Path(f"here-{os.getpid()}").touch()
    while len(list(Path.cwd().glob("here-*"))) < 2:  # both are to speak at once
        time.sleep(0.01)
    for line in range(20):
        print(arguments[-1], line, flush=True)
        time.sleep(0.02)
"""


def test_of_commands_side_by_side_the_log_has_one_after_the_other(tmp_path, monkeypatch):
    (tmp_path / "chatty.py").write_text(CHATTY)
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / "it"
    folder.mkdir()
    (folder / "log-1.txt").write_text("$ robustfw train, killed\n")
    plan = Plan(Experiment.read(TINY.read_text(), "it"), ("exact",), "quick", 1)
    with pytest.raises(RunError, match="a command failed"):  # they make nothing
        list(Runner(importlib.import_module("chatty").main, folder, 2, 1).carry_out(plan.jobs()))
    killed, *commands = (folder / "log.txt").read_text().split("$ robustfw ")[1:]
    assert killed == "train, killed\n"
    assert len(commands) == 2
    for said in commands:
        command, *lines = said.splitlines()
        assert lines == [f"{command.split()[-1]} {line}" for line in range(20)]
    assert not list(folder.glob("log-*.txt"))


def test_the_error_of_a_command_is_told(tmp_path):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(TINY.read_text().replace('dataset = "digits"', 'dataset = "mnist"'))
    command = ["reproduce", str(recipe), "--quick", "--out", str(tmp_path / "it"), "--data-dir", str(tmp_path)]
    answer = CliRunner().invoke(cli, command, obj=command)
    assert answer.exit_code == 1
    assert re.search(r"a command failed \(.*mnist.*\): robustfw train .*log.txt", answer.output.lower())


def test_results_that_are_missing_are_asked_for(tmp_path):
    plan = Plan(Experiment.read(TINY.read_text(), "it"), ("exact",), "quick", 1)
    with pytest.raises(RunError, match=r"no evaluation result beside .*run robustfw reproduce again"):
        Measurements(plan, "exact", tmp_path).clean("l2")


# The commands


def test_recipes_are_listed_and_copied(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = CliRunner()
    listed = run.invoke(cli, ["recipes"]).stdout
    assert "mnist" in listed
    assert "madry-mnist" in listed
    assert run.invoke(cli, ["recipes", "copy", "mnist"]).stdout == (
        "mnist.toml is yours; to run it: robustfw reproduce mnist.toml\n"
    )
    assert "robustfw train mine.toml" in run.invoke(cli, ["recipes", "copy", "madry-mnist", "mine.toml"]).stdout
    again = run.invoke(cli, ["recipes", "copy", "mnist"])
    assert again.exit_code == 2
    assert "mnist.toml exists already" in again.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("reproduce mnits", "no recipe named 'mnits'; did you mean mnist"),
        ("reproduce nothing.toml", "cannot read the recipe nothing.toml"),
        ("reproduce mnist --model paper-mnits", "no model named 'paper-mnits'; did you mean paper-mnist"),
        ("reproduce mnist --mode exacct", "the recipe has no mode 'exacct'; did you mean exact"),
        ("reproduce mnist --budget ful", "no budget named 'ful'; did you mean full"),
        ("reproduce madry-mnist", "it is one for robustfw train"),
        ("recipes copy mnits", "no recipe named 'mnits'"),
    ],
)
def test_misuse(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = CliRunner().invoke(cli, arguments.split())
    assert answer.exit_code == 2
    assert words in answer.output
    assert list(tmp_path.iterdir()) == []
