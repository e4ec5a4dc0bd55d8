"""Splits cut from examples that come in one piece, in a random order that is always the same."""

from __future__ import annotations

import torch

from robustfw.data._split import Split
from robustfw.data.spec import DataSpec
from robustfw.data.splits import Augment, Splits


def shuffle(split: Split, seed: int) -> Split:
    """The split in a random order, so that its first examples are a fair sample of it.

    Files sorted by class are the rule, and whatever is measured on the first n examples would see one class alone.

    Args:
        split: the examples.
        seed: decides the order.
    """
    generator = torch.Generator().manual_seed(seed)
    return split.subset(torch.randperm(len(split), generator=generator))


def cut_splits(
    examples: Split,
    spec: DataSpec,
    *,
    validation: float,
    test: float | Split,
    seed: int = 0,
    augment: Augment | None = None,
) -> Splits:
    """Train, validation and test from examples in one piece, each in a random order.

    Args:
        examples: all of them; with test examples of their own, those for training.
        spec: the declared facts of the data.
        validation: share of the training examples that is set apart.
        test: share of all examples that is for tests; or the test examples.
        seed: decides the order, and so the cut.
        augment: an augmentation for training batches.
    """
    shuffled = shuffle(examples, seed)
    rows = torch.arange(len(shuffled))
    if isinstance(test, Split):
        test_split = shuffle(test, seed)
    else:
        count = round(test * len(shuffled))
        test_split = shuffled.subset(rows[:count])
        rows = rows[count:]
    validation_count = round(validation * len(rows))
    return Splits(
        train=shuffled.subset(rows[validation_count:]),
        validation=shuffled.subset(rows[:validation_count]),
        test=test_split,
        spec=spec,
        augment=augment,
    )
