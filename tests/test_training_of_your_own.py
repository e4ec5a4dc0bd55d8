"""Training from Python: DataLoaders and tensors as they are, losses and class weights of one's own."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import robustfw
from robustfw import DataError, UsageError
from robustfw.data.splits import StreamedSplit
from robustfw.loss import CrossEntropy

X = torch.rand(60, 4, generator=torch.Generator().manual_seed(0))
Y = (X.sum(1) > 2).long()
HOW = {"uncertainty": "linf:radius=0.05", "attack": "single-step", "learning_rate": 0.05}


def net():
    torch.manual_seed(0)
    return nn.Linear(4, 2)


class Seen(nn.Module):
    """A net that notes the batches it is trained on."""

    def __init__(self):
        super().__init__()
        self.layer = net()
        self.batches = []

    def forward(self, x):
        if self.training and torch.is_grad_enabled():
            self.batches.append(x.detach().clone())
        return self.layer(x)


def test_the_batches_of_a_loader_are_used_as_they_are():
    loader = DataLoader(TensorDataset(X, Y), batch_size=20)
    model = Seen()
    epochs = list(robustfw.train(dataset=loader, model=model, objective="clean", epochs=2, **HOW))
    assert len(epochs) == 2
    assert [len(batch) for batch in model.batches] == [20] * 6
    assert torch.equal(torch.cat(model.batches[:3]), X)
    assert torch.equal(torch.cat(model.batches[3:]), X)


def test_a_shuffled_loader_is_its_seed_s():
    def weights(seed):
        torch.manual_seed(99)
        loader = DataLoader(TensorDataset(X, Y), batch_size=16, shuffle=True)
        model = net()
        before = torch.get_rng_state()
        list(robustfw.train(dataset=loader, model=model, epochs=1, seed=seed, **HOW))
        return model.weight.detach().clone(), before

    assert torch.equal(weights(0)[0], weights(0)[0])
    assert not torch.equal(weights(0)[0], weights(1)[0])


@pytest.mark.parametrize("generator", [None, torch.Generator()])
@pytest.mark.parametrize("shuffle", [False, True])
def test_a_loader_keeps_the_law_of_a_stream(shuffle, generator):
    loader = DataLoader(TensorDataset(X, Y), batch_size=8, shuffle=shuffle, generator=generator, drop_last=True)
    stream = robustfw.as_splits(loader, stream=True).train
    assert isinstance(stream, StreamedSplit)
    assert len(stream) == 56
    epoch = list(stream.epoch(1, 0, 8, 0, (0, 1)))
    state = torch.get_rng_state()
    again = list(stream.epoch(1, 0, 8, 0, (0, 1)))
    assert torch.equal(torch.get_rng_state(), state)
    later = list(stream.epoch(1, 0, 8, 2, (0, 1)))
    shares = [list(stream.epoch(1, 0, 8, 0, (rank, 2))) for rank in range(2)]
    for number, (x, y) in enumerate(epoch):
        assert torch.equal(x, again[number][0])
        assert torch.equal(y, again[number][1])
        if number >= 2:
            assert torch.equal(x, later[number - 2][0])
        assert torch.equal(x[0::2], shares[0][number][0])
        assert torch.equal(x[1::2], shares[1][number][0])
    other = list(stream.epoch(2, 0, 8, 0, (0, 1)))
    assert torch.equal(other[0][0], epoch[0][0]) is not shuffle


class Items(IterableDataset):
    def __iter__(self):
        return iter(zip(X, Y, strict=True))


def test_a_stream_says_how_long_it_is():
    loader = DataLoader(Items(), batch_size=10)
    with pytest.raises(DataError, match="does not know its length"):
        robustfw.train(dataset=loader, model=net(), epochs=1, **HOW)
    splits = robustfw.as_splits(loader, stream=True, examples=60, classes=2, validation=(X, Y))
    (epoch,) = robustfw.train(dataset=splits, model=net(), epochs=1, batch_size=10, **HOW)
    assert epoch.attacked == 60


def test_another_batch_size_than_the_loader_s_is_refused():
    loader = DataLoader(TensorDataset(X, Y), batch_size=20)
    with pytest.raises(UsageError, match="the loader's batches have 20 examples: leave out batch_size=10"):
        robustfw.train(dataset=loader, model=net(), epochs=1, batch_size=10, **HOW)


@pytest.mark.parametrize("form", [(X, Y), (X.numpy(), Y.numpy()), TensorDataset(X, Y), {"x": X, "y": Y}])
def test_examples_are_cut_into_training_and_validation(form):
    (epoch,) = robustfw.train(dataset=form, model=net(), epochs=1, batch_size=10, **HOW)
    assert epoch.attacked == 6


def test_a_loss_of_one_s_own_is_what_training_lowers_and_the_attack_raises():
    calls = []

    def half(outputs, y):
        calls.append(outputs.requires_grad)
        return nn.functional.cross_entropy(outputs, y, reduction="none") / 2

    one, other = net(), net()
    (halved,) = robustfw.train(dataset=(X, Y), model=one, loss=half, epochs=1, batch_size=54, **HOW)
    (whole,) = robustfw.train(dataset=(X, Y), model=other, epochs=1, batch_size=54, **HOW)
    assert calls
    assert halved.loss == pytest.approx(whole.loss / 2)
    step, full_step = one.weight - net().weight, other.weight - net().weight
    assert not torch.allclose(step, full_step)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_class_weights_multiply_each_example_s_value(smoothing):
    outputs = torch.randn(6, 3)
    y = torch.tensor([0, 1, 2, 2, 1, -1])
    weights = (0.5, 2.0, 0.0)
    plain = CrossEntropy(smoothing=smoothing)(outputs, y)
    weighted = robustfw.make("loss", f"cross-entropy:smoothing={smoothing},weights=[0.5,2,0]")(outputs, y)
    by_hand = torch.stack([plain[i] * (weights[label] if label >= 0 else 0) for i, label in enumerate(y.tolist())])
    assert torch.allclose(weighted, by_hand)
    rows = nn.functional.one_hot(y[:5], 3).float()
    assert torch.allclose(CrossEntropy(smoothing, weights)(outputs[:5], rows), weighted[:5])
    pixels = CrossEntropy(weights=weights)(
        outputs[:, :, None, None].expand(6, 3, 2, 2), y[:, None, None].expand(6, 2, 2)
    )
    if smoothing == 0:
        assert torch.allclose(pixels, weighted)


def test_weights_fit_the_classes():
    with pytest.raises(DataError, match="2 weights do not fit 3 classes"):
        CrossEntropy(weights=(1, 2))(torch.randn(2, 3), torch.zeros(2).long())
    with pytest.raises(UsageError, match="weights must be finite, and 0 or more"):
        robustfw.make("loss", "cross-entropy:weights=[-1,1]")
