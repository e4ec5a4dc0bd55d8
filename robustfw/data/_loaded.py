"""The split of a data set that is too big for memory and is read by worker processes."""

from __future__ import annotations

import hashlib
import traceback
from collections.abc import Iterable, Iterator
from typing import Any, final

import attrs
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Subset
from torch.utils.data import Dataset as TorchDataset

from robustfw.data._split import Batch, Split
from robustfw.errors import DataError


@final
@attrs.frozen(eq=False)
class LoadedSplit(Split):
    """A map-style torch data set too big for memory, whose items are (x, label), read by worker processes."""

    dataset: TorchDataset[Any]
    identity: str
    """The text that `fingerprint` hashes: it names the files and their sizes."""
    workers: int = 0
    """Number of worker processes; 0 reads in this process."""

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]  # torch's Dataset does not declare __len__

    def batches(
        self, indices: Iterable[Tensor], device: torch.device | str = "cpu"
    ) -> Iterator[Batch]:
        """Batches from a DataLoader; the workers only decode and draw no random numbers.

        Raises:
            DataError: an example cannot be read, the memory does not suffice, or a worker process ended.
        """
        sampler = [rows.tolist() for rows in indices]
        loaded = iter(
            DataLoader(self.dataset, batch_sampler=sampler, num_workers=self.workers)
        )
        failure = None
        while failure is None:
            try:
                x, y = next(loaded)
            except StopIteration:
                return
            except (DataError, MemoryError, RuntimeError) as error:
                failure = _describe_failure(error)
                if failure is None:
                    raise
                # torch's frames hold the loader in a cycle, and its processes would wait for the garbage collector
                traceback.clear_frames(error.__traceback__)
            else:
                yield x.to(device), y.to(device)
        del loaded
        raise failure

    def fingerprint(self) -> str:
        """SHA-256 of the identity."""
        return hashlib.sha256(self.identity.encode()).hexdigest()

    def subset(self, indices: Tensor) -> LoadedSplit:
        """The split of some of the examples, in the order of the indices, which become part of its identity."""
        rows = indices.tolist()
        return LoadedSplit(
            dataset=Subset(self.dataset, rows),
            identity=f"{self.identity} {rows}",
            workers=self.workers,
        )


def _describe_failure(error: Exception) -> DataError | None:
    """The cause of a DataLoader's failure as one sentence; None for an error that is not about data or memory."""
    text = str(error)
    if isinstance(error, DataError):
        # torch puts the worker's whole traceback before the message
        class_name = f"{DataError.__module__}.{DataError.__name__}"
        return DataError(text.rpartition(f"{class_name}: ")[2].strip())
    if isinstance(error, MemoryError) or "allocate memory" in text:
        return DataError(
            "there is too little memory for a batch of these examples: take fewer at once, or smaller ones"
        )
    if "stack expects each tensor to be equal size" in text:
        sizes = text.rpartition("equal size, but got ")[2].splitlines()[0]
        return DataError(
            f"examples have different sizes ({sizes}): bring them to one, by a transform of the data set or size=…"
        )
    ended = "exited unexpectedly" in text or "killed by signal" in text
    if "DataLoader worker" in text and ended:
        return DataError(
            "a process that reads examples was ended, often for lack of memory: take fewer workers, or smaller batches"
        )
    return None
