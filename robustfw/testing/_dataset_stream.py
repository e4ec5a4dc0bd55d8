"""The law of a stream of training examples."""

from __future__ import annotations

import torch
from torch import Tensor

from robustfw.data.splits import (
    StreamedBatch,
    StreamedSplit,
)
from robustfw.dataset import Dataset, data_root
from robustfw.testing.laws import require


def check_stream(dataset: Dataset, seed: int) -> None:
    """A stream is its seed's and its epoch's: skipped batches are the first, shares are the whole, `len` is the count.

    Asked of training examples that are a `StreamedSplit`.
    """
    splits = dataset.load(data_root(None))
    stream = splits.train
    if not isinstance(stream, StreamedSplit):
        return
    # an even size of which the stream has three batches, where it has so many examples
    even_third = len(stream) // 3 // 2 * 2
    size = max(2, min(8, even_third))
    # 1. its length, and the same batches once more
    batches = list(stream.epoch(1, seed, size, 0, (0, 1)))
    count = sum(len(batch[0]) for batch in batches)
    full_batches = len(stream) // size
    require(
        count >= full_batches * size,
        f"an epoch has {count} examples, and the length is {len(stream)}",
    )
    _require_batches(
        "the same seed and epoch",
        batches=list(stream.epoch(1, seed, size, 0, (0, 1))),
        expected=batches,
    )
    # 2. skipped batches
    for skip in (1, 2):
        skipped = list(stream.epoch(1, seed, size, skip, (0, 1)))
        _require_batches(f"with {skip} batches skipped", skipped, batches[skip:])
    # 3. the shares of two processes
    shares = []
    for rank in range(2):
        share = stream.epoch(1, seed, size, 0, (rank, 2))
        shares.append(list(share))
    for number, batch in enumerate(batches[:full_batches]):
        parts = [batches_of_share[number] for batches_of_share in shares]
        for part in parts:
            _require_rows(number, part)
        lengths = [len(part[0]) for part in parts]
        require(
            abs(lengths[0] - lengths[1]) <= 1,
            f"the shares of batch {number} have {lengths} examples",
        )
        require(
            _rows(parts) == _rows([batch]),
            f"the shares of batch {number} together are not the batch",
        )


def _tensors(batch: StreamedBatch) -> list[Tensor]:
    """The batch's x, y, and its metadata in the order of their names."""
    x, y, *optional = batch
    metadata = optional[0] if optional else {}
    return [x, y, *(metadata[name] for name in sorted(metadata))]


def _require_rows(number: int, batch: StreamedBatch) -> None:
    """Require that x, y and the metadata of a batch have as many rows."""
    lengths = [len(tensor) for tensor in _tensors(batch)]
    require(
        len(set(lengths)) == 1,
        f"x, y and the metadata of batch {number} have {lengths} rows",
    )


def _rows(batches: list[StreamedBatch]) -> list[bytes]:
    """The bytes of examples with their targets and metadata, sorted, for comparison whatever their order."""
    rows = []
    for batch in batches:
        for example in zip(*_tensors(batch), strict=True):
            parts = [bytes(part.cpu().numpy().tobytes()) for part in example]
            rows.append(b"".join(parts))
    return sorted(rows)


def _require_batches(
    when: str, batches: list[StreamedBatch], expected: list[StreamedBatch]
) -> None:
    """Require that two lists of batches are equal."""
    require(
        len(batches) == len(expected),
        f"{when} there are {len(batches)} batches, not {len(expected)}",
    )
    for number, (batch, other) in enumerate(zip(batches, expected, strict=True)):
        pairs = zip(_tensors(batch), _tensors(other), strict=True)
        require(
            all(torch.equal(one, two) for one, two in pairs),
            f"{when} batch {number} is another",
        )
