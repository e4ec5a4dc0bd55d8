"""What a training gives its plugins: indices, groups, memory, parts of a batch, the loss again."""

from __future__ import annotations

import attrs
import pytest
import torch

import robustfw
from robustfw import (
    Objective,
    Stateful,
)
from robustfw.optim import Optimizer

from .small_trainings import FAST, Noting, Watching, splits_of, train

# What reaches plugins


def test_index_and_groups_reach_objective_and_attack():
    groups = torch.arange(96) % 5
    splits = splits_of(meta={"group": groups})
    objective, attack = Watching(), Noting()
    train(splits, objective=objective, attack=attack, validation_attack="single-step", epochs=2)
    assert len(objective.seen) == 10
    for _, _, meta, x, y in objective.seen:
        assert torch.equal(x, splits.train.x[meta["index"]])
        assert torch.equal(y, splits.train.y[meta["index"]])
        assert torch.equal(meta["group"], groups[meta["index"]])
    attacked = [meta for meta in attack.seen if meta]
    assert len(attacked) == 10
    for given, asked in zip(attacked, objective.seen, strict=True):
        assert torch.equal(given["index"], asked[2]["index"])
        assert torch.equal(given["group"], asked[2]["group"])
    assert [epoch for epoch, *_ in objective.seen] == [1] * 5 + [2] * 5
    assert [progress for _, progress, *_ in objective.seen] == pytest.approx([k / 10 for k in range(1, 11)])


def test_augmented_examples_are_still_themselves():
    """The index is that of the example that was augmented."""
    splits = splits_of()
    objective = Watching()
    flipped = attrs.evolve(splits, augment=lambda x, generator, epoch: x.flip(1))
    train(flipped, objective=objective, epochs=1)
    for _, _, meta, x, _ in objective.seen:
        assert torch.equal(x.flip(1), splits.train.x[meta["index"]])


@attrs.define
class Groups(Objective, Stateful):
    """Weights of two groups, each by how bad it has been: a minimax over groups."""

    weights: torch.Tensor = attrs.field(factory=lambda: torch.full((2,), 0.5), init=False, eq=False)
    batches: int = attrs.field(default=0, init=False, eq=False)

    @property
    def couples_rows(self):
        return True

    def __call__(self, model, x, y, batch):
        values, group = batch.loss(model(batch())), batch.meta["group"] % 2
        means = torch.stack([values.detach()[group == each].mean() for each in range(2)]).nan_to_num()
        self.weights = torch.softmax((self.weights.log() + 0.5 * means), 0)
        self.batches += 1
        return 2 * self.weights[group] * values

    def state_dict(self):
        return {"weights": self.weights, "batches": self.batches}

    def load_state_dict(self, state):
        self.weights, self.batches = state["weights"], state["batches"]


@pytest.mark.parametrize("after", [1, 6])
def test_what_a_plugin_remembers_is_in_the_checkpoint(tmp_path, monkeypatch, after):
    splits = splits_of(meta={"group": torch.arange(96)})
    made = []

    def options():
        made.append(Groups())
        return {"dataset": splits, "model": "mlp:hidden=[8]", "objective": made[-1], **FAST}

    monkeypatch.setattr("robustfw.storage.runs.SAVE_EVERY", -1.0)
    list(robustfw.train(out=tmp_path / "whole", **options()))
    started = robustfw.train(out=tmp_path / "parts", steps=True, **options())
    for _ in range(after):
        next(started)
    started.close()
    list(robustfw.train(out=tmp_path / "parts", resume=True, **options()))
    one, two = ((tmp_path / name / "checkpoints" / "last.safetensors").read_bytes() for name in ("whole", "parts"))
    assert one == two
    whole, _, resumed = made
    assert torch.equal(whole.weights, resumed.weights)
    assert whole.batches == resumed.batches == 10
    assert float((whole.weights - 0.5).abs().max()) > 1e-3, "or nothing was remembered"


# Updates


@pytest.mark.parametrize("parts", [2, 3, 16])
def test_gradients_of_parts_are_those_of_the_whole(parts):
    """Without batch norm, up to the order of sums; an attack that draws nothing."""
    found = [
        train(model="mlp:hidden=[8]", update=update, objective="[robust,input-gradient]")[-1]
        for update in ("once", f"accumulate:parts={parts}")
    ]
    for one, other in zip(*(record.model.parameters() for record in found), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    assert found[0].loss == pytest.approx(found[1].loss, rel=1e-5)


@attrs.frozen
class Lbfgs(Optimizer):
    """torch's LBFGS, which asks for the loss several times in a step."""

    def build(self, parameters, learning_rate):
        return torch.optim.LBFGS(list(parameters), learning_rate, max_iter=5, line_search_fn="strong_wolfe")


def test_an_optimizer_may_ask_for_the_loss_as_often_as_it_likes():
    """On one batch of all examples LBFGS gets farther in a step than gradient descent."""
    splits, objective = splits_of(), Watching()
    options = {"batch_size": 80, "epochs": 3, "schedule": "constant", "objective": objective, "learning_rate": 1.0}
    by_lbfgs = train(splits, model="linear", optimizer=Lbfgs(), **options)
    assert len(objective.seen) > 2 * 3, "worst cases of each of its points"
    by_descent = train(splits, model="linear", optimizer="sgd:momentum=0", **options)
    assert by_lbfgs[-1].loss < by_descent[-1].loss
