"""What a training promises its callers: which epoch is best, and which net a record has."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

import robustfw
from robustfw import (
    DataSpec,
    Splits,
    UsageError,
)

from .small_trainings import FAST, examples, splits_of, train, weights


def net(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))


def same(one, other):
    return all(torch.equal(value, other[name]) for name, value in one.items())


# Which epoch is best


def test_where_every_robust_accuracy_is_zero_the_clean_one_decides():
    """A set that covers the range leaves nothing standing; the first epoch is not the best for that."""
    found = train(uncertainty="linf:radius=1", attack="pgd:steps=20", objective="clean", epochs=4)
    assert [record.robust_accuracy for record in found] == [0] * 4
    best = [record for record in found if record.best][-1]
    highest = max(record.clean_accuracy for record in found)
    assert best.clean_accuracy == highest
    alike = [record for record in found if record.clean_accuracy == highest]
    assert best.loss == min(record.loss for record in alike)


def test_without_validation_examples_the_last_epoch_is_the_best():
    whole = examples()
    splits = Splits(whole, whole.first(0), whole.first(8), DataSpec((6,), 2))
    found = train(splits, epochs=3)
    assert all(math.isnan(record.robust_accuracy) for record in found)
    assert [record.best for record in found] == [True] * 3


# Which net a record has


def test_a_record_has_the_epochs_net_in_evaluation_mode_and_the_best_one():
    best, found = None, []
    for record in robustfw.train(dataset=splits_of(), model=net(), **(FAST | {"epochs": 4, "learning_rate": 0.5})):
        assert not any(module.training for module in record.model.modules())
        now = weights(record.model)
        best = now if record.best else best
        found.append(now)
        kept = record.best_model()
        assert not any(module.training for module in kept.modules())
        assert same(weights(kept), best)
        assert same(weights(record.model), now), "to ask for the best net leaves the live one alone"
    assert not same(found[0], found[-1])


def test_the_best_net_is_the_one_that_load_gives(tmp_path):
    *_, last = train(model=net(), epochs=4, learning_rate=0.5, out=tmp_path / "run")
    assert same(weights(robustfw.load(tmp_path / "run", model=net(1))), weights(last.best_model()))


@pytest.mark.parametrize(
    "averaging", [{}, {"ema": 0.9}, {"averaging": "ema:decay=0.9"}, {"averaging": "swa:start=0.5"}]
)
def test_a_net_that_is_given_is_trained_in_place(averaging):
    """At the end it has the weights that the last epoch was judged by."""
    model = net()
    *_, last = train(model=model, **averaging)
    assert not model.training
    x = examples().x
    torch.testing.assert_close(model(x), last.model(x), rtol=0, atol=0)
    assert same({k: v for k, v in weights(model).items() if "num_batches" not in k}, weights(last.model))


def test_ema_is_short_for_an_averaging_and_is_not_given_twice():
    one, other = (train(model=net(), **given)[-1].model for given in ({"ema": 0.9}, {"averaging": "ema:decay=0.9"}))
    assert same(weights(one), weights(other))
    with pytest.raises(UsageError, match="ema is short for an averaging: give one of the two"):
        train(ema=0.9, averaging="swa")


def test_the_mean_of_weights_has_batch_norm_statistics_of_its_own():
    """Those of training examples as they are, by the mean weights; not those of the net on its way."""
    splits, model = splits_of(), net()
    *_, last = train(splits, model=model, averaging="swa:start=0.5", epochs=4)
    fresh = copy.deepcopy(last.model)
    torch.optim.swa_utils.update_bn((x for x, _ in splits.train.iterate(16)), fresh)
    mean, expected = last.model[1].running_mean, fresh[1].running_mean
    torch.testing.assert_close(mean, expected)
    assert not torch.equal(mean, net()[1].running_mean)


# Nets with ways of their own


class InPlace(nn.Module):
    """Normalises its input in place, or not."""

    def __init__(self, *, writes):
        super().__init__()
        torch.manual_seed(0)
        self.writes, self.layers = writes, nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))

    def forward(self, x):
        return self.layers(x.sub_(0.5) if self.writes else x - 0.5)


@pytest.mark.parametrize("objective", ["robust", "mixed", "trades", "[robust,vat]"])
def test_a_net_that_changes_its_input_in_place_learns_what_its_twin_does(objective):
    splits = splits_of()
    before = splits.train.x.clone()
    found = [train(splits, model=InPlace(writes=writes), objective=objective)[-1] for writes in (True, False)]
    assert torch.equal(splits.train.x, before)
    for one, other in zip(*(record.model.parameters() for record in found), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)
    assert found[0].robust_accuracy == found[1].robust_accuracy


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # torch's compiler looks at it
@pytest.mark.parametrize(
    "objective", ["contractive:beta=1,probes=10", "input-gradient", "operator-norm", "[robust,vat]", "trades"]
)
def test_a_compiled_training_has_the_penalties_of_an_uncompiled_one(objective):
    """Hooks of a compiled net are not called: a penalty takes the module within."""
    first = {}
    for how in ("off", "on"):
        step, *_ = train(model="mlp:hidden=[8]", objective=objective, compile=how, epochs=1, steps=True)
        first[how] = float(step.loss)
    assert first["on"] == pytest.approx(first["off"], rel=1e-4)
