"""The benchmark's own arithmetic, on small data; its accuracies are for the benchmark to say."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import robustfw
from robustfw.plugin.registry import installed

sys.path.append(str(Path(__file__).parents[2]))

from benchmarks import lineage  # found by the line above
from benchmarks.lineage import IDEAS, Setting
from benchmarks.turns import Spread


@pytest.fixture
def setting(tmp_path):
    return Setting(tmp_path, "digits", "mlp:hidden=[16]", epochs=1, seeds=2, attacked=20, data_dir=None)


def named(name):
    return next(idea for idea in IDEAS if idea.name == name)


def test_every_objective_and_every_set_of_the_papers_is_tried():
    objectives = {part.partition(":")[0] for idea in IDEAS for part in idea.objective}
    sets = {idea.uncertainty.partition(":")[0] for idea in IDEAS}
    ours = [entry for entry in installed().entries.values() if entry.distribution.startswith("robustfw 0")]
    assert objectives == {entry.name for entry in ours if entry.kind == "objective"}
    papers = {entry.name for entry in ours if entry.kind == "uncertainty" and entry.plugin in ("norms", "manifold")}
    assert sets == papers


def test_names_of_runs_are_distinct(setting):
    assert len({setting.run(idea, 0) for idea in IDEAS}) == len(IDEAS)


@pytest.mark.parametrize("idea", IDEAS, ids=lambda idea: idea.name)
def test_every_idea_can_be_made(idea):
    for part in idea.objective:
        robustfw.make("objective", part)
    robustfw.make("uncertainty", idea.uncertainty)
    robustfw.make("attack", idea.attack)


@pytest.mark.filterwarnings("ignore:at .* the loss has no gradient")
def test_a_row_is_what_was_measured(setting):
    clean, robust = IDEAS[0], named("robust, ℓ2")
    for seed in (0, 1):
        for idea in (clean, robust):
            lineage.train(setting, idea, seed)
    found = [lineage.measure(setting, robust, seed) for seed in (0, 1)]
    assert set(found[0]) == {*lineage.COLUMNS, *lineage.TANGENTS}
    assert all(0 <= each["PGD-40 ℓ2"] <= each["clean"] <= 1 for each in found)
    row = lineage.row(robust, found, Spread.from_values([1.0, 3.0, 2.0]))
    assert row["accuracies"]["clean"] == [100 * each["clean"] for each in found]
    assert (row["cost"], row["costs"]) == (2.0, [1.0, 3.0])
    text = "\n".join(lineage.texts([row]))
    assert f"| robust, ℓ2 | eq. 11 | {row['spelled']['clean']} |" in text
    kept = next(setting.run(robust, 0).glob("lineage-*.json"))
    kept.write_text(json.dumps({"clean": 0.5}))
    assert lineage.measure(setting, robust, 0) == {"clean": 0.5}, "what is there is not measured again"


def test_clean_costs_what_clean_costs(setting):
    found = lineage.cost(setting, IDEAS[0])
    assert found.n == lineage.TURNS
    assert 0 < found.least <= found.median <= found.most


def test_the_claim_is_of_the_worst_cases():
    def table(penalty, worst):
        kinds = {"": 10.0, lineage.PENALTY: penalty, lineage.WORST: worst}
        return [{"kind": kind, "accuracies": {"PGD-40 ℓ∞": [value, value]}} for kind, value in kinds.items()]

    assert lineage.holds(table(20.0, 30.0))
    assert not lineage.holds(table(30.0, 20.0))
