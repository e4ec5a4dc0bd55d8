"""Bookkeeping: the best δ of each example so far."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from torch import Tensor

    from robustfw.inner.problem import InnerProblem


@attrs.define(eq=False)
class Best:
    """For each row the δ of highest value seen; a value that is not a number never wins."""

    delta: Tensor
    value: Tensor

    @classmethod
    def none_yet(cls, problem: InnerProblem) -> Best:
        """δ = 0 with the value −∞. Values are kept in float32 at least: half precision has no number above 65,504."""
        from robustfw.regions import wide

        delta = problem.region.zero()
        return cls(delta, delta.new_full((len(delta),), -float("inf"), dtype=wide(delta.dtype)))

    def offer(self, delta: Tensor, value: Tensor, rows: Tensor | None = None, *, ties: bool = False) -> None:
        """Take what is better.

        Args:
            delta: (rows, *shape).
            value: (rows,).
            rows: the indices that δ and values belong to; all by default.
            ties: whether what is as good as the best takes its place. For the iterates of one ascent: where J is too
                flat for its numbers (a loss of e^-50, a target that is masked) the gradient still knows the way.
        """
        current = self.value if rows is None else self.value[rows]
        better = value.to(current) >= current if ties else value.to(current) > current
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
