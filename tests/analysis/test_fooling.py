"""Fooling images: what both searches find, what they may not do, and what they say when they fail."""

from __future__ import annotations

import itertools

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from robustfw import DataSpec, RunError, TensorSplit
from robustfw.analysis import _fooling as fooling
from robustfw.analysis._fooling import RATE, STRENGTH, FoolingImages, SearchSpace, ascent, evolution, keep

SPACE = SearchSpace(3, (1, 4, 4), 0.0, 1.0)
LIKE = torch.zeros(1, 1, 4, 4)
SEARCHES = {"ascent": ascent, "evolution": evolution}


@pytest.fixture
def model():
    """A linear net that has much to say about each class."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    with torch.no_grad():
        net[1].weight.mul_(20)
    return net


def spent(name, budget):
    return {"steps" if name == "ascent" else "generations": budget}


@pytest.mark.parametrize("name", SEARCHES)
def test_a_net_that_can_be_fooled_is(name, model):
    states = list(SEARCHES[name](model, SPACE, LIKE, **spent(name, 500)))
    last = states[-1]
    assert last.success.all()
    assert len(states) < 500, "it stops once all are there"
    with torch.no_grad():
        own = model(last.images).softmax(1).diagonal()
    torch.testing.assert_close(own, last.confidence)
    assert float(last.images.min()) >= 0
    assert float(last.images.max()) <= 1
    assert int(last.rounds.max()) in (len(states) - 1, len(states))
    assert (last.rounds >= 0).all()


@pytest.mark.parametrize("name", SEARCHES)
def test_the_seed_decides(name, model):
    def found(seed):
        *_, last = SEARCHES[name](model, SPACE, LIKE, **spent(name, 20), seed=seed)
        return last.images

    assert torch.equal(found(1), found(1))
    assert not torch.equal(found(1), found(2))


@pytest.mark.parametrize("name", SEARCHES)
def test_a_net_that_cannot_be_fooled_says_so_after_the_whole_budget(name):
    class Undecided(nn.Module):
        def forward(self, x):
            return x.flatten(1)[:, :3] * 0

    states = list(SEARCHES[name](Undecided(), SPACE, LIKE, **spent(name, 7)))
    assert len(states) == 7
    assert not states[-1].success.any()
    assert states[-1].confidence.tolist() == pytest.approx([1 / 3] * 3)
    assert states[-1].rounds.tolist() == [7] * 3


@pytest.mark.parametrize("name", SEARCHES)
def test_outputs_that_are_no_numbers_fool_nobody(name):
    class Broken(nn.Module):
        def forward(self, x):
            return x.flatten(1)[:, :3] * torch.nan

    *_, last = SEARCHES[name](Broken(), SPACE, LIKE, **spent(name, 3))
    assert not last.success.any()
    assert last.confidence.tolist() == [0] * 3
    assert last.images.isfinite().all()


def test_the_steps_of_the_ascent_have_one_length(model):
    with torch.no_grad():
        model[1].weight.div_(1000)
    first, second = ascent(model, SearchSpace(3, (1, 4, 4), 0.0, 1.0), LIKE, steps=2)
    inside = ((second.images > 0) & (second.images < 1)).flatten(1).all(1)
    moved = (second.images - first.images).flatten(1).norm(dim=1)
    assert moved[inside].tolist() == pytest.approx([fooling.STEP * 4] * int(inside.sum()), rel=1e-4)
    assert inside.any()
    assert float(moved.max()) <= fooling.STEP * 4 * 1.0001


def test_images_that_are_there_are_left_alone(model):
    states = list(ascent(model, SPACE, LIKE, steps=300))
    for before, after in itertools.pairwise(states):
        done = before.success
        assert torch.equal(after.images[done], before.images[done])


def test_no_champion_is_replaced_by_a_worse_one(model):
    states = list(evolution(model, SPACE, LIKE, generations=60))
    for before, after in itertools.pairwise(states):
        assert (after.confidence >= before.confidence).all()


class Stepped(nn.Module):
    """A net without gradients."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net((8 * x).round() / 8)


def test_evolution_needs_no_gradient_and_the_ascent_does(model):
    *_, grown = evolution(Stepped(model), SPACE, LIKE, generations=500)
    assert grown.success.all()
    first, *_, last = ascent(Stepped(model), SPACE, LIKE, steps=10)
    assert torch.equal(first.images, last.images)
    assert not last.success.all()


def test_mutations_are_those_of_deb_and_goyal():
    """A share of the values, and steps with P(|δ| ≤ t) = 1 − (1 − t)^(η + 1) before they are clamped."""
    x = torch.zeros(1, 40_000)
    born = fooling._mutate(x, SearchSpace(1, (40_000,), -1.0, 1.0), RATE, torch.Generator().manual_seed(0))
    steps = born[born != 0] / 2
    assert len(steps) / 40_000 == pytest.approx(RATE, abs=0.01)
    assert float(steps.mean()) == pytest.approx(0, abs=0.01)
    for t in (0.01, 0.05, 0.2):
        known = 1 - (1 - t) ** (STRENGTH + 1)
        assert float((steps.abs() <= t).double().mean()) == pytest.approx(known, abs=0.03)
    edge = fooling._mutate(
        torch.ones(1, 1000), SearchSpace(1, (1000,), 0.0, 1.0), 1.0, torch.Generator().manual_seed(0)
    )
    assert float(edge.max()) == 1


def test_the_space_of_data():
    split = TensorSplit(torch.tensor([[-3.0, 1.0], [0.5, 7.0]]), torch.tensor([0, 1]))
    assert SearchSpace.from_data(DataSpec((2,), 2), split) == SearchSpace(2, (2,), 0, 1)
    assert SearchSpace.from_data(DataSpec((2,), 2, bounds=None), split) == SearchSpace(2, (2,), -3, 7)
    noise = SearchSpace(2, (500,), -3.0, 7.0).noise(
        torch.zeros(1, dtype=torch.float64), torch.Generator().manual_seed(0)
    )
    assert noise.dtype == torch.float64
    assert -3 <= float(noise.min()) < -2.9 < 6.9 < float(noise.max()) <= 7


def test_the_net_is_left_as_it_was(net):
    for search in SEARCHES.values():
        list(search(net.train(), SPACE, LIKE))[-1:]
        assert net.training
        assert all(p.requires_grad and p.grad is None for p in net.parameters())


def test_images_are_kept(tmp_path):
    found = FoolingImages(torch.rand(3, 1, 4, 4), torch.tensor([0.2, 0.9901, 1.0]), torch.tensor([5, 2, 1]))
    assert found.success.tolist() == [False, True, True]
    keep(tmp_path / "results" / "a.safetensors", gradient=found)
    tensors = load_file(tmp_path / "results" / "a.safetensors")
    assert torch.equal(tensors["gradient"], found.images)
    assert torch.equal(tensors["gradient_confidence"], found.confidence)
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write"):
        keep(tmp_path / "file" / "a.safetensors", gradient=found)
