"""A sampler that goes by what the split says of each example."""

from __future__ import annotations

import pytest
import torch

import robustfw
from robustfw import DataSpec, Splits, TensorSplit, UsageError
from robustfw.testing import check


def splits():
    """Two classes by the first number; the larger it is, the easier."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(60, 3, generator=generator)
    easy = TensorSplit(x, (x[:, 0] > 0.5).long(), {"difficulty": 1 - x[:, 0]})
    return Splits(easy, easy, easy, DataSpec((3,), 2))


def test_laws(plugin):
    failures = dict.fromkeys(("indices", "generator decides"), "the kit's split has no difficulty")
    check(plugin.Curriculum(), expected_failures=failures)


def test_first_the_easy_examples_and_then_all(plugin):
    train = splits().train
    orders = [plugin.Curriculum(epochs=3).order(train, torch.Generator().manual_seed(0), epoch) for epoch in range(4)]
    assert [len(order) for order in orders] == [60] * 4
    assert [len(order.unique()) for order in orders] == [20, 40, 60, 60]
    assert float(train.x[orders[0], 0].min()) == float(train.x[:, 0].sort(descending=True).values[19])


def test_the_training_goes_through_that_order(plugin):
    seen = []

    class Watching(robustfw.Objective):
        attacks = False

        def __call__(self, model, x, y, batch):
            seen.append((batch.epoch, batch.meta["index"], batch.meta["difficulty"]))
            return batch.loss(model(x))

    list(robustfw.train(
        dataset=splits(), model="mlp:hidden=[4]", uncertainty="linf:radius=0.01", objective=Watching(), batch_size=20,
        sampler="curriculum:epochs=2", epochs=2, device="cpu",
    ))  # fmt: skip
    first, second = (torch.cat([index for epoch, index, _ in seen if epoch == each]) for each in (1, 2))
    assert len(first.unique()) == 30
    assert len(second.unique()) == 60
    for _, index, difficulty in seen:
        assert torch.equal(difficulty, splits().train.meta["difficulty"][index])


def test_without_a_difficulty_it_says_so(plugin):
    with pytest.raises(UsageError, match="have no 'difficulty'"):
        list(robustfw.train(sampler="curriculum", epochs=1, device="cpu"))


def test_it_resumes(resumed):
    resumed(
        stop=(2, 1), dataset=splits(), model="mlp:hidden=[4]", uncertainty="linf:radius=0.01", attack="single-step",
        batch_size=20, sampler="curriculum:epochs=2",
    )  # fmt: skip
