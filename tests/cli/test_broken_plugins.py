"""A plugin that fails is reported by name and breaks nothing else; two of one name are an error that names both."""

from __future__ import annotations

import json

import pytest

from .conftest import TRAINING

IMPORT = "import robustfw_needs_this"
HOOK = """
import robustfw

@robustfw.hookimpl
def robustfw_registre(add):
    pass
"""
CLASS = """
import robustfw

@robustfw.hookimpl
def robustfw_register(add):
    add("seven", 7)
"""
COMMANDS = """
import robustfw

@robustfw.hookimpl
def robustfw_commands(cli):
    raise ValueError("no commands today")
"""
TWIN = """
import attrs
import robustfw

@attrs.frozen
class Nothing(robustfw.Attack):
    "No change."

    def maximize(self, problem, generator):
        return problem.region.zero()

@robustfw.hookimpl
def robustfw_register(add):
    add("pgd", Nothing)
"""
NOISY = """
import robustfw

@robustfw.hookimpl
def robustfw_record(record):
    print("noise")
"""


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (IMPORT, "ModuleNotFoundError: No module named 'robustfw_needs_this'"),
        (HOOK, "no hook is called robustfw_registre; did you mean robustfw_register"),
        (CLASS, "'seven' must be a class derived from exactly one of robustfw's interfaces"),
        ("raise RuntimeError", "RuntimeError"),
        ("raise SystemExit(3)", "SystemExit: 3"),
    ],
    ids=["import", "misspelt hook", "not a class", "raises", "exits"],
)
def test_a_broken_plugin_is_reported_and_all_others_work(source, reason, program, distributions):
    environment = distributions(broken=source)
    whole = program("plugins")
    answer = program("plugins", environment=environment)
    assert (answer.status, answer.out) == (0, whole.out)
    (line,) = answer.err.splitlines()
    assert line.startswith("Warning: the plugin broken (broken 1.0) failed to load: ")
    assert reason in line
    listed = json.loads(program("plugins", "--json", environment=environment).out)
    assert [(broken["plugin"], broken["distribution"]) for broken in listed["broken"]] == [("broken", "broken 1.0")]
    unknown = program("show", "attack", "pgdd", environment=environment)
    said = ["no attack named 'pgdd'; did you mean pgd?", "failed to load: broken (broken 1.0): ", reason]
    unknown.refused(2, *said)
    assert program("show", "attack", "pgd", environment=environment).status == 0


def test_a_training_beside_a_broken_plugin(robustfw, distributions):
    distributions(broken=IMPORT, other=COMMANDS)
    answer = robustfw("train", *TRAINING)
    assert answer.status == 0
    assert answer.err == ("Warning: the plugin other could not add its commands: ValueError: no commands today\n")


@pytest.mark.parametrize("arguments", ["plugins", "train", "--help", "evaluate run"])
def test_two_plugins_of_one_name(arguments, program, distributions):
    answer = program(*arguments.split(), environment=distributions(twin=TWIN))
    answer.refused(2, "two plugins offer the attack 'pgd': attacks (robustfw ", ") and twin (twin 1.0); uninstall one")
    assert answer.out == ""


def test_what_a_plugin_prints_is_not_mixed_with_json(robustfw, distributions):
    distributions(noisy=NOISY)
    answer = robustfw("train", *TRAINING, "--json")
    assert answer.status == 0
    assert json.loads(answer.out)["n"] == 359
    assert "noise" in answer.err
