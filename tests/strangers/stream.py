"""Training examples from files that are read one after the other, in an order of their own in each epoch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import attrs
import numpy as np
import torch
from attrs.validators import ge
from torch import Tensor

from robustfw import DataError, Dataset, DataSpec, Splits, StreamedSplit, TensorSplit, hookimpl


@attrs.frozen(eq=False)
class Shards(StreamedSplit):
    """Files x, y that are visited in random order; their examples come as they stand."""

    files: tuple[Path, ...]
    examples: int

    def __len__(self) -> int:
        return self.examples

    def epoch(
        self, epoch: int, seed: int, batch_size: int, skip: int, share: tuple[int, int]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        rank, processes = share
        for number, (x, y) in enumerate(self._batches(epoch, seed, batch_size)):
            if number >= skip:
                yield x[rank::processes], y[rank::processes]

    def _batches(self, epoch: int, seed: int, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Full batches across the borders of the files, and what is left at the end."""
        order = torch.randperm(len(self.files), generator=torch.Generator().manual_seed(1000 * seed + epoch))
        rest_x, rest_y = [], []
        for place in order.tolist():
            x, y = read(self.files[place])
            rest_x, rest_y = [*rest_x, x], [*rest_y, y]
            while sum(map(len, rest_y)) >= batch_size:
                x, y = torch.cat(rest_x), torch.cat(rest_y)
                yield x[:batch_size], y[:batch_size]
                rest_x, rest_y = [x[batch_size:]], [y[batch_size:]]
        if sum(map(len, rest_y)):
            yield torch.cat(rest_x), torch.cat(rest_y)

    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for file in self.files:
            digest.update(file.read_bytes())
        return digest.hexdigest()


def read(file: Path) -> tuple[Tensor, Tensor]:
    """The examples of a file."""
    with np.load(file) as arrays:
        return torch.from_numpy(arrays["x"]), torch.from_numpy(arrays["y"])


@attrs.frozen
class Sharded(Dataset):
    """A folder of .npz files with x (n, *shape) in [0, 1] and labels y: train-*.npz are streamed, test.npz is not."""

    folder: Annotated[str, "below the folder of the data sets"] = "shards"
    validation: Annotated[int, "of the examples in test.npz"] = attrs.field(default=100, validator=ge(1))

    def load(self, root: Path) -> Splits:
        files = tuple(sorted((root / self.folder).glob("train-*.npz")))
        if not files:
            raise DataError(f"there is no train-*.npz in {root / self.folder}: name the folder by --data-dir")
        lengths = [len(read(file)[1]) for file in files]
        x, y = read(root / self.folder / "test.npz")
        held_out, test = (
            TensorSplit(x[part], y[part]) for part in (slice(self.validation), slice(self.validation, None))
        )
        return Splits(Shards(files, sum(lengths)), held_out, test, DataSpec(tuple(x.shape[1:]), int(y.max()) + 1))


@hookimpl
def robustfw_register(add):
    add("sharded", Sharded)
