"""Bookkeeping: the best δ of each example so far."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from torch import Tensor

    from robustfw.problem import InnerProblem


@attrs.define(eq=False)
class Best:
    """For each row the δ of highest value seen; a value that is not a number never wins."""

    delta: Tensor
    value: Tensor

    @classmethod
    def none_yet(cls, problem: InnerProblem) -> Best:
        """δ = 0 with the value −∞."""
        delta = problem.region.zero()
        return cls(delta, delta.new_full((len(delta),), -float("inf")))

    def offer(self, delta: Tensor, value: Tensor, rows: Tensor | None = None) -> None:
        """Take what is better; ``rows`` are the indices that δ and values belong to, all by default."""
        current = self.value if rows is None else self.value[rows]
        better = value > current
        if rows is None:
            self.delta = delta.where(better.reshape(-1, *[1] * (delta.dim() - 1)), self.delta)
            self.value = value.to(current).where(better, current)
        else:
            self.delta[rows[better]] = delta[better]
            self.value[rows[better]] = value[better].to(current)

    @property
    def unsolved(self) -> Tensor:
        """The rows whose value can still rise, as a mask."""
        return ~self.value.isposinf()
