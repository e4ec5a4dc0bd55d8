"""Bookkeeping of minimal-distance attacks: the nearest δ of each example that meets the criterion."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from robustfw.inner.problem import InnerProblem


def euclidean(delta: Tensor) -> Tensor:
    """‖δ‖₂ of each row, in float32 at least."""
    from robustfw_attacks.directions import lengths

    return lengths(delta)


def largest(delta: Tensor) -> Tensor:
    """‖δ‖_∞ of each row."""
    return delta.flatten(1).abs().amax(1)


def border_distance(problem: InnerProblem, *, by_margin: bool) -> Tensor:
    """First-order estimate of the border's distance, (batch,): |m|/‖∇m‖₂ at 0, m the margin.

    It is at most as far as the set reaches. ``by_margin`` says whether the problem has classes: without any there is no
    margin, and the reach of the set is the estimate.
    """
    import torch

    from robustfw import losses
    from robustfw_attacks.directions import lengths, unit_rows

    if by_margin:
        problem = attrs.evolve(problem, loss=losses.margin)
    margin, gradient, _ = problem.probe(problem.region.zero())
    reach = lengths(problem.region.support(unit_rows(gradient)))
    if not by_margin:
        return reach
    distance = margin.abs().to(reach) / lengths(gradient).to(reach)
    return torch.minimum(distance.nan_to_num(torch.inf, torch.inf), reach)


def gradient_length(problem: InnerProblem) -> Tensor:
    """‖∇J‖₂ at δ = 0, (batch,), the unit in which J's gradient is about 1; 1 where it vanishes."""
    from robustfw_attacks.directions import lengths

    _, gradient, _ = problem.probe(problem.region.zero())
    length = lengths(gradient)
    return length.masked_fill(length == 0, 1)


@attrs.define(eq=False)
class Nearest:
    """For each row the shortest δ so far that is solved; until there is one, that of highest value.

    So one attack serves both questions. With a criterion it answers how near the nearest solved member is; without one
    no row is ever solved, and it answers which member has the highest value. A value that is not a number never wins.
    """

    delta: Tensor
    """(batch, *shape)."""
    value: Tensor
    """The value at ``delta``, (batch,); ∞ where it is solved."""
    length: Tensor
    """How long ``delta`` is, (batch,)."""
    measure: Callable[[Tensor], Tensor] = euclidean
    """δ (rows, *shape) to lengths (rows,)."""

    @classmethod
    def empty(
        cls, problem: InnerProblem, measure: Callable[[Tensor], Tensor] = euclidean
    ) -> Nearest:
        """δ = 0 with the value −∞, in float32 at least; ``measure`` gives the length of each row."""
        from robustfw.regions import wide

        delta = problem.region.zero()
        value = delta.new_full((len(delta),), -float("inf"), dtype=wide(delta.dtype))
        return cls(delta, value, measure(delta), measure)

    def offer(
        self, delta: Tensor, value: Tensor, rows: Tensor, *, ties: bool = False
    ) -> None:
        """Replace the stored δ of each row for which the new one is better: shorter and solved, or of higher value.

        Args:
            delta: new candidates, (rows, *shape).
            value: their values, (rows,), ∞ where a row is solved.
            rows: indices of the rows that they belong to, (rows,).
            ties: whether a candidate as good as the best replaces it, in rows that are not solved: for the end of an
                ascent, which is farther on than its values tell where J is too flat for its numbers.
        """
        length = self.measure(delta)
        best = self.value[rows]
        nearer = value.isposinf() & best.isposinf() & (length < self.length[rows])
        better = nearer | (value.to(best) > best)
        if ties:
            better |= (value.to(best) == best) & ~best.isposinf()
        replaced = rows[better]
        self.delta[replaced] = delta[better]
        self.value[replaced] = value[better].to(best)
        self.length[replaced] = length[better]

    @property
    def open_rows(self) -> Tensor:
        """Indices of the rows that nothing has solved yet, (rows,)."""
        return (~self.value.isposinf()).nonzero()[:, 0]
