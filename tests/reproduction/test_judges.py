"""Who judges a recipe's claims, and its budgets and modes as flags."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from robustfw import hookimpl
from robustfw.cli import cli, main
from robustfw.plugin import registry
from robustfw.reproduction import Claim, Judge, Judgement

TINY = Path(__file__).parent / "tiny.toml"


@pytest.fixture
def recipe(tmp_path):
    """A copy of the tiny recipe with other words in it."""

    def write(old, new):
        path = tmp_path / "recipe.toml"
        path.write_text(TINY.read_text().replace(old, new))
        return str(path)

    return write


def refused(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    return end.value.code, capsys.readouterr().err


def test_claims_that_no_plugin_knows_are_refused_before_anything_is_trained(recipe, tmp_path, capsys):
    path = recipe('use = "paper"', 'use = "promise"')
    code, said = refused(["reproduce", path, "--out", str(tmp_path / "it")], capsys)
    assert code == 2
    assert "no plugin judges the claims 'promise' of this recipe: install it, or leave out [claims]" in said
    assert not (tmp_path / "it").exists()


def test_claims_that_lack_something_are_refused_at_once(recipe, tmp_path, capsys):
    code, said = refused(["reproduce", recipe('best = "linf"\n', ""), "--out", str(tmp_path / "it")], capsys)
    assert code == 2
    assert "claims lacks best" in said


def test_a_judge_that_fails_is_named(recipe, tmp_path, monkeypatch, capsys):
    class Failing:
        @hookimpl
        def robustfw_judge(self, experiment):
            raise KeyError("nothing")

    known = registry.Registry({"failing": Failing()}, {"failing": "a-judge 1.2"})
    monkeypatch.setattr("robustfw.cli._reproduce.registry.installed", lambda: known)
    code, said = refused(["reproduce", str(TINY), "--out", str(tmp_path / "it")], capsys)
    assert code == 1
    assert "the plugin failing (a-judge 1.2) failed in robustfw_judge: KeyError: 'nothing'" in said


def test_a_claim_is_kept_with_its_parts():
    assert Judgement((Claim("it is so", (), " %"),)).claims[0].rows("exact") == [
        {"mode": "exact", "claim": "it is so", "net": "", "paper": "", "ours": "", "verdict": "undecided"}
    ]
    assert Judge.__abstractmethods__ == {"source_figures", "judge"}


def test_budgets_and_modes_of_the_recipe_are_flags():
    listed = CliRunner().invoke(cli, ["reproduce", str(TINY), "--help"]).output
    assert "--quick" in listed
    assert "As --budget quick." in listed
    assert "--faithful" in listed
    assert "As --mode faithful." in listed
    assert "--quick" not in CliRunner().invoke(cli, ["reproduce", "--help"]).output.partition("Options:")[2]


def test_a_flag_that_no_budget_or_mode_is_called_is_refused(capsys):
    code, said = refused(["reproduce", str(TINY), "--slow"], capsys)
    assert code == 2
    assert "no such option --slow" in said.lower()
