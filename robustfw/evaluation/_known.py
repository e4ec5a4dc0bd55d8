"""Worst cases that earlier evaluations have found: the next one begins with them, so that a number can only fall."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import torch
from torch import Tensor

from robustfw.inner.adversary import Attempt

if TYPE_CHECKING:
    from robustfw.evaluation._measurement import Measurement


@attrs.define(eq=False)
class KnownCases:
    """Members of the set that have fooled a net, by the places of their examples in the split.

    They are believed no more than what an attack finds: each is measured against its set again, and judged by a forward
    pass. `robustfw.evaluation.verdicts` adds to them what its attacks find.
    """

    index: Tensor
    """Places of the examples in the split, (k,), each once."""
    delta: Tensor
    """δ of each, (k, *shape of the region)."""
    tried: int = 0
    """How many were tried again in this evaluation."""
    fooled: int = 0
    """How many of these still fool the net."""

    @classmethod
    def empty(cls) -> KnownCases:
        """No case at all."""
        return cls(torch.zeros(0, dtype=torch.int64), torch.zeros(0))

    def __len__(self) -> int:
        return len(self.index)

    def at(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """The known cases of a batch.

        Args:
            places: of the batch's examples in the split, (batch,).

        Returns:
            The rows of the batch that have one, (m,), and δ of each, (m, *shape).
        """
        places = places.cpu()
        rows = torch.isin(places, self.index).nonzero()[:, 0]
        order = self.index.argsort()
        found = torch.searchsorted(self.index[order], places[rows])
        return rows, self.delta[order[found]]

    def note(self, places: Tensor, measurement: Measurement) -> None:
        """Take over what the measurement of a batch has found, once all of it has succeeded.

        Args:
            places: of the batch's examples in the split.
            measurement: of the batch.
        """
        self.tried += measurement.known_tried
        self.fooled += measurement.known_fooled
        for rows, attempt in measurement.found:
            self.add(places[rows.cpu()], attempt)

    def add(self, places: Tensor, attempt: Attempt) -> None:
        """Keep what an attack has fooled the net with; a case that is known already is replaced.

        Args:
            places: of the attempt's rows in the split.
            attempt: what the attack found, and whether the output is wrong there.
        """
        wrong = attempt.wrong.cpu()
        new_index = places.cpu()[wrong]
        if not len(new_index):
            return
        new_delta = attempt.delta.detach().cpu()[wrong]
        if not len(self):
            self.index = new_index
            self.delta = new_delta
            return
        kept = ~torch.isin(self.index, new_index)
        self.index = torch.cat([self.index[kept], new_index])
        self.delta = torch.cat([self.delta[kept], new_delta])
