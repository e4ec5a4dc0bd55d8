"""Bookkeeping: the best δ of each example so far."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from torch import Tensor

    from robustfw.inner.problem import InnerProblem


@attrs.define(eq=False)
class Best:
    """For each row the δ of highest value so far; a value that is not a number never wins."""

    delta: Tensor
    """(batch, *shape)."""
    value: Tensor
    """J at ``delta``, (batch,)."""

    @classmethod
    def empty(cls, problem: InnerProblem) -> Best:
        """δ = 0 with the value −∞. Values are in float32 at least: half precision ends at 65,504."""
        from robustfw.regions import wide

        delta = problem.region.zero()
        return cls(
            delta, delta.new_full((len(delta),), -float("inf"), dtype=wide(delta.dtype))
        )

    def offer(
        self,
        delta: Tensor,
        value: Tensor,
        rows: Tensor | None = None,
        *,
        ties: bool = False,
    ) -> None:
        """Replace the stored δ of each row whose new value is higher.

        Args:
            delta: new candidates, (rows, *shape).
            value: their values, (rows,).
            rows: indices of the rows that they belong to, (rows,); all by default.
            ties: whether a candidate as good as the best replaces it. For the iterates of one ascent: where J is too
                flat for its numbers (a loss of e^-50, a target that is masked) the gradient still shows the way.
        """
        current = self.value if rows is None else self.value[rows]
        better = value.to(current) >= current if ties else value.to(current) > current
        if rows is None:
            mask = better.reshape(-1, *[1] * (delta.dim() - 1))
            self.delta = delta.where(mask, self.delta)
            self.value = value.to(current).where(better, current)
        else:
            self.delta[rows[better]] = delta[better]
            self.value[rows[better]] = value[better].to(current)

    @property
    def open_mask(self) -> Tensor:
        """Mask of the rows whose value can still rise, (batch,): those that are not solved."""
        return ~self.value.isposinf()
