"""Examples in memory or on disk: train, validation, test, and how batches are cut from them."""

from __future__ import annotations

import hashlib
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias, final

import attrs
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Subset
from torch.utils.data import Dataset as TorchDataset

from robustfw.data.bounds import check_range
from robustfw.data.spec import DataSpec
from robustfw.errors import DataError
from robustfw.losses import UNLABELLED
from robustfw.task import Segmentation

Batch: TypeAlias = tuple[Tensor, Tensor]
StreamedBatch: TypeAlias = Batch | tuple[Tensor, Tensor, Mapping[str, Tensor]]
"""x and y, and, where more is known of the examples, their metadata by name, such as ``group``."""
LABELLED_SHARE = 0.2
"""Of a training epoch, where only some examples have a label and nobody says how often these are repeated."""
LEARNT_FROM = 5000
"""Examples of a stream that are shown to what learns from data before the training."""
Augment: TypeAlias = Callable[[Tensor, torch.Generator, int], Tensor]
"""(x, generator, epoch from 0) ↦ x of the same shape and range; on whole batches."""


class Split(ABC):
    """Examples that batches can be cut from by index, in any order and any number of times.

    Rows of x and y belong together; the same index gives the same example each time. Targets are what the data's task
    takes (`robustfw.task`). The laws of a data set (`robustfw.testing`) hold splits to this.
    """

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def batches(self, indices: Iterable[Tensor], device: torch.device | str = "cpu") -> Iterator[Batch]:
        """x of shape (batch, *shape), floating point, and y of shape (batch,), for each tensor of indices."""

    @abstractmethod
    def fingerprint(self) -> str:
        """A hash of the examples, the same wherever the data is the same."""

    @abstractmethod
    def subset(self, indices: Tensor) -> Split:
        """Some of the examples, in the order of the indices."""

    def metadata(self, indices: Tensor) -> dict[str, Tensor]:
        """What else is known of the examples at these indices, (len(indices), …) by name, such as ``group``.

        Objectives and attacks get it as ``batch.meta`` and ``problem.meta``, on the net's device.
        """
        return {}

    def in_order(self, size: int, device: torch.device | str = "cpu") -> Iterator[Batch]:
        """All examples once, in batches of ``size``."""
        return self.batches(torch.arange(len(self)).split(size), device)

    def first(self, n: int | None) -> Split:
        """The first n examples, or all of them."""
        return self if n is None or n >= len(self) else self.subset(torch.arange(n))


class StreamedSplit(ABC):
    """Training examples that come in an order of their own, once through for each epoch.

    Files that are read one after the other, a database, a simulator. For training alone: what is measured must be
    there by index (`Split`).
    """

    @abstractmethod
    def __len__(self) -> int:
        """How many examples are an epoch."""

    @abstractmethod
    def epoch(
        self, epoch: int, seed: int, batch_size: int, skip: int, share: tuple[int, int]
    ) -> Iterator[StreamedBatch]:
        """The batches of an epoch, (x, y) or (x, y, metadata); a row of each belongs to each example.

        Args:
            epoch: from 0.
            seed: of the order, where that is random: the same seed and epoch give the same batches.
            batch_size: examples in a batch, over all processes.
            skip: batches at the start that are left out, as a training that goes on has been through them.
            share: (rank, processes): of each batch, this process's part.
        """

    @abstractmethod
    def fingerprint(self) -> str:
        """A hash that is the same wherever the data is the same."""

    def first_examples(self, n: int) -> Batch:
        """About n examples of the first epoch, for parts that learn from data and for measurements at the start."""
        x, y, *_ = next(self.epoch(0, 0, n, 0, (0, 1)))
        return x, y


def _as_tensor(values: Any) -> Tensor:
    """Tensors as they are; what numpy has as a tensor on the same memory."""
    return torch.as_tensor(values)


@final
@attrs.frozen(eq=False)
class TensorSplit(Split):
    """Examples as two tensors; uint8 is kept as it is and read as x/255.

    ``meta`` says more of each example, by name: ``TensorSplit(x, y, {"group": groups})``.

    Raises:
        DataError: x, y and meta are not of one length.
    """

    x: Tensor = attrs.field(converter=_as_tensor)
    y: Tensor = attrs.field(converter=_as_tensor)
    meta: Mapping[str, Tensor] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        lengths = {"x": len(self.x), "y": len(self.y)} | {name: len(each) for name, each in self.meta.items()}
        if len(set(lengths.values())) > 1:
            said = ", ".join(f"{name} has {length}" for name, length in lengths.items())
            raise DataError(f"examples and what belongs to them are not of one length: {said}")

    def __len__(self) -> int:
        return len(self.y)

    def batches(self, indices: Iterable[Tensor], device: torch.device | str = "cpu") -> Iterator[Batch]:
        """By indexing: no loader, no worker, no copy of the whole."""
        for rows in indices:
            # x[rows] would go through them number by number
            x = self.x.index_select(0, rows.to(self.x.device)).to(device, non_blocking=True)
            y = self.y.index_select(0, rows.to(self.y.device)).to(device)
            yield (x.float().div_(255) if x.dtype == torch.uint8 else x), y

    def metadata(self, indices: Tensor) -> dict[str, Tensor]:
        return {name: values[indices.to(values.device)] for name, values in self.meta.items()}

    def fingerprint(self) -> str:
        """SHA-256 over shape, type and bytes."""
        digest = hashlib.sha256(f"{tuple(self.x.shape)} {self.x.dtype}".encode())
        for tensor in (self.x, self.y, *(self.meta[name] for name in sorted(self.meta))):
            digest.update(tensor.detach().cpu().contiguous().numpy().data)
        return digest.hexdigest()

    def subset(self, indices: Tensor) -> TensorSplit:
        return TensorSplit(self.x[indices], self.y[indices], self.metadata(indices))


@final
@attrs.frozen(eq=False)
class LoadedSplit(Split):
    """A map-style torch data set too big for memory, whose items are (x, label), read by worker processes."""

    dataset: TorchDataset[Any]
    identity: str
    """What `fingerprint` hashes: whatever names the files and their sizes."""
    workers: int = 0

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]  # torch's Dataset does not declare __len__

    def batches(self, indices: Iterable[Tensor], device: torch.device | str = "cpu") -> Iterator[Batch]:
        """Through a DataLoader; the workers only decode, so that no randomness is theirs.

        Raises:
            DataError: an example cannot be read, the memory does not suffice, or a worker process ended.
        """
        sampler = [rows.tolist() for rows in indices]
        loaded = iter(DataLoader(self.dataset, batch_sampler=sampler, num_workers=self.workers))
        failure = None
        while failure is None:
            try:
                x, y = next(loaded)
            except StopIteration:
                return
            except (DataError, MemoryError, RuntimeError) as error:
                failure = _unreadable(error)
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
        rows = indices.tolist()
        return LoadedSplit(Subset(self.dataset, rows), f"{self.identity} {rows}", self.workers)


def _unreadable(error: Exception) -> DataError | None:
    """What stopped a DataLoader as one sentence; None for an error that is not about data or memory."""
    text = str(error)
    if isinstance(error, DataError):
        # torch puts the worker's whole traceback before the message
        return DataError(text.rpartition(f"{DataError.__module__}.{DataError.__name__}: ")[2].strip())
    if isinstance(error, MemoryError) or "allocate memory" in text:
        return DataError(
            "there is too little memory for a batch of these examples: take fewer at once, or smaller ones"
        )
    ended = "exited unexpectedly" in text or "killed by signal" in text
    if "DataLoader worker" in text and ended:
        return DataError(
            "a process that reads examples was ended, often for lack of memory: take fewer workers, or smaller batches"
        )
    return None


@attrs.frozen(eq=False)
class Splits:
    """What a data set loads: three splits, their spec, and an augmentation for training batches."""

    train: Split | StreamedSplit
    validation: Split
    test: Split
    spec: DataSpec
    augment: Augment | None = None

    @classmethod
    def cut(
        cls,
        train: Split,
        test: Split,
        spec: DataSpec,
        *,
        validation: float,
        augment: Augment | None = None,
    ) -> Splits:
        """Splits with a share ``validation`` of the training examples set apart, always the same ones."""
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(len(train)))
        count = round(validation * len(train))
        kept, apart = order[count:].sort().values, order[:count].sort().values
        return cls(train.subset(kept), train.subset(apart), test, spec, augment)

    def with_labels(self, count: int, *, seed: int = 0, repeats: int | None = None) -> Splits:
        """The same data, with ``count`` training labels kept and the others replaced by −1 (semi-supervised learning).

        As many of each class as of any other, up to one; which ones, the seed decides. Each labelled example stands
        ``repeats`` times in an epoch, by default so often that a fifth of the epoch is labelled: among 57,000 examples
        100 would meet a batch too rarely. Validation and test keep their labels, which are the measure.

        Raises:
            DataError: the examples are not in memory, or a class has too few.
        """
        if not isinstance(self.train, TensorSplit):
            raise DataError("labels can be taken from examples in memory only, and these are read from files as needed")
        labelled = _stratified(self.train.y, self.spec.classes, count, torch.Generator().manual_seed(seed))
        y = torch.full_like(self.train.y, UNLABELLED)
        y[labelled] = self.train.y[labelled]
        others = len(y) - len(labelled)
        if repeats is None:
            repeats = max(1, round(LABELLED_SHARE / (1 - LABELLED_SHARE) * others / max(1, len(labelled))))
        rows = torch.cat([torch.arange(len(y)), labelled.repeat(repeats - 1)])
        return attrs.evolve(self, train=TensorSplit(self.train.x[rows], y[rows], self.train.metadata(rows)))

    def first_examples(self, n: int) -> Batch:
        """The first n training examples, or as many as there are, and their targets."""
        if isinstance(self.train, StreamedSplit):
            x, y = self.train.first_examples(n)
            return x[:n], y[:n]
        return next(self.train.first(n).in_order(n))

    def learnable(self) -> Split:
        """What parts that learn from data are shown: the training examples, or of a stream the first ones."""
        if isinstance(self.train, StreamedSplit):
            return TensorSplit(*self.train.first_examples(LEARNT_FROM))
        return self.train

    def check(self) -> None:
        """Raise a `DataError` where tensors do not fit the spec: shape, range, labels; or an augmentation the task.

        A training label may be −1, which says that there is none; validation and test measure, and need them.
        """
        if self.augment is not None and isinstance(self.spec.task, Segmentation):
            raise DataError(
                "an augmentation moves pixels, but not the class that each of them has: leave it out for a segmentation"
            )
        for name in ("train", "validation", "test"):
            split = getattr(self, name)
            if isinstance(split, TensorSplit) and len(split):
                _check_tensors(name, split, self.spec)

    def fingerprint(self) -> str:
        """A hash over all three splits."""
        parts = " ".join(split.fingerprint() for split in (self.train, self.validation, self.test))
        return hashlib.sha256(parts.encode()).hexdigest()


def _stratified(y: Tensor, classes: int, count: int, generator: torch.Generator) -> Tensor:
    """Indices of ``count`` examples, each class as often as any other up to one, ascending."""
    order = torch.randperm(len(y), generator=generator)
    share, rest = divmod(count, classes)
    favoured = torch.randperm(classes, generator=generator)[:rest].tolist()
    chosen = []
    for label in range(classes):
        own, wanted = order[y[order] == label], share + (label in favoured)
        if len(own) < wanted:
            raise DataError(
                f"{count} labels would be {wanted} of class {label}, of which there are {len(own)}: keep fewer"
            )
        chosen.append(own[:wanted])
    return torch.cat(chosen).sort().values


def _check_tensors(name: str, split: TensorSplit, spec: DataSpec) -> None:
    if tuple(split.x.shape[1:]) != spec.shape:
        raise DataError(f"{name} examples have shape {tuple(split.x.shape[1:])}; the data set declares {spec.shape}")
    try:
        targets = spec.task.targets(split.y)
        spec.task.check(targets, spec.classes)
        if spec.task.labelled and name != "train" and bool((targets == UNLABELLED).any()):
            raise DataError("some examples have no label (−1), which only training examples may lack")
    except DataError as error:
        raise DataError(f"{name}: {error}") from error
    scale = 255 if split.x.dtype == torch.uint8 else 1
    if spec.bounds is None and not split.x.is_floating_point():
        return
    _check_values(name, split.x, scale, spec)


def _check_values(name: str, x: Tensor, scale: int, spec: DataSpec) -> None:
    """Raise a `DataError` where values are not finite, or not within the declared range by more than rounding."""
    if scale == 1:
        try:
            check_range(x, spec.bounds)
        except DataError as error:
            raise DataError(f"{name}: {error}") from error
        return
    low, high = (float(extreme) / scale for extreme in x.aminmax())
    bounds = spec.bounds
    if bounds is None:
        return
    lowest = min(bounds[0]) if isinstance(bounds[0], tuple) else bounds[0]
    highest = max(bounds[1]) if isinstance(bounds[1], tuple) else bounds[1]
    if not (lowest <= low and high <= highest):
        raise DataError(
            f"{name} values range over [{low:.4g}, {high:.4g}], outside the declared bounds "
            f"[{lowest:g}, {highest:g}]: radii would be in the wrong unit"
        )
