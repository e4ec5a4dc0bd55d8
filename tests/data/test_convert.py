"""as_split and as_splits: what is lazy, what is in memory, and one sentence for what is neither."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset, TensorDataset

from robustfw import DataError, DataSpec, Splits, TensorSplit, UsageError, as_split, as_splits
from robustfw.data.splits import LoadedSplit

X = torch.rand(20, 3, generator=torch.Generator().manual_seed(0))
Y = torch.arange(20) % 2


class Squares(Dataset):
    """A map-style data set of so many squares, which counts what is read."""

    classes = ("even", "odd")

    def __init__(self, n=1000):
        self.n = n
        self.reads = 0

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        self.reads += 1
        return torch.full((1, 2, 2), index / self.n), index % 2


def test_big_data_is_read_as_needed():
    source = Squares()
    split = as_split(source)
    assert isinstance(split, LoadedSplit)
    before = source.reads
    assert before < 100
    x, y = next(split.batches([torch.tensor([7, 3])]))
    assert source.reads == before + 2
    assert (x[:, 0, 0, 0].tolist(), y.tolist()) == ([pytest.approx(0.007), pytest.approx(0.003)], [1, 1])
    assert as_split(Squares()).fingerprint() == split.fingerprint() != as_split(Squares(999)).fingerprint()
    splits = as_splits(Squares(), test=0.1)
    assert (splits.spec.classes, splits.spec.labels) == (2, ("even", "odd"))
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (810, 90, 100)


def test_a_loader_is_measured_in_an_order_that_is_always_the_same():
    source = TensorDataset(X, Y)
    plain, shuffled = DataLoader(source, batch_size=3), DataLoader(source, batch_size=3, shuffle=True)
    assert torch.equal(next(as_split(plain).iterate(20))[0], X)
    first, second = (next(as_split(shuffled, examples=8).iterate(20))[0] for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, X[:8])


def test_a_loader_with_its_own_collation_is_read_to_its_end():
    def collate(rows):
        return {"pixel_values": torch.stack([x for x, _ in rows]) / 2, "labels": torch.stack([y for _, y in rows])}

    split = as_split(DataLoader(TensorDataset(X, Y), batch_size=6, collate_fn=collate))
    assert torch.equal(split.x, X / 2)
    assert torch.equal(split.y, Y)


@settings(max_examples=25, deadline=None)
@given(n=st.integers(3, 60), validation=st.floats(0, 0.9), test=st.floats(0, 0.9), seed=st.integers(0, 100))
def test_a_cut_is_a_partition_that_options_decide(n, validation, test, seed):
    x = torch.arange(n).float()[:, None] / n
    y = torch.arange(n) % 2
    splits = as_splits((x, y), validation=validation, test=test, seed=seed)
    parts = [splits.train.x, splits.validation.x, splits.test.x]
    assert sorted(torch.cat(parts)[:, 0].tolist()) == x[:, 0].tolist()
    assert len(splits.test) == round(test * n)
    assert splits.fingerprint() == as_splits((x, y), validation=validation, test=test, seed=seed).fingerprint()


def test_bytes_and_precision():
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 3, 2, 2)
    x, _ = next(as_split((pixels, [0, 1, 0, 1])).iterate(4))
    assert torch.equal(x, torch.tensor(pixels).float() / 255)
    assert as_split((X.double().numpy(), Y)).x.dtype == torch.float32
    assert as_split((X.double(), Y)).x.dtype == torch.float64
    assert as_split((X.numpy()[::-1], Y.numpy()[::-1])).x[0].tolist() == X[-1].tolist()


SPLITS = Splits(TensorSplit(X, Y), TensorSplit(X[:5], Y[:5]), TensorSplit(X[:2], Y[:2]), DataSpec((3,), 2))


def test_splits_by_name():
    assert [len(as_split(SPLITS, split=name)) for name in ("train", "validation", "test")] == [20, 5, 2]
    mapping = {"train": (X, Y), "val": (X[:5], Y[:5])}
    assert len(as_split(mapping, split="validation")) == 5
    splits = as_splits(mapping)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (20, 5, 0)
    assert as_splits(SPLITS) is SPLITS


@pytest.mark.parametrize(
    ("data", "options", "error", "message"),
    [
        ((X, Y[:-1]), {}, DataError, "x has 20, y has 19"),
        ({"inputs_of_mine": X, "y": Y}, {}, DataError, "the data has inputs_of_mine, y: give"),
        (3, {}, DataError, "data of type int is in no form that is known"),
        (X, {}, DataError, "data of type Tensor is in no form that is known"),
        ([], {}, DataError, "not one example"),
        ([[1], [2], [3]], {}, DataError, r"a row of the data is a list: rows are \(x, y\)"),
        ([{"a": 1, "b": 2}] * 3, {}, DataError, "rows have a, b, and none of these is the example"),
        (([[1.0], [1.0, 2.0]], [0, 1]), {}, DataError, "rows of different lengths"),
        ((X.numpy().astype(str), Y), {}, DataError, "x is of type"),
        ((X, Y), {"validation": 2}, UsageError, "validation and test are shares from 0 to 1, or data, not 2"),
        ((X[:, :, None, None] * 255, Y), {}, DataError, r"no range is told: give bounds=, or pixels from 0 to 255"),
        ((X.masked_fill(X > 0.9, torch.nan), Y), {}, DataError, "x has values that are not finite numbers"),
        ((X, Y), {"labels": ["a"]}, DataError, "1"),
        ((torch.rand(20, 4, 4, 3), Y), {}, DataError, "channels first"),
    ],
)
def test_what_is_no_data_is_one_sentence(data, options, error, message):
    with pytest.raises(error, match=message):
        as_splits(data, **options)


def test_a_stream_is_for_training_alone():
    stream = as_splits(DataLoader(TensorDataset(X, Y), batch_size=4), stream=True)
    with pytest.raises(DataError, match="the train examples come as a stream"):
        as_split(stream, split="train")
