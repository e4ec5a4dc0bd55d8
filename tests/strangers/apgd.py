"""APGD on the difference of logits ratio (Croce & Hein 2020): a step for each row, halved where it stalls."""

from __future__ import annotations

from typing import Annotated

import attrs
import torch
from attrs.validators import ge
from torch import Tensor

from robustfw import Attack, InnerProblem, Loss, hookimpl, losses
from robustfw.regions import per_row

MOMENTUM = 0.75
"""The share of the new point; the rest of the last move is kept."""
ENOUGH = 0.75
"""The share of the steps since the last look that must have raised J, or else the step is halved."""


def looks(steps: int) -> list[int]:
    """After which steps lengths are looked at: 22 % of all, then 19 %, 16 % … more each time, 6 % at least."""
    shares, gap = [0.0, 0.22], 0.22
    while shares[-1] < 1:
        gap = max(gap - 0.03, 0.06)
        shares.append(shares[-1] + gap)
    return sorted({round(share * steps) for share in shares[1:]} & set(range(1, steps)))


@attrs.frozen
class ApgdDlr(Attack):
    """δ ← P(δ + ¾·(z − δ) + ¼·(δ − δ₋)), z = P(δ + η·s(∇DLR)), with η halved row by row where the ascent stalls.

    Steps are the steepest ones in the set's own geometry, η from 2 down, relative to the set. The best iterate of each
    row is the result. Where y are no class labels, and on the way to a target, the problem keeps its own loss.
    """

    steps: Annotated[int, "gradients per example"] = attrs.field(default=20, validator=ge(1))
    loss: Annotated[Loss | None, "spec of what is raised; DLR if none"] = None
    random_start: Annotated[bool, "start from a random member instead of 0"] = True

    def maximize(self, problem: InnerProblem, generator: torch.Generator) -> Tensor:
        """``steps`` forward and backward passes, and a forward pass for the last iterate."""
        if problem.labelled and problem.target is None:
            problem = problem.with_loss(self.loss or losses.dlr)
        region = problem.region
        if problem.start is not None:
            start = problem.start
        else:
            start = region.sample(generator) if self.random_start else region.zero()
        best = start.clone()
        if not len(problem):
            return best
        value, gradient = problem.value_and_grad(start)
        rows, climb = problem.rows_left(value), _Climb.begin(start, value, gradient)
        problem, climb = problem[rows], climb[rows]
        halving = looks(self.steps)
        for step in range(1, self.steps + 1):
            if not len(rows):
                return best
            going = climb.moved(problem, first=step == 1)
            value, gradient = problem.value_and_grad(going)
            climb = climb.arrived(going, value, gradient)
            best[rows] = climb.best
            left = problem.rows_left(value)
            if len(left) < len(rows):
                rows, problem, climb = rows[left], problem[left], climb[left]
            if step in halving:
                climb = climb.looked_at(step - max([0, *(each for each in halving if each < step)]))
        return best


@attrs.frozen(eq=False)
class _Climb:
    """Where each row stands: tensors with the batch as their first axis."""

    delta: Tensor
    last: Tensor
    gradient: Tensor
    value: Tensor
    best: Tensor
    best_gradient: Tensor
    best_value: Tensor
    length: Tensor
    """η, (batch,)."""
    rises: Tensor
    """Steps since the last look that raised J."""
    kept_length: Tensor
    """Whether η was left alone at the last look."""
    value_then: Tensor
    """The best value at the last look."""

    @classmethod
    def begin(cls, start: Tensor, value: Tensor, gradient: Tensor) -> _Climb:
        none = torch.zeros_like(value)
        return cls(
            start, start, gradient, value, start, gradient, value, none + 2, none, torch.zeros_like(value).bool(), value
        )

    def __getitem__(self, rows: Tensor) -> _Climb:
        return _Climb(*(getattr(self, field.name)[rows] for field in attrs.fields(_Climb)))

    def moved(self, problem: InnerProblem, *, first: bool) -> Tensor:
        """The next point of each row, by a step of its own length and what is left of the last move."""
        region = problem.region
        ahead = region.project(self.delta + region.ascent(self.gradient, self.delta, self.length))
        if first:
            return ahead
        return region.project(self.delta + MOMENTUM * (ahead - self.delta) + (1 - MOMENTUM) * (self.delta - self.last))

    def arrived(self, delta: Tensor, value: Tensor, gradient: Tensor) -> _Climb:
        """At a new point, with the best ones brought up to date."""
        better = value > self.best_value
        wide = per_row(better.to(delta.dtype), delta) > 0
        return attrs.evolve(
            self,
            delta=delta,
            last=self.delta,
            gradient=gradient,
            value=value,
            best=torch.where(wide, delta, self.best),
            best_gradient=torch.where(wide, gradient, self.best_gradient),
            best_value=torch.where(better, value, self.best_value),
            rises=self.rises + (value > self.value),
        )

    def looked_at(self, steps: int) -> _Climb:
        """Half the step where too few of so many steps rose, or where nothing came of an unchanged one."""
        stuck = self.kept_length & (self.best_value <= self.value_then)
        halved = (self.rises < ENOUGH * steps) | stuck
        wide = per_row(halved.to(self.delta.dtype), self.delta) > 0
        return attrs.evolve(
            self,
            delta=torch.where(wide, self.best, self.delta),
            last=torch.where(wide, self.best, self.last),
            gradient=torch.where(wide, self.best_gradient, self.gradient),
            value=torch.where(halved, self.best_value, self.value),
            length=torch.where(halved, self.length / 2, self.length),
            rises=torch.zeros_like(self.rises),
            kept_length=~halved,
            value_then=self.best_value,
        )


@hookimpl
def robustfw_register(add):
    add("apgd-dlr", ApgdDlr)
