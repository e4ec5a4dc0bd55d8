"""The laws of a data set, on the files that are there (ROBUSTFW_DATA) or that it fetches."""

from __future__ import annotations

import torch

from robustfw.dataset import Dataset
from robustfw.session import data_root
from robustfw.splits import Splits, TensorSplit
from robustfw.testing.laws import Law, require


def _loaded(dataset: Dataset) -> Splits:
    return dataset.load(data_root(None))


def check_spec(dataset: Dataset, seed: int) -> None:
    """Shapes, range and labels of all splits are as the spec declares them."""
    splits = _loaded(dataset)
    splits.check()
    for name in ("train", "validation", "test"):
        split = getattr(splits, name)
        if not len(split):
            continue
        x, y = next(split.in_order(8))
        require(x.is_floating_point() and tuple(x.shape[1:]) == splits.spec.shape, f"{name}: x is {tuple(x.shape)}")
        low, high = splits.spec.bounds or (-torch.inf, torch.inf)
        require(bool(((x >= low) & (x <= high)).all()), f"{name}: values outside [{low:g}, {high:g}]")
        require(y.dtype == torch.int64, f"{name}: labels are {y.dtype}, not int64")


def check_repeatable(dataset: Dataset, seed: int) -> None:
    """Loading twice gives the same bytes in the same order."""
    require(_loaded(dataset).fingerprint() == _loaded(dataset).fingerprint(), "loading twice gives other examples")


def check_batches(dataset: Dataset, seed: int) -> None:
    """Batches by index are the examples at these indices, in any order."""
    split = _loaded(dataset).train
    indices = torch.tensor([3, 0, 5])
    x, y = next(split.batches([indices]))
    for i, row in enumerate(indices.tolist()):
        alone_x, alone_y = next(split.batches([torch.tensor([row])]))
        require(bool(torch.equal(x[i], alone_x[0])) and bool(y[i] == alone_y[0]), f"example {row} is another alone")


def check_apart(dataset: Dataset, seed: int) -> None:
    """Validation is cut from train, and neither shares its examples with test, but for chance duplicates."""
    splits = _loaded(dataset)
    parts = [splits.train, splits.validation, splits.test]
    if not all(isinstance(part, TensorSplit) for part in parts):
        return
    rows = [{bytes(x.numpy().tobytes()) for x in part.x[:2000]} for part in parts if isinstance(part, TensorSplit)]
    for other, name in ((rows[1], "validation"), (rows[2], "test")):
        shared = len(rows[0] & other)
        require(shared <= 0.02 * max(len(other), 1), f"{shared} {name} examples are training examples too")


def check_augmentation(dataset: Dataset, seed: int) -> None:
    """Augmentation keeps shape, type and range, and its generator and the epoch alone decide it."""
    splits = _loaded(dataset)
    if splits.augment is None:
        return
    x, _ = next(splits.train.in_order(8))
    for epoch in range(2):
        first, second = (splits.augment(x, torch.Generator().manual_seed(seed), epoch) for _ in range(2))
        require(first.shape == x.shape and first.dtype == x.dtype, f"augmented x is {tuple(first.shape)} {first.dtype}")
        low, high = splits.spec.bounds or (-torch.inf, torch.inf)
        require(bool(((first >= low) & (first <= high)).all()), "augmented x leaves the data range")
        require(bool(torch.equal(first, second)), "the same generator augments differently")


LAWS = (
    Law("spec", check_spec),
    Law("repeatable", check_repeatable),
    Law("batches by index", check_batches),
    Law("splits apart", check_apart),
    Law("augmentation", check_augmentation),
)
