"""What is tried within a threat, and the one way from an attack to a verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import final

import attrs
import torch
from torch import Tensor

from robustfw import losses
from robustfw.attack import Attack
from robustfw.errors import PluginError, UsageError
from robustfw.inner.problem import Forward, Goal, InnerProblem, Passes
from robustfw.inner.threat import Threat
from robustfw.regions import Region, norms
from robustfw.task import Task

TOLERANCE = 1e-5
"""How far outside its set a perturbation may lie, relative to 1 and to its own size: rounding, nothing else."""


@attrs.frozen(eq=False)
class Attempt:
    """What an attack has made of the rows of a problem."""

    delta: Tensor
    """A member of each row's region."""
    moved: Tensor
    """x̃, (batch, *shape)."""
    outputs: Tensor
    """The net's at x̃, in the form of the task."""
    wrong: Tensor
    """Whether the goal is reached at x̃, (batch,), by a forward pass of its own."""

    @classmethod
    def joined(cls, parts: Sequence[Attempt]) -> Attempt:
        """Several as one, one after the other."""
        names = [field.name for field in attrs.fields(cls)]
        return cls(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})

    def __getitem__(self, rows: Tensor) -> Attempt:
        return Attempt(self.delta[rows], self.moved[rows], self.outputs[rows], self.wrong[rows])


@final
@attrs.frozen(eq=False)
class Adversary:
    """An attack that raises a loss within a threat, with the generator of its randomness.

    It knows the way from an attack to a verdict: δ, its form and its membership in the set, x̃ = x + δ, the net's
    outputs there, and whether they are wrong.
    """

    threat: Threat
    attack: Attack
    generator: torch.Generator
    task: Task | None = None
    """How outputs and targets are read; None: as they are, by a loss that is given."""
    loss: losses.LossFunction | None = None
    """What is raised; None: the task's loss."""

    @property
    def raised(self) -> losses.LossFunction:
        """The loss that the attack raises."""
        if self.loss is not None:
            return self.loss
        if self.task is None:
            raise UsageError("neither a task nor a loss is given, so that there is nothing to raise")
        return self.task.loss

    def read(self, net: Callable[[Tensor], Tensor]) -> Forward:
        """The net as problems see it: its outputs in the form of the task."""
        task = self.task
        if task is None:
            return net
        return lambda x: task.read(net(x), len(x))

    def problem(
        self,
        net: Callable[[Tensor], Tensor],
        x: Tensor,
        y: Tensor,
        *,
        goal: Goal | None = None,
        region: Region | None = None,
        start: Tensor | None = None,
        passes: Passes | None = None,
        meta: Mapping[str, Tensor] | None = None,
        checked: bool = False,
    ) -> InnerProblem:
        """max_{δ ∈ 𝒰(x)} J(net(x + δ), y) within the data range, for each row.

        Args:
            net: x (batch, *shape) to outputs; frozen by the caller (`robustfw.inner.worst_case.frozen`).
            x: examples (batch, *shape).
            y: targets in the form of the task.
            goal: what solves a row; None: nothing does.
            region: the region, where the caller has it already.
            start: members that an iterated attack begins at.
            passes: counts the work done.
            meta: what else is known of each row.
            checked: x is known to be finite and within bounds; to look costs a wait for the device.

        Raises:
            DataError: x is not floating point, or not within bounds.
        """
        if region is None:
            region = self.threat.region(x, checked=checked)
        counted = passes if passes is not None else Passes()
        return InnerProblem(
            self.read(net), self.raised, x, y, region, goal=goal, passes=counted, start=start, meta=meta or {}
        )

    def maximize(self, problem: InnerProblem, *, trusted: bool = False) -> Tensor:
        """The attack's δ, detached, with its form and its membership checked.

        Args:
            problem: the rows that are attacked.
            trusted: its membership is not looked at, which costs a pass over δ.

        Raises:
            PluginError: the attack returned something of another shape or type, or left the set.
        """
        delta = self.attack.maximize(problem, self.generator).detach()
        like = problem.region.like
        if delta.shape != like.shape or delta.dtype != like.dtype:
            raise PluginError(
                f"{type(self.attack).__name__} returned {tuple(delta.shape)} {delta.dtype} for perturbations "
                f"of {tuple(like.shape)} {like.dtype}"
            )
        if not trusted and self.attack.stays_inside:
            self.check_membership(problem.region, delta)
        return delta

    def check_membership(self, region: Region, delta: Tensor) -> None:
        """Raise a `PluginError` that names the attack if a perturbation is outside its set by more than rounding."""
        if not len(delta):
            return
        violation = region.violation(delta)
        outside = violation > TOLERANCE * (1 + norms(delta.double()))
        if bool(outside.any()) or not bool(delta.isfinite().all()):
            raise PluginError(
                f"{type(self.attack).__name__} left the uncertainty set: {int(outside.sum())} of {len(delta)} "
                f"perturbations, by up to {float(violation.nan_to_num(torch.inf).max()):.3g}; its numbers cannot be "
                "used"
            )

    @staticmethod
    def check_honest_attack(attack: Attack) -> None:
        """Raise a `UsageError` where an attack says of itself that it may leave the set: what it finds is no member."""
        if not attack.stays_inside:
            raise UsageError(
                f"{type(attack).__name__} may leave the uncertainty set, as its author declares: it is for training, "
                "and nothing can be measured by it; evaluate with another attack"
            )

    def attempt(self, problem: InnerProblem, judge: Goal | None = None) -> Attempt:
        """Attack the rows, and decide by a forward pass of its own which of them are wrong.

        Nothing that an attack says is believed: the values that it has seen count for nothing.

        Args:
            problem: the rows.
            judge: says which outputs are wrong; by default the problem's goal.

        Raises:
            PluginError: as `maximize`.
            UsageError: nothing says what is wrong.
        """
        judge = judge or problem.goal
        if judge is None:
            raise UsageError("a problem without a goal has no verdict: say what is wrong")
        delta = self.maximize(problem)
        moved = self.threat.apply(problem.region, problem.x, delta)
        with torch.no_grad():
            outputs = problem.forward(moved.clone())  # a net may change its input in place
        return Attempt(delta, moved, outputs, judge(outputs, problem.y))
