"""As many examples as fit into a time: a first interval, soon."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

from robustfw.attack import Attack
from robustfw.data.splits import Split
from robustfw.evaluation._accuracy import verdicts
from robustfw.evaluation._verdicts import Verdicts
from robustfw.inner.threat import Threat

FIRST = 4
"""Examples in the first batch, from which the pace is learnt."""
GROWTH = 4
"""How many times as large as the batch before a batch may be."""
SHARE = 1 / 3
"""Share of the time left that the next batch may take by the pace so far: robust examples take longer than others."""


def verdicts_within(
    deadline: float,
    model: nn.Module,
    split: Split,
    *,
    threat: Threat,
    attacks: Sequence[Attack],
    batch_size: int,
    seed: int,
    **options: Any,
) -> Iterator[Verdicts]:
    """The verdicts of as many random examples as can be attacked before a deadline; of one batch at least.

    The examples are drawn without replacement, so that their share is an estimate of the split's. The batches grow
    from a few examples to what the pace allows, and stop where another one would not fit. A batch that has begun is
    finished.

    Args:
        deadline: a time of `time.perf_counter`.
        model: outputs of x (batch, *shape).
        split: the examples that are drawn from.
        threat: the set and the data range.
        attacks: what is tried, one after the other.
        batch_size: the most examples that are attacked together.
        seed: of the drawing and of the attacks' randomness.
        options: others of `verdicts`: classes, task, loss, see.
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(split), generator=generator)
    start = 0
    size = min(FIRST, batch_size)
    while start < len(order):
        rows = order[start : start + size]
        began = time.perf_counter()
        parts = verdicts(
            model,
            split.subset(rows),
            threat=threat,
            attacks=attacks,
            batch_size=len(rows),
            # another seed for each batch: random starts are not to repeat themselves
            seed=seed + start,
            **options,
        )
        for part in parts:
            if part.batch_size < len(rows):
                # memory had no room for the batch, and has none for a larger one
                batch_size = part.batch_size
            yield part
        start += len(rows)
        now = time.perf_counter()
        duration = now - began
        left = deadline - now
        if duration > left:
            return
        # another batch of this size fits; a larger one where the pace allows it
        affordable = int(SHARE * left * len(rows) / duration)
        size = min(max(affordable, size), GROWTH * size, batch_size)
