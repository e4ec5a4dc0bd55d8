"""Data sets that are wrong in known ways: each dies by the law named."""

from __future__ import annotations

import itertools

import pytest
import torch

from robustfw import (
    Dataset,
    DataSpec,
    Split,
    Splits,
    StreamedSplit,
    TensorSplit,
)

from .laws import broken_laws


class Rows(Split):
    """Examples by index, with methods replaced."""

    def __init__(self, whole, **wrong):
        self.whole, self.wrong = whole, wrong
        for name, value in wrong.items():
            setattr(self, name, value)

    def __len__(self):
        return len(self.whole)

    def batches(self, indices, device="cpu"):
        return self.whole.batches(indices, device)

    def fingerprint(self):
        return self.whole.fingerprint()

    def subset(self, indices):
        return Rows(self.whole.subset(indices))

    def metadata(self, indices):
        return self.whole.metadata(indices)


def examples(n=20):
    x = torch.rand(n, 3, generator=torch.Generator().manual_seed(0))
    return TensorSplit(x, torch.arange(n) % 2, {"group": torch.arange(n) % 5})


class Given(Dataset):
    """Data whose training split is given."""

    def __init__(self, train, spec=None):
        self.train, self.spec = train, spec or DataSpec((3,), 2)

    def load(self, root):
        return Splits(self.train, examples(4), examples(6), self.spec)


def first_batch_only(indices, device="cpu"):
    return itertools.islice(examples().batches(indices, device), 1)


def noisy(indices, device="cpu"):
    for x, y in examples().batches(indices, device):
        yield (x + 0.01 * torch.rand(x.shape)).clamp(0, 1), y


def sorted_rows(indices, device="cpu"):
    return examples().batches((rows.sort().values for rows in indices), device)


SPLITS = {
    "one batch, whatever is asked for": ({"batches": first_batch_only}, {"batches by index"}),
    "other examples each time": ({"batches": noisy}, {"batches by index"}),
    "ascending order": ({"batches": sorted_rows}, {"batches by index"}),
    "a subset is sorted": ({"subset": lambda i: Rows(examples().subset(i.sort().values))}, {"parts of a split"}),
    "a subset is all of it": ({"subset": lambda i: examples()}, {"parts of a split"}),
    "metadata of all": ({"metadata": lambda i: {"group": torch.arange(20) % 5}}, {"parts of a split"}),
    "metadata of a subset is lost": ({"subset": lambda i: Rows(examples().subset(i), metadata=lambda j: {})}, set()),
}


@pytest.mark.parametrize(("wrong", "killers"), SPLITS.values(), ids=SPLITS.keys())
def test_split_mutants_die(wrong, killers):
    assert killers | ({"parts of a split"} if not killers else set()) <= broken_laws(Given(Rows(examples(), **wrong)))


def test_the_frame_of_splits_breaks_no_law():
    assert not broken_laws(Given(Rows(examples()))) - {"splits apart"}


def test_targets_that_the_task_does_not_take_break_the_spec():
    numbers = Rows(TensorSplit(torch.rand(20, 3), torch.rand(20)))
    assert broken_laws(Given(numbers)) == {"spec"}
    assert "spec" in broken_laws(Given(Rows(TensorSplit(2 * torch.rand(20, 3), torch.arange(20) % 2))))


class Stream(StreamedSplit):
    """A stream in an order of the seed and the epoch, with parts replaced."""

    def __init__(self, *, length=21, skips=True, shares=True, seeded=True, groups=None):
        self.length, self.skips, self.shares, self.seeded = length, skips, shares, seeded
        self.groups = groups

    def __len__(self):
        return self.length

    def epoch(self, epoch, seed, batch_size, skip, share):
        whole, generator = examples(21), torch.Generator().manual_seed(1000 * seed + epoch)
        order = torch.randperm(21, generator=generator if self.seeded else None)
        rank, processes = share if self.shares else (0, 1)
        for rows in order.split(batch_size)[skip if self.skips else 0 :]:
            x, y = next(whole.batches([rows[rank::processes]]))
            yield (x, y) if self.groups is None else (x, y, {"group": self.groups(rows, rows[rank::processes])})

    def fingerprint(self):
        return "21"


STREAMS = {
    "fewer than it says": {"length": 40},
    "skips nothing": {"skips": False},
    "everything for every process": {"shares": False},
    "another order each time": {"seeded": False},
    "metadata of the whole batch": {"groups": lambda whole, own: whole % 3},
    "metadata of other examples": {"groups": lambda whole, own: torch.arange(len(own))},
}


@pytest.mark.parametrize("wrong", STREAMS.values(), ids=STREAMS.keys())
def test_stream_mutants_die(wrong):
    assert "stream" in broken_laws(Given(Stream(**wrong)))


@pytest.mark.parametrize("groups", [None, lambda whole, own: own % 3])
def test_a_right_stream_breaks_no_law(groups):
    assert not broken_laws(Given(Stream(groups=groups)))
