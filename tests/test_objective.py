"""Sums of a loss and penalties: what they are, how they are written, and that a run keeps them."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import attrs
import pytest
import torch
from click.testing import CliRunner
from torch import nn

import robustfw
from robustfw import Objective, Penalty, UsageError, losses
from robustfw.cli import cli
from robustfw.objective import Combined, combine
from robustfw.plugin.registry import Registry
from robustfw.report import write
from robustfw.storage.runs import Run
from robustfw.testing.batches import given_batch
from robustfw.training.recipe import Recipe

REGISTRY = Registry.installed()
SUM = ["robust", "vat:beta=0.5", "contractive:beta=0.1"]


@attrs.frozen
class Length(Penalty):
    """Weight · ‖θ‖₂²."""

    weight: float = 1.0

    def penalty(self, model, x, y, batch):
        return self.weight * sum(p.square().sum() for p in model.parameters()).expand(len(x))


def batch():
    torch.manual_seed(0)
    return nn.Linear(4, 3), torch.rand(5, 4), torch.arange(5) % 3


def run(*arguments):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def test_a_penalty_alone_is_added_to_cross_entropy():
    model, x, y = batch()
    expected = losses.cross_entropy(model(x), y) + 2 * sum(p.square().sum() for p in model.parameters())
    torch.testing.assert_close(Length(2.0)(model, x, y, given_batch(model, x, y)), expected)


def test_a_sum_is_the_loss_and_every_penalty_once():
    model, x, y = batch()
    far = x + 0.5
    found = combine([Length(1.0), REGISTRY.make("objective", "robust"), Length(2.0)])(
        model, x, y, given_batch(model, x, y, far)
    )
    expected = losses.cross_entropy(model(far), y) + 3 * sum(p.square().sum() for p in model.parameters())
    torch.testing.assert_close(found, expected)
    without = combine([Length(1.0), Length(2.0)])(model, x, y, given_batch(model, x, y))
    clean = combine([Length(1.0), REGISTRY.make("objective", "clean"), Length(2.0)])(
        model, x, y, given_batch(model, x, y)
    )
    assert torch.equal(without, clean)


def test_one_part_is_itself_and_sums_of_sums_are_flat():
    robust = REGISTRY.make("objective", "robust")
    assert combine([robust]) is robust
    nested = combine([combine([Length(1.0), Length(2.0)]), robust])
    assert nested == Combined(robust, (Length(1.0), Length(2.0)))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (["robust", "vat", "trades"], "Robust and Trades are losses, of which an objective has one"),
        ([], "the list of objectives is empty"),
        (["robust", "vatt"], "no objective named 'vatt'; did you mean vat"),
        (["robust", 3], "cannot make a plugin of kind 'objective' from 3"),
    ],
)
def test_wrong_lists_are_refused_with_what_to_do(parts, message):
    with pytest.raises(UsageError, match=message):
        REGISTRY.make("objective", parts)


def test_only_objectives_are_lists():
    with pytest.raises(UsageError, match="cannot make a plugin of kind 'attack'"):
        REGISTRY.make("attack", ["pgd", "random"])


@pytest.mark.parametrize(
    "spec", [SUM, f"[{','.join(SUM)}]", "[robust,(vat:beta=0.5),{}]".format("(contractive:beta=0.1)")]
)
def test_a_list_has_one_meaning_however_it_is_written(spec):
    made = REGISTRY.make("objective", spec)
    assert made == combine([REGISTRY.make("objective", part) for part in SUM])
    assert REGISTRY.make("objective", REGISTRY.record(made)) == made
    assert REGISTRY.make("objective", json.loads(json.dumps(REGISTRY.record(made)))) == made
    assert REGISTRY.make("objective", REGISTRY.spell(made)) == made
    assert REGISTRY.spell(made, brief=True) == "[(robust),(vat:beta=0.5),(contractive:beta=0.1)]"


def test_recipes_hold_lists_of_specs_and_tables():
    recipe = tomllib.loads('objective = ["robust", { use = "vat", beta = 0.5 }]')
    assert Recipe.read(recipe, REGISTRY).objective == REGISTRY.make("objective", ["robust", "vat:beta=0.5"])


def test_one_objective_is_recorded_as_ever():
    recipe = Recipe.read({}, REGISTRY)
    assert REGISTRY.record(recipe)["objective"] == {"use": "robust", "smoothing": 0.0}
    assert REGISTRY.record(Recipe.read({"objective": ["robust"]}, REGISTRY)) == REGISTRY.record(recipe)


def test_in_python_parts_may_be_objects():
    *_, last = robustfw.train(objective=["clean", Length(1e-4)], model="linear", epochs=1, validation_examples=10)
    assert last.loss > 0


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """A run of one epoch, from the shell."""
    monkeypatch.chdir(tmp_path)
    objective = [word for spec in SUM for word in ("--objective", spec)]
    few = ["--attack", "pgd:steps=1", "--model", "mlp:hidden=[16]", "--validation-examples", "20", "--threads", "1"]
    answer = run("train", *few, *objective, "--epochs", "1", "--out", "sum")
    assert answer.exit_code == 0, answer.output
    return Path("sum")


def test_a_run_keeps_the_list_and_says_whose_parts_they_are(trained):
    manifest = json.loads((trained / "manifest.json").read_text())
    assert [part["use"] for part in manifest["recipe"]["objective"]] == ["robust", "vat", "contractive"]
    assert manifest["plugins"]["objective"] == f"robustfw {robustfw.__version__}"
    assert Run.open(trained).manifest() == manifest


def test_a_run_is_resumed_with_its_list_and_with_no_other(trained):
    answer = run("train", "--resume", "--out", trained)
    assert answer.exit_code == 0, answer.output
    assert "is finished" in answer.output
    same = [word for spec in SUM for word in ("--objective", spec)]
    assert run("train", "--resume", "--out", trained, *same).exit_code == 0
    for other, shown in ((["robust"], "and robust:smoothing=0.0 here"), (["robust", "vat:beta=1"], "(vat:beta=1")):
        flags = [word for spec in other for word in ("--objective", spec)]
        answer = run("train", "--resume", "--out", trained, *flags)
        assert answer.exit_code != 0
        said = " ".join(answer.output.split())
        assert "another recipe" in said
        assert shown in said


def test_a_part_given_as_an_object_cannot_be_resumed_from_the_shell(tmp_path):
    options = {"model": "linear", "epochs": 1, "validation_examples": 10, "out": tmp_path / "run"}
    list(robustfw.train(objective=["clean", Length()], **options))
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["plugins"]["objective"] == f"robustfw {robustfw.__version__}, given as an object"
    answer = run("train", "--resume", "--out", tmp_path / "run")
    assert answer.exit_code == 1
    assert "the objective of the run" in " ".join(answer.output.split())


def test_the_report_spells_the_list(trained, tmp_path):
    write([trained], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "[(robust),(vat:beta=0.5),(contractive:beta=0.1)]" in page


def test_a_training_with_every_penalty_is_resumed_bit_for_bit(tmp_path, monkeypatch):
    """Their randomness is that of the step, and they remember nothing."""
    monkeypatch.setattr("robustfw.storage.runs.SAVE_EVERY", -1.0)
    objective = ["trades", "vat", "contractive", "operator-norm", "input-gradient"]
    options = {
        "objective": objective, "model": "mlp:hidden=[16]", "attack": "pgd:steps=1", "epochs": 2, "batch_size": 400,
        "validation_examples": 20, "dataset": "few-labels",
    }  # fmt: skip
    list(robustfw.train(**options, out=tmp_path / "whole"))
    started = robustfw.train(**options, out=tmp_path / "parts", steps=True)
    next(started)
    started.close()
    list(robustfw.train(**options, out=tmp_path / "parts", resume=True))
    one, two = ((tmp_path / name / "checkpoints" / "last.safetensors").read_bytes() for name in ("whole", "parts"))
    assert one == two


@pytest.mark.parametrize("kind", ["show", "check"])
def test_commands_take_penalties(kind):
    arguments = {"show": ["vat"], "check": ["[robust,vat]"]}[kind]
    answer = run(kind, "objective", *arguments)
    assert answer.exit_code == 0, answer.output


def test_a_stranger_objective_is_no_penalty():
    class Own(Objective):
        def __call__(self, model, x, y, batch):
            return losses.cross_entropy(model(x), y)

    with pytest.raises(UsageError, match="Own and Clean are losses"):
        combine([Own(), REGISTRY.make("objective", "clean")])
