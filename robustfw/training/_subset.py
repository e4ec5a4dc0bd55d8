"""A few of a data set's examples, for a training that only shows that all of it runs."""

from __future__ import annotations

import attrs
import torch

from robustfw.data.splits import Split, Splits, StreamedSplit
from robustfw.errors import UsageError
from robustfw.inner._randomness import generator_for


def take_examples(splits: Splits, count: int | None, seed: int) -> Splits:
    """Splits with so many training examples, drawn by the seed, and no more than that for validation and test.

    Args:
        splits: all data.
        count: training examples; None: all of them, and the splits stay as they are.
        seed: of the draw.

    Raises:
        UsageError: there are not so many, or the training examples come as a stream.
    """
    if count is None:
        return splits
    train = splits.train
    if isinstance(train, StreamedSplit):
        raise UsageError(
            f"the training examples come as a stream, from which {count} cannot be drawn: leave out --examples"
        )
    if count > len(train):
        raise UsageError(
            f"there are {len(train)} training examples: leave out --examples {count} to take them all"
        )
    return attrs.evolve(
        splits,
        train=_draw(train, "train", count, seed),
        validation=_draw(splits.validation, "validation", count, seed),
        test=_draw(splits.test, "test", count, seed),
    )


def _draw(split: Split, name: str, count: int, seed: int) -> Split:
    """So many examples of a split in their order, drawn at random; the split itself where it has no more.

    Args:
        split: the examples.
        name: of the split, which the draw depends on.
        count: how many.
        seed: of the draw.
    """
    if count >= len(split):
        return split
    generator = generator_for(seed, "examples", name)
    rows = torch.randperm(len(split), generator=generator)[:count]
    return split.subset(rows.sort().values)
