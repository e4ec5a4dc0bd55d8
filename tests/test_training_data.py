"""What a training promises of its data: splits, streams and samplers."""

from __future__ import annotations

import pytest
import torch

import robustfw
from robustfw import (
    DataError,
    Sampler,
    Split,
    StreamedSplit,
    TensorSplit,
    UsageError,
)

from .small_trainings import FAST, Noting, Watching, examples, splits_of, train

# Splits


class Short(Split):
    """Says that it has all examples, and gives fewer batches, or shorter ones."""

    def __init__(self, whole, *, batches=None, rows=None):
        self.whole, self.count, self.rows = whole, batches, rows

    def __len__(self):
        return len(self.whole)

    def batches(self, indices, device="cpu"):
        for number, (x, y) in enumerate(self.whole.batches(indices, device)):
            if number == self.count:
                return
            yield x[: self.rows], y

    def fingerprint(self):
        return "short"

    def subset(self, indices):
        return self.whole.subset(indices)


@pytest.mark.parametrize(
    ("short", "words"),
    [
        ({"batches": 3}, "the training split gave 3 of the 5 batches that 80 examples make"),
        ({"rows": 7}, "the training split gave 7 examples and 16 targets for 16 indices"),
    ],
)
def test_a_split_that_gives_less_than_it_says_is_named(short, words):
    with pytest.raises(DataError, match=words):
        train(splits_of(Short(examples().subset(torch.arange(80)), **short)))


class Stream(StreamedSplit):
    """Examples in an order of the seed and the epoch."""

    def __init__(self, n=80, says=None, places=False):
        self.whole, self.says, self.places = examples().subset(torch.arange(n)), says or n, places

    def __len__(self):
        return self.says

    def epoch(self, epoch, seed, batch_size, skip, share):
        order = torch.randperm(len(self.whole), generator=torch.Generator().manual_seed(1000 * seed + epoch))
        rank, processes = share
        rows = [rows[rank::processes] for rows in order.split(batch_size)[skip:]]
        for own, (x, y) in zip(rows, self.whole.batches(rows), strict=True):
            yield (x, y, {"place": own}) if self.places else (x, y)

    def fingerprint(self):
        return "stream"


def interrupt(path, monkeypatch, after=3, **options):
    """The bytes of the last checkpoint of a training in one go, and in two."""
    monkeypatch.setattr("robustfw.storage.runs.SAVE_EVERY", -1.0)
    list(robustfw.train(out=path / "whole", **options))
    started = robustfw.train(out=path / "parts", steps=True, **options)
    for _ in range(after):
        next(started)
    started.close()
    list(robustfw.train(out=path / "parts", resume=True, **options))
    return [(path / name / "checkpoints" / "last.safetensors").read_bytes() for name in ("whole", "parts")]


@pytest.mark.parametrize("after", [1, 5, 7])
def test_a_stream_trains_and_resumes_bit_for_bit(tmp_path, monkeypatch, after):
    options = {"dataset": splits_of(Stream()), "model": "mlp:hidden=[8]", **FAST}
    one, two = interrupt(tmp_path, monkeypatch, after, **options)
    assert one == two


def test_a_stream_that_ends_too_soon_is_named():
    with pytest.raises(DataError, match="gave 5 of the 8 batches that 128 examples make"):
        train(splits_of(Stream(says=128)))


def test_the_metadata_of_a_stream_reaches_objective_and_attack():
    stream, objective, attack = Stream(places=True), Watching(), Noting()
    options = {"objective": objective, "attack": attack, "validation_attack": "single-step", "averaging": "swa:start=0"}
    train(splits_of(stream), **options, epochs=1)
    assert len(objective.seen) == 5
    for _, _, meta, x, _ in objective.seen:
        assert torch.equal(x, stream.whole.x[meta["place"]])
    attacked = [meta["place"].tolist() for meta in attack.seen if meta]
    assert attacked == [meta["place"].tolist() for _, _, meta, *_ in objective.seen]


# Samplers


def order(spec, split, seed=0):
    return robustfw.make("sampler", spec).order(split, torch.Generator().manual_seed(seed), 0)


def test_samplers_by_hand():
    n = 1000
    split = TensorSplit(torch.zeros(n, 1), (torch.arange(n) < 100).long(), {"group": torch.arange(n) % 4})
    assert order("shuffled", split).sort().values.tolist() == list(range(n))
    assert order("shuffled", split).tolist() != list(range(n))
    assert order("sequential", split).tolist() == list(range(n))
    shares = split.y[order("balanced", split)].float().mean()
    assert float(shares) == pytest.approx(0.5, abs=0.08), "a tenth of the examples, half of the epoch"
    groups = split.metadata(order("balanced:by=group", split))["group"].bincount()
    assert groups.tolist() == pytest.approx([n / 4] * 4, rel=0.2)
    with pytest.raises(UsageError, match=r"the examples have no 'colour'; balanced:by=… names one of \['group'\]"):
        order("balanced:by=colour", split)


def test_a_sampler_decides_which_examples_are_seen():
    class First(Sampler):
        """The first example, over and over."""

        def order(self, split, generator, epoch):
            return torch.zeros(len(split), dtype=torch.int64)

    objective = Watching()
    train(objective=objective, sampler=First(), epochs=1)
    assert all(bool((meta["index"] == 0).all()) for _, _, meta, _, _ in objective.seen)
    sequential = Watching()
    train(objective=sequential, sampler="sequential", epochs=1)
    assert torch.cat([meta["index"] for _, _, meta, _, _ in sequential.seen]).tolist() == list(range(80))
