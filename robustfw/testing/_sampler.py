"""The laws of a sampler, on a small split whose classes and groups are of unlike sizes."""

from __future__ import annotations

import torch

from robustfw.data.splits import TensorSplit
from robustfw.sampler import Sampler
from robustfw.testing.laws import Law, require

EXAMPLES = 60
"""Examples of the split."""


def _split() -> TensorSplit:
    """A split of three classes and two groups of unlike sizes."""
    numbers = torch.arange(EXAMPLES)
    label = (numbers % 6 == 0).long() + (numbers % 6 == 1).long() * 2
    return TensorSplit(
        x=numbers[:, None] / EXAMPLES,
        y=label,
        meta={"group": (numbers % 10 == 0).long()},
    )


def check_indices(sampler: Sampler, seed: int) -> None:
    """Whole numbers from 0 to n − 1, one axis of them, as many as there are examples."""
    for epoch in range(3):
        order = sampler.order(_split(), torch.Generator().manual_seed(seed), epoch)
        require(order.dtype == torch.int64, f"indices are {order.dtype}, not int64")
        require(
            order.shape == (EXAMPLES,),
            f"there are {tuple(order.shape)} indices for {EXAMPLES} examples",
        )
        inside = (order >= 0) & (order < EXAMPLES)
        require(
            bool(inside.all()),
            f"indices run from {int(order.min())} to {int(order.max())} of {EXAMPLES}",
        )


def check_generator(sampler: Sampler, seed: int) -> None:
    """The generator and the epoch alone decide the order: a resumed epoch goes through the same examples."""
    for epoch in range(2):
        split = _split()
        with torch.random.fork_rng(devices=[]):
            first = sampler.order(split, torch.Generator().manual_seed(seed), epoch)
            torch.manual_seed(seed + 1)
            second = sampler.order(split, torch.Generator().manual_seed(seed), epoch)
        require(
            bool(torch.equal(first, second)),
            f"the same generator gives another order in epoch {epoch}",
        )


LAWS = (Law("indices", check_indices), Law("generator decides", check_generator))
