"""Train, validation and test of a data set; the classes of single splits are importable from here as well."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TypeAlias

import attrs
import torch
from torch import Tensor

from robustfw.data._checks import check_tensors
from robustfw.data._loaded import LoadedSplit
from robustfw.data._split import Batch, Split, StreamedBatch, StreamedSplit, TensorSplit
from robustfw.data.spec import DataSpec
from robustfw.errors import DataError
from robustfw.losses import UNLABELLED
from robustfw.task import Segmentation

__all__ = [
    "LABELLED_SHARE",
    "LEARNT_FROM",
    "Augment",
    "Batch",
    "LoadedSplit",
    "Split",
    "Splits",
    "StreamedBatch",
    "StreamedSplit",
    "TensorSplit",
]

Augment: TypeAlias = Callable[[Tensor, torch.Generator, int], Tensor]
"""(x, generator, epoch from 0) ↦ x of the same shape and range; on whole batches."""

LABELLED_SHARE = 0.2
"""Default share of labelled examples in a training epoch whose other examples have no label."""

LEARNT_FROM = 5000
"""Number of examples of a stream that parts which learn from data see before the training."""


@attrs.frozen(eq=False)
class Splits:
    """The three splits that a data set loads, their spec, and an augmentation for training batches."""

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
        """Splits whose validation examples are set apart from the training examples, always the same ones.

        Args:
            train: the training examples, of which a part becomes the validation split.
            test: the test examples.
            spec: the declared shape, classes, range and task.
            validation: share of the training examples that is set apart, from 0 to 1.
            augment: an augmentation for training batches.
        """
        order = torch.randperm(
            len(train), generator=torch.Generator().manual_seed(len(train))
        )
        count = round(validation * len(train))
        validation_rows = order[:count].sort().values
        training_rows = order[count:].sort().values
        return cls(
            train=train.subset(training_rows),
            validation=train.subset(validation_rows),
            test=test,
            spec=spec,
            augment=augment,
        )

    def keep_labels(
        self, count: int, *, seed: int = 0, repeats: int | None = None
    ) -> Splits:
        """The splits with ``count`` training labels, and −1 in place of the others (semi-supervised learning).

        Each class keeps as many labels as any other, up to one. Validation and test keep all of theirs, since they
        measure.

        Args:
            count: number of labels that are kept.
            seed: decides which labels are kept.
            repeats: how many times each labelled example stands in an epoch. By default so often that a fifth of the
                epoch is labelled: 100 among 57,000 examples would be in a batch too rarely.

        Raises:
            DataError: the examples are not in memory, or a class has too few.
        """
        if not isinstance(self.train, TensorSplit):
            raise DataError(
                "labels can be taken from examples in memory only, and these are read from files as needed"
            )
        generator = torch.Generator().manual_seed(seed)
        labelled = _choose_per_class(
            self.train.y, classes=self.spec.classes, count=count, generator=generator
        )
        y = torch.full_like(self.train.y, UNLABELLED)
        y[labelled] = self.train.y[labelled]
        if repeats is None:
            # so often that labelled examples are their share of all
            odds = LABELLED_SHARE / (1 - LABELLED_SHARE)
            unlabelled = len(y) - len(labelled)
            wanted = odds * unlabelled / max(1, len(labelled))
            repeats = max(1, round(wanted))
        all_rows = torch.arange(len(y))
        repetitions = labelled.repeat(repeats - 1)
        rows = torch.cat([all_rows, repetitions])
        train = TensorSplit(self.train.x[rows], y[rows], self.train.metadata(rows))
        return attrs.evolve(self, train=train)

    def first_examples(self, n: int) -> Batch:
        """The first n training examples, or as many as there are, and their targets."""
        if isinstance(self.train, StreamedSplit):
            x, y = self.train.first_examples(n)
            return x[:n], y[:n]
        return next(self.train.first(n).iterate(n))

    def learning_split(self) -> Split:
        """The split that parts which learn from data see: the training examples, or the first ones of a stream."""
        if isinstance(self.train, StreamedSplit):
            return TensorSplit(*self.train.first_examples(LEARNT_FROM))
        return self.train

    def check(self) -> None:
        """Raise a `DataError` where tensors do not fit the spec in shape, range or labels, or augmentation the task.

        A training label may be −1, which says that there is none; validation and test measure, and need them.
        """
        if self.augment is not None and isinstance(self.spec.task, Segmentation):
            raise DataError(
                "an augmentation moves pixels, but not the class that each of them has: leave it out for a segmentation"
            )
        for name in ("train", "validation", "test"):
            split = getattr(self, name)
            if isinstance(split, TensorSplit) and len(split):
                check_tensors(name, split, self.spec)

    def fingerprint(self) -> str:
        """A hash over all three splits."""
        parts = " ".join(
            split.fingerprint() for split in (self.train, self.validation, self.test)
        )
        return hashlib.sha256(parts.encode()).hexdigest()


def _choose_per_class(
    y: Tensor, classes: int, count: int, generator: torch.Generator
) -> Tensor:
    """Random indices of ``count`` examples in ascending order, each class as often as any other up to one."""
    order = torch.randperm(len(y), generator=generator)
    # 1. each class gets the same share; what is left over goes to classes drawn at random
    share, left_over = divmod(count, classes)
    favoured = torch.randperm(classes, generator=generator)[:left_over].tolist()
    # 2. the first examples of each class in the random order
    chosen = []
    for label in range(classes):
        examples = order[y[order] == label]
        wanted = share + (label in favoured)
        if len(examples) < wanted:
            raise DataError(
                f"{count} labels would be {wanted} of class {label}, of which there are {len(examples)}: keep fewer"
            )
        chosen.append(examples[:wanted])
    return torch.cat(chosen).sort().values
