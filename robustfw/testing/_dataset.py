"""The laws of a data set, on the files that are there (ROBUSTFW_DATA) or that it fetches."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch
from torch import Tensor

from robustfw.data.bounds import check_range
from robustfw.data.splits import (
    Batch,
    Split,
    Splits,
    StreamedSplit,
    TensorSplit,
)
from robustfw.dataset import Dataset, data_root
from robustfw.errors import DataError
from robustfw.testing._dataset_stream import check_stream
from robustfw.testing.laws import Law, LawBroken, require

SPLITS = ("train", "validation", "test")
"""Names of the splits."""


def _load(dataset: Dataset) -> Splits:
    """The splits, from the data folder."""
    return dataset.load(data_root(None))


def _splits_by_index(splits: Splits) -> Iterator[tuple[str, Split]]:
    """Names and splits that have examples, and give them by index."""
    for name in SPLITS:
        split = getattr(splits, name)
        if isinstance(split, Split) and len(split):
            yield name, split


def check_spec(dataset: Dataset, seed: int) -> None:
    """Shapes, range and targets of all splits are as the spec declares them."""
    splits = _load(dataset)
    splits.check()
    for name in SPLITS:
        split = getattr(splits, name)
        if not len(split):
            continue
        if isinstance(split, StreamedSplit):
            x, y = split.first_examples(8)
        else:
            x, y = next(split.iterate(8))
        require(
            x.is_floating_point() and tuple(x.shape[1:]) == splits.spec.shape,
            f"{name}: x is {tuple(x.shape)}",
        )
        try:
            check_range(x, splits.spec.bounds)
            splits.spec.task.check(splits.spec.task.targets(y), splits.spec.classes)
        except DataError as error:
            raise LawBroken(f"{name}: {error}") from error


def check_repeatable(dataset: Dataset, seed: int) -> None:
    """Loading twice gives the same bytes in the same order."""
    require(
        _load(dataset).fingerprint() == _load(dataset).fingerprint(),
        "loading twice gives other examples",
    )


def check_batches(dataset: Dataset, seed: int) -> None:
    """Batches by index are the examples at these indices: several at once, in any order, however often."""
    for name, split in _splits_by_index(_load(dataset)):
        last = len(split) - 1
        indices = []
        for places in ([3, 0, 5], [5, 5], [last], [0, 3, 1, 2]):
            indices.append(torch.tensor(places).clamp(max=last))
        first = list(split.batches(indices))
        second = list(split.batches(iter(indices)))
        require(
            len(first) == len(indices),
            f"{name}: {len(first)} batches for {len(indices)} tensors of indices",
        )
        for rows, batch, again in zip(indices, first, second, strict=True):
            x, y = batch
            require(
                len(x) == len(y) == len(rows),
                f"{name}: {len(x)} examples and {len(y)} targets for {len(rows)}",
            )
            require(
                _are_equal(batch, again),
                f"{name}: examples {rows.tolist()} are others when they are asked for again",
            )
            for i, row in enumerate(rows.tolist()):
                alone = next(split.batches([torch.tensor([row])]))
                in_batch = (x[i : i + 1], y[i : i + 1])
                require(
                    _are_equal(in_batch, alone),
                    f"{name}: example {row} is another alone",
                )


def check_parts(dataset: Dataset, seed: int) -> None:
    """`subset` and `first` keep the order that is asked for, `iterate` goes through all, and metadata goes along."""
    for name, split in _splits_by_index(_load(dataset)):
        # 1. subset
        last = min(4, len(split) - 1)
        rows = torch.tensor([last, 0])
        part = split.subset(rows)
        require(len(part) == 2, f"{name}: a subset of 2 examples has {len(part)}")
        batch = next(split.batches([rows]))
        _require_same(f"{name}: a subset", _all(part), batch)
        # 2. first
        count = min(5, len(split))
        first_rows = torch.arange(count)
        _require_same(
            f"{name}: its first examples",
            examples=_all(split.first(count)),
            expected=_all(split.subset(first_rows)),
        )
        require(
            len(split.first(None)) == len(split),
            f"{name}: first(None) is not all of it",
        )
        # 3. iterate
        first_batches = itertools.islice(split.iterate(3), 4)
        lengths = [len(x) for x, _ in first_batches]
        all_lengths = [len(rows) for rows in torch.arange(len(split)).split(3)]
        expected = all_lengths[:4]
        require(
            lengths == expected,
            f"{name}: iterate(3) gives batches of {lengths}, not {expected}",
        )
        # 4. metadata
        _check_metadata(name, split, part, rows)


def _check_metadata(name: str, split: Split, part: Split, rows: Tensor) -> None:
    """Require that metadata has a row for each index, and that a subset has the metadata of its own rows."""
    metadata = split.metadata(rows)
    part_metadata = part.metadata(torch.arange(len(rows)))
    same = metadata.keys() == part_metadata.keys()
    require(
        same,
        f"{name}: a subset has metadata {sorted(part_metadata)}, not {sorted(metadata)}",
    )
    for key, values in metadata.items():
        require(
            len(values) == len(rows),
            f"{name}: metadata {key} has {len(values)} rows for {len(rows)} indices",
        )
        require(
            bool(torch.equal(values, part_metadata[key])),
            f"{name}: metadata {key} of a subset is another",
        )


def _all(split: Split) -> Batch:
    """All examples and targets of a split, in order."""
    x_batches = []
    y_batches = []
    for x, y in split.iterate(2):
        x_batches.append(x)
        y_batches.append(y)
    return torch.cat(x_batches), torch.cat(y_batches)


def _are_equal(batch: Batch, other: Batch) -> bool:
    """Whether two batches have the same examples and targets."""
    x, y = batch
    other_x, other_y = other
    return torch.equal(x, other_x) and torch.equal(y, other_y)


def _require_same(what: str, examples: Batch, expected: Batch) -> None:
    """Require that two batches are equal."""
    require(
        _are_equal(examples, expected),
        f"{what}: these are not the examples at the indices",
    )


def check_apart(dataset: Dataset, seed: int) -> None:
    """Validation is cut from train, and neither shares its examples with test, but for chance duplicates."""
    splits = _load(dataset)
    examples = []
    for part in (splits.train, splits.validation, splits.test):
        if not isinstance(part, TensorSplit):
            return
        examples.append({bytes(x.numpy().tobytes()) for x in part.x[:2000]})
    train, validation, test = examples
    for other, name in ((validation, "validation"), (test, "test")):
        shared = len(train & other)
        require(
            shared <= 0.02 * max(len(other), 1),
            f"{shared} {name} examples are training examples too",
        )


def check_augmentation(dataset: Dataset, seed: int) -> None:
    """Augmentation keeps shape, type and range, and its generator and the epoch alone decide it."""
    splits = _load(dataset)
    if splits.augment is None:
        return
    train = splits.train
    if isinstance(train, StreamedSplit):
        x, _ = train.first_examples(8)
    else:
        x, _ = next(train.iterate(8))
    for epoch in range(2):
        first = splits.augment(x, torch.Generator().manual_seed(seed), epoch)
        second = splits.augment(x, torch.Generator().manual_seed(seed), epoch)
        require(
            first.shape == x.shape and first.dtype == x.dtype,
            f"augmented x is {tuple(first.shape)} {first.dtype}",
        )
        try:
            check_range(first, splits.spec.bounds)
        except DataError as error:
            raise LawBroken(f"augmented {error}") from error
        require(
            bool(torch.equal(first, second)), "the same generator augments differently"
        )


LAWS = (
    Law("spec", check_spec),
    Law("repeatable", check_repeatable),
    Law("batches by index", check_batches),
    Law("parts of a split", check_parts),
    Law("stream", check_stream),
    Law("splits apart", check_apart),
    Law("augmentation", check_augmentation),
)
