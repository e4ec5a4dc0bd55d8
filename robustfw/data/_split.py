"""Splits: examples from which batches are cut, by index or in a stream, and the split that is held in memory."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias, final

import attrs
import torch
from torch import Tensor

from robustfw.errors import DataError

Batch: TypeAlias = tuple[Tensor, Tensor]
"""Examples x (batch, *shape) and their targets y."""

StreamedBatch: TypeAlias = Batch | tuple[Tensor, Tensor, Mapping[str, Tensor]]
"""x and y, and, where more is known of the examples, their metadata by name, such as ``group``."""


class Split(ABC):
    """Examples that batches can be cut from by index, in any order and any number of times.

    Rows of x and y belong together, and an index gives the same example each time. Targets have the form that the
    data's task takes (`robustfw.task`). The laws of a data set (`robustfw.testing`) check this.
    """

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def batches(
        self, indices: Iterable[Tensor], device: torch.device | str = "cpu"
    ) -> Iterator[Batch]:
        """x of shape (batch, *shape), floating point, and y of shape (batch,), for each tensor of indices."""

    @abstractmethod
    def fingerprint(self) -> str:
        """A hash of the examples: equal data gives an equal hash, on any machine."""

    @abstractmethod
    def subset(self, indices: Tensor) -> Split:
        """The split of some of the examples, in the order of the indices."""

    def metadata(self, indices: Tensor) -> dict[str, Tensor]:
        """Further data of the examples at these indices, (len(indices), …) by name, such as ``group``.

        Objectives and attacks get it as ``batch.meta`` and ``problem.meta``, on the net's device.
        """
        return {}

    def iterate(self, size: int, device: torch.device | str = "cpu") -> Iterator[Batch]:
        """All examples once, in their order, in batches of ``size``."""
        return self.batches(torch.arange(len(self)).split(size), device)

    def first(self, n: int | None) -> Split:
        """The split of the first n examples; the split itself where n is None or not less than its length."""
        if n is None or n >= len(self):
            return self
        return self.subset(torch.arange(n))


class StreamedSplit(ABC):
    """Training examples that come in an order of their own, once through for each epoch.

    Files that are read one after the other, a database, a simulator. For training alone: evaluation needs examples by
    index (`Split`).
    """

    @abstractmethod
    def __len__(self) -> int:
        """The number of examples in an epoch."""

    @abstractmethod
    def epoch(
        self, epoch: int, seed: int, batch_size: int, skip: int, share: tuple[int, int]
    ) -> Iterator[StreamedBatch]:
        """The batches of an epoch, (x, y) or (x, y, metadata), with one row of each for an example.

        Args:
            epoch: number of the epoch, from 0.
            seed: seed of a random order: the same seed and epoch give the same batches.
            batch_size: examples in a batch, over all processes.
            skip: number of batches to leave out at the start, which a resumed training has been through.
            share: (rank, processes): the batches hold this process's part of the examples only.
        """

    @abstractmethod
    def fingerprint(self) -> str:
        """A hash of the data: equal data gives an equal hash, on any machine."""

    def first_examples(self, n: int) -> Batch:
        """About n examples of the first epoch, for parts that learn from data and for measurements at the start."""
        x, y, *_ = next(self.epoch(0, 0, n, 0, (0, 1)))
        return x, y


def _read_tensor(values: Any) -> Tensor:
    """A tensor as it is, or a numpy array as a tensor that shares its memory."""
    return torch.as_tensor(values)


@final
@attrs.frozen(eq=False)
class TensorSplit(Split):
    """Examples in memory as two tensors; uint8 values are read as x/255.

    ``meta`` is further data of each example, by name: ``TensorSplit(x, y, {"group": groups})``.

    Raises:
        DataError: x, y and meta are not of one length.
    """

    x: Tensor = attrs.field(converter=_read_tensor)
    y: Tensor = attrs.field(converter=_read_tensor)
    meta: Mapping[str, Tensor] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        lengths = {"x": len(self.x), "y": len(self.y)}
        for name, values in self.meta.items():
            lengths[name] = len(values)
        if len(set(lengths.values())) > 1:
            listed = ", ".join(
                f"{name} has {length}" for name, length in lengths.items()
            )
            raise DataError(
                f"examples and what belongs to them are not of one length: {listed}"
            )

    def __len__(self) -> int:
        return len(self.y)

    def batches(
        self, indices: Iterable[Tensor], device: torch.device | str = "cpu"
    ) -> Iterator[Batch]:
        """Batches by indexing, without a loader, a worker or a copy of all examples."""
        for rows in indices:
            # index_select copies whole rows, where x[rows] copies number by number
            x = self.x.index_select(0, rows.to(self.x.device)).to(
                device, non_blocking=True
            )
            y = self.y.index_select(0, rows.to(self.y.device)).to(device)
            if x.dtype == torch.uint8:
                x = x.float().div_(255)
            yield x, y

    def metadata(self, indices: Tensor) -> dict[str, Tensor]:
        """The rows of ``meta`` at these indices, by name."""
        return {
            name: values[indices.to(values.device)]
            for name, values in self.meta.items()
        }

    def fingerprint(self) -> str:
        """SHA-256 over shape, type and bytes."""
        form = f"{tuple(self.x.shape)} {self.x.dtype}"
        digest = hashlib.sha256(form.encode())
        metadata = [self.meta[name] for name in sorted(self.meta)]
        for tensor in (self.x, self.y, *metadata):
            array = tensor.detach().cpu().contiguous().numpy()
            digest.update(array.data)
        return digest.hexdigest()

    def subset(self, indices: Tensor) -> TensorSplit:
        """The split of some of the examples with their metadata, in the order of the indices."""
        return TensorSplit(self.x[indices], self.y[indices], self.metadata(indices))
