"""Transfer sets: only what was right and is fooled, and nothing that is not what it says."""

from __future__ import annotations

import attrs
import pytest
import torch
from torch import nn

import robustfw
from robustfw import DataError, PluginError, RunError, TensorSplit
from robustfw.evaluation import Examples, craft
from robustfw.evaluation._transfer import Transfer, correct, round_to_8_bits, verify
from robustfw.inner.threat import Threat
from robustfw.storage.collections import Collection, hash_weights

BOUNDS = (0.0, 1.0)
THREATS = [Threat(robustfw.make("uncertainty", spec), BOUNDS) for spec in ("linf:radius=0.1", "l2:radius=0.3")]


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 3))


@pytest.fixture
def split():
    generator = torch.Generator().manual_seed(0)
    return TensorSplit(torch.rand(80, 3, 2, 2, generator=generator), torch.arange(80) % 3)


def crafted(net, split, attack="pgd:steps=5", **more):
    made = attack if isinstance(attack, robustfw.Attack) else robustfw.make("attack", attack)
    return Examples.concatenate(list(craft(net, split, threats=THREATS, attack=made, batch_size=30, **more)))


def test_only_what_was_right_and_is_fooled(net, split):
    examples = crafted(net, split)
    right = net(split.x).argmax(1) == split.y
    assert right[examples.index].all()
    assert torch.equal(examples.original, split.x[examples.index])
    assert torch.equal(examples.y, split.y[examples.index])
    said = net(examples.adversarial)
    assert (said.argmax(1) != examples.y).all()
    assert torch.equal(said.argmax(1), examples.label)
    torch.testing.assert_close(said.softmax(1).amax(1), examples.confidence[:, 1])
    own = net(examples.original).softmax(1).gather(1, examples.y[:, None])[:, 0]
    torch.testing.assert_close(own, examples.confidence[:, 0])
    assert set(examples.set.tolist()) == {0, 1}
    pairs = list(zip(examples.set.tolist(), examples.index.tolist(), strict=True))
    assert len(set(pairs)) == len(pairs)


def test_every_example_that_can_be_fooled_is_there(net, split):
    """Over ℓ∞ a net without hidden layers is fooled by one step towards some other class; five steps miss few."""
    examples = crafted(net, split)
    found = examples.index[examples.set == 0]
    logits, w = net(split.x), net[1].weight
    missed = 0
    for i in (logits.argmax(1) == split.y).nonzero()[:, 0].tolist():
        y, x = int(split.y[i]), split.x[i].flatten()
        reach = torch.stack([(w[k] - w[y]) for k in range(3)])
        gain = torch.where(reach > 0, (1 - x).clamp(max=0.1), x.clamp(max=0.1)) * reach.abs()
        fooled = bool(((logits[i] - logits[i, y] + gain.sum(1))[torch.arange(3) != y] > 0).any())
        assert fooled or i not in found
        missed += fooled and i not in found
    assert missed <= 2


def test_it_is_verified(net, split):
    verify(crafted(net, split), split, THREATS)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda e: {"adversarial": (e.adversarial + 0.01).clamp(0, 1)}, "were altered|was altered"),
        (lambda e: {"delta": 2 * e.delta, "adversarial": (e.original + 2 * e.delta).clamp(0, 1)}, "not in their set"),
        (lambda e: {"adversarial": e.original + 3, "delta": torch.full_like(e.delta, 3.0)}, "not in their set"),
        (lambda e: {"original": e.original.flip(0)}, "belongs to other data"),
        (lambda e: {"y": (e.y + 1) % 3}, "belongs to other data"),
        (lambda e: {"index": e.index + 1000}, "beyond the 80 of the split"),
    ],
    ids=["x moved", "outside of the set", "outside of the range", "other examples", "other labels", "other indices"],
)
def test_what_is_not_what_it_says_is_refused(net, split, change, words):
    examples = crafted(net, split)
    with pytest.raises(DataError, match=words):
        verify(attrs.evolve(examples, **change(examples)), split, THREATS)


def test_an_attack_that_leaves_its_set_is_refused(net, split):
    @attrs.frozen
    class TooFar(robustfw.Attack):
        def maximize(self, problem, generator):
            return torch.full_like(problem.x, 0.5)

    with pytest.raises(PluginError, match="TooFar left the uncertainty set"):
        crafted(net, split, TooFar())


def test_the_net_comes_back_as_it_was(net, split):
    net.train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    crafted(net, split)
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_transfer_by_hand(net, split):
    examples = crafted(net, split)
    own = Transfer.measure(net, examples, ["a", "b"], BOUNDS)
    assert (own.correct, own.accuracy, own.n) == (0, 0, len(examples))
    assert [(part.uncertainty, part.n) for part in own.sets] == [
        ("a", int((examples.set == 0).sum())),
        ("b", int((examples.set == 1).sum())),
    ]
    other = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    found = Transfer.measure(other, examples, ["a", "b"], BOUNDS)
    assert found.correct == int((other(examples.adversarial).argmax(1) == examples.y).sum())
    assert found.correct == sum(part.correct for part in found.sets)


def test_nothing_to_transfer(net, split):
    empty = crafted(net, split)[torch.zeros(0).long()]
    verify(empty, split, THREATS)
    with pytest.raises(DataError, match="the collection is empty"):
        Transfer.measure(net, empty, ["a", "b"], BOUNDS)


def test_eight_bits():
    x = torch.tensor([0.0, 0.001, 0.003, 0.5, 1.0])
    torch.testing.assert_close(round_to_8_bits(x, BOUNDS) * 255, torch.tensor([0.0, 0, 1, 128, 255]))
    torch.testing.assert_close(
        round_to_8_bits(torch.tensor([-1.0, 0.001, 1.0]), (-1, 1)), torch.tensor([-1, 1 / 255, 1.0])
    )
    assert torch.equal(round_to_8_bits(torch.tensor([-0.2, 1.2]), None), torch.tensor([0.0, 1.0]))


def test_correct_of_nothing_is_nothing(net):
    assert len(correct(net, torch.zeros(0, 3, 2, 2), torch.zeros(0).long())) == 0


# Files


@pytest.fixture
def stored(net, split, tmp_path):
    facts = {"data": {"split": "test"}, "bounds": [0, 1], "sets": [{"uncertainty": "linf"}, {"uncertainty": "l2"}]}
    return Collection.create(tmp_path / "c", crafted(net, split), facts)


def test_what_is_written_is_read(stored):
    again = Collection.open(stored.path)
    assert (again.split, again.bounds, again.manifest["n"]) == ("test", (0.0, 1.0), len(stored.examples))
    for name, tensor in stored.examples.tensors().items():
        assert torch.equal(getattr(again.examples, name), tensor)


def test_a_collection_is_not_overwritten(stored):
    with pytest.raises(RunError, match="holds a collection already"):
        Collection.create(stored.path, stored.examples, {})


def test_a_byte_that_was_changed(stored):
    path = stored.path / "examples.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"another hash.*was altered"):
        Collection.open(stored.path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"sha256": "0"}'])
def test_a_manifest_that_is_garbage(stored, text):
    (stored.path / "manifest.json").write_text(text)
    with pytest.raises((RunError, DataError), match="craft it again"):
        Collection.open(stored.path)


def test_what_is_no_collection(tmp_path):
    with pytest.raises(RunError, match="there is no collection in"):
        Collection.open(tmp_path)


def test_the_hash_of_weights_is_of_all_of_them():
    weights = {"a": torch.zeros(2), "b": torch.ones(3)}
    changed = [
        {"a": torch.zeros(2), "b": torch.tensor([1.0, 1.0, 2.0])},
        {"a": torch.zeros(2), "c": torch.ones(3)},
        {"a": torch.zeros(1, 2), "b": torch.ones(3)},
        {"a": torch.zeros(2).double(), "b": torch.ones(3)},
    ]
    assert hash_weights(dict(reversed(weights.items()))) == hash_weights(weights)
    assert len({hash_weights(each) for each in (weights, *changed)}) == 5
