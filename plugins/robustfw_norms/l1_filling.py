"""Filling the coordinates of an ℓ1 ball ∩ box in the order of their gains, for its linear maximizer in `l1`."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

ONE_BY_ONE = 24
"""Largest number of coordinates that `support` fills one at a time before it selects several at once."""

CROWD = 0.9
"""Share of all rows, per round, above which the rows that are left are too many to go on one coordinate at a time."""

SELECTED = 32
"""Number of best coordinates that are selected before all coordinates are sorted."""


def fill_one_by_one(
    gain: Tensor, corner: Tensor, radius: Tensor
) -> tuple[Tensor, Tensor]:
    """Fill the best coordinate of each row, then the next best: images in an attack mostly need one to three.

    numpy finds the largest entry of each row in a fifth of torch's time, and is faster on a few numbers.

    Args:
        gain: |g|, (rows, d); it is overwritten.
        corner: the ends of the coordinates' room, (rows, d).
        radius: r, (rows, 1).

    Returns:
        The filled coordinates, (rows, d), and the indices of the rows that are not finished, since many are left.
    """
    filled = torch.zeros_like(gain)
    gains = gain.detach().numpy()
    ends = corner.detach().numpy()
    result = filled.detach().numpy()
    length = radius.numpy()[:, 0]
    rows = np.arange(len(gains))
    remaining_gains = gains
    # the spent part of the radius, in float64 like the sums of torch
    spent = np.zeros(len(gains))
    for number in range(ONE_BY_ONE):
        # 1. the best coordinate of each row, and how far it may move
        best = remaining_gains.argmax(1)
        moves = remaining_gains[np.arange(len(rows)), best] > 0
        end = ends[rows, best]
        room = np.abs(end)
        # 2. it gets what is left of the radius, at most its room; 0 where no coordinate is left
        limit = length[rows]
        budget = np.maximum(limit - spent.astype(length.dtype), 0)
        magnitude = np.minimum(budget, room) * moves
        result[rows, best] += np.copysign(magnitude, end)
        gains[rows, best] = 0
        spent += room
        # 3. rows with something left to spend go on, unless they are too many
        unfinished = moves & (spent.astype(length.dtype) < limit)
        rows = rows[unfinished]
        spent = spent[unfinished]
        if not len(rows) or (number + 1) * len(rows) > CROWD * len(gains):
            break
        remaining_gains = gains[rows]
    return filled, torch.from_numpy(rows)


def fill_best(gain: Tensor, corner: Tensor, radius: Tensor) -> Tensor:
    """Fill coordinates in the order of their gains: the `SELECTED` best ones, or all where these are too few."""
    dimension = corner.shape[1]
    filled, done = fill_largest(gain, corner, radius, min(SELECTED, dimension))
    if not bool(done.all()):
        unfinished = ~done
        gain = gain[unfinished]
        ends = corner[unfinished]
        filled[unfinished], _ = fill_largest(gain, ends, radius[unfinished], dimension)
    return filled


def fill_largest(
    gain: Tensor, corner: Tensor, radius: Tensor, count: int
) -> tuple[Tensor, Tensor]:
    """Fill the ``count`` coordinates of largest gain in the order of their gains.

    Returns:
        The filled coordinates, (rows, d), and the mask of the rows in which no other coordinate can have a share: the
        radius is spent on gains above the smallest one selected, which others outside may equal.
    """
    # 1. the largest gains in descending order, ties to the lower index
    if count == gain.shape[1]:
        best, order = gain.sort(dim=1, descending=True, stable=True)
        done = torch.ones(len(gain), dtype=torch.bool, device=gain.device)
    else:
        selected = gain.topk(count, dim=1).indices
        selected = selected.sort(dim=1).values
        gains = gain.gather(1, selected)
        best, places = gains.sort(dim=1, descending=True, stable=True)
        order = selected.gather(1, places)
    ends = corner.gather(1, order)
    room = ends.abs()
    # 2. rows whose radius is spent on gains above the smallest one selected
    if count < gain.shape[1]:
        smallest = best[:, -1:]
        certain = torch.where(best > smallest, room, 0).sum(1)
        is_spent = certain >= radius[:, 0]
        done = is_spent | (smallest[:, 0] == 0)
    # 3. each gets the part of the radius that the ones before it leave, at most its room
    spent = room[:, :-1].cumsum(1)
    spent = torch.cat([torch.zeros_like(radius), spent], dim=1)
    budget = (radius - spent).clamp_(min=0)
    share = torch.minimum(budget, room).copysign_(ends)
    return torch.zeros_like(gain).scatter_(1, order, share), done
