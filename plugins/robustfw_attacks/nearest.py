"""Bookkeeping of minimal-distance attacks: the nearest δ of each example that reaches the goal."""

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


def first_order(problem: InnerProblem, *, by_margin: bool) -> Tensor:
    """About how far the border is, (batch,): |m|/‖∇m‖₂ at 0, m the margin; at most as far as the set reaches.

    ``by_margin``: whether the problem has classes. Without any there is no margin, and the reach of the set is all
    that is known.
    """
    import torch

    from robustfw import losses
    from robustfw_attacks.directions import lengths, unit_rows

    weighed = attrs.evolve(problem, loss=losses.margin) if by_margin else problem
    margin, gradient, _ = weighed.probe(problem.region.zero())
    reach = lengths(problem.region.support(unit_rows(gradient)))
    if not by_margin:
        return reach
    distance = (margin.abs().to(reach) / lengths(gradient).to(reach)).nan_to_num(torch.inf, torch.inf)
    return torch.minimum(distance, reach)


def slope(problem: InnerProblem) -> Tensor:
    """‖∇J‖₂ at 0, (batch,): the unit in which J and its gradient are about 1; 1 where it vanishes."""
    from robustfw_attacks.directions import lengths

    _, gradient, _ = problem.probe(problem.region.zero())
    length = lengths(gradient)
    return length.masked_fill(length == 0, 1)


@attrs.define(eq=False)
class Nearest:
    """For each row the shortest δ seen that is solved; until there is one, that of highest value.

    So one attack serves both questions. With a goal it answers how near the nearest solved member is; without one no
    row is ever solved, and it answers which member has the highest value. What is not a number never wins.
    """

    delta: Tensor
    value: Tensor
    length: Tensor
    measure: Callable[[Tensor], Tensor] = euclidean

    @classmethod
    def none_yet(cls, problem: InnerProblem, measure: Callable[[Tensor], Tensor] = euclidean) -> Nearest:
        """δ = 0 with the value −∞, in float32 at least."""
        from robustfw.regions import wide

        delta = problem.region.zero()
        value = delta.new_full((len(delta),), -float("inf"), dtype=wide(delta.dtype))
        return cls(delta, value, measure(delta), measure)

    def offer(self, delta: Tensor, value: Tensor, rows: Tensor, *, ties: bool = False) -> None:
        """Take what is better.

        Args:
            delta: (rows, *shape).
            value: (rows,), ∞ where a row is solved.
            rows: the indices that δ and values belong to.
            ties: whether what is as good as the best takes its place, in rows that are not solved: for the end of an
                ascent, which is farther on than its values tell where J is too flat for its numbers.
        """
        length, best = self.measure(delta), self.value[rows]
        nearer = value.isposinf() & best.isposinf() & (length < self.length[rows])
        better = nearer | (value.to(best) > best)
        if ties:
            better |= (value.to(best) == best) & ~best.isposinf()
        taken = rows[better]
        self.delta[taken], self.value[taken], self.length[taken] = delta[better], value[better].to(best), length[better]

    @property
    def unsolved(self) -> Tensor:
        """The indices of the rows that nothing has solved yet."""
        return (~self.value.isposinf()).nonzero()[:, 0]
