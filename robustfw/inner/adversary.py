"""The adversary: an attack within a threat, and the one way from an attack to a verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import final

import attrs
import torch
from torch import Tensor

from robustfw import losses
from robustfw.attack import Attack
from robustfw.errors import PluginError, UsageError
from robustfw.inner.escalation import Escalation
from robustfw.inner.problem import Criterion, Forward, InnerProblem, Passes
from robustfw.inner.threat import Threat
from robustfw.regions import Region, norms
from robustfw.task import Task

TOLERANCE = 1e-5
"""Largest violation of its set by a perturbation that counts as rounding, relative to 1 + ‖δ‖₂."""


@attrs.frozen(eq=False)
class Attempt:
    """The result of an attack on the rows of a problem."""

    delta: Tensor
    """A member of each row's region."""
    perturbed: Tensor
    """The perturbed examples x̃, (batch, *shape)."""
    outputs: Tensor
    """The net's outputs at x̃, in the form of the task."""
    wrong: Tensor
    """Whether the criterion is met at x̃, (batch,), decided by a separate forward pass."""

    @classmethod
    def concatenate(cls, parts: Sequence[Attempt]) -> Attempt:
        """The rows of several results as one result, in the order of the parts."""
        return cls(
            delta=torch.cat([part.delta for part in parts]),
            perturbed=torch.cat([part.perturbed for part in parts]),
            outputs=torch.cat([part.outputs for part in parts]),
            wrong=torch.cat([part.wrong for part in parts]),
        )

    def __getitem__(self, rows: Tensor) -> Attempt:
        """The result for some of the rows, given as a mask or as indices."""
        return Attempt(
            delta=self.delta[rows],
            perturbed=self.perturbed[rows],
            outputs=self.outputs[rows],
            wrong=self.wrong[rows],
        )


@final
@attrs.frozen(eq=False)
class Adversary:
    """An attack that raises a loss within a threat, with the generator of its randomness.

    `attempt` goes the whole way from an attack to a verdict: δ, its form and its membership in the set, x̃ = x + δ,
    the net's outputs there, and whether they are wrong.
    """

    threat: Threat
    attack: Attack
    generator: torch.Generator
    task: Task | None = None
    """Brings outputs and targets into the form of the loss; None: the given loss takes them as they are."""
    loss: losses.LossFunction | None = None
    """The loss that the attack raises; None: the task's loss."""
    escalation: Escalation = Escalation()
    """How a net is attacked whose gradients are masked, or whose outputs are random."""

    @property
    def attack_loss(self) -> losses.LossFunction:
        """The loss that the attack raises: the given one, or the task's.

        Raises:
            UsageError: there is neither a task nor a loss.
        """
        if self.loss is not None:
            return self.loss
        if self.task is None:
            raise UsageError(
                "neither a task nor a loss is given, so that there is nothing to raise"
            )
        return self.task.loss

    def read(self, net: Callable[[Tensor], Tensor]) -> Forward:
        """A function x ↦ outputs of the net in the form of the task."""
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
        criterion: Criterion | None = None,
        region: Region | None = None,
        start: Tensor | None = None,
        passes: Passes | None = None,
        meta: Mapping[str, Tensor] | None = None,
        checked: bool = False,
    ) -> InnerProblem:
        """max_{δ ∈ 𝒰(x)} J(net(x + δ), y) within the data range, for each row.

        Args:
            net: x (batch, *shape) to outputs; frozen by the caller (`robustfw.inner.freezing.freeze`).
            x: examples (batch, *shape).
            y: targets in the form of the task.
            criterion: (outputs, targets) ↦ mask of the rows that are solved; None: no row ever is.
            region: 𝒰(x) within the data range, if the caller has it already.
            start: members of the region at which an iterated attack begins.
            passes: the counter of forward and backward passes; None: a new one.
            meta: further data of each row, (batch, …) by name.
            checked: x is known to be finite and within bounds; the check waits for the device.

        Raises:
            DataError: x is not floating point, or not within bounds.
        """
        if region is None:
            region = self.threat.region(x, checked=checked)
        counted = passes if passes is not None else Passes()
        return InnerProblem(
            forward=self.read(net),
            loss=self.attack_loss,
            x=x,
            y=y,
            region=region,
            criterion=criterion,
            passes=counted,
            start=start,
            meta=meta or {},
        )

    def maximize(self, problem: InnerProblem, *, trusted: bool = False) -> Tensor:
        """Run the attack: δ of the region's shape and type, detached, with its form and its membership checked.

        Args:
            problem: the rows that are attacked.
            trusted: skip the check of membership, which costs a pass over δ.

        Raises:
            PluginError: the attack returned something of another shape or type, or left the set.
        """
        delta = self.attack.maximize(problem, self.generator).detach()
        like = problem.region.like
        if delta.shape != like.shape or delta.dtype != like.dtype:
            name = type(self.attack).__name__
            form = f"{tuple(delta.shape)} {delta.dtype}"
            wanted = f"{tuple(like.shape)} {like.dtype}"
            raise PluginError(f"{name} returned {form} for perturbations of {wanted}")
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
            name = type(self.attack).__name__
            count = int(outside.sum())
            farthest = float(violation.nan_to_num(torch.inf).max())
            raise PluginError(
                f"{name} left the uncertainty set: {count} of {len(delta)} perturbations, by up to {farthest:.3g}; "
                "its numbers cannot be used"
            )

    @staticmethod
    def check_honest_attack(attack: Attack) -> None:
        """Raise a `UsageError` for an attack that declares that it may leave the set (`Attack.stays_inside`)."""
        if not attack.stays_inside:
            raise UsageError(
                f"{type(attack).__name__} may leave the uncertainty set, as its author declares: it is for training, "
                "and nothing can be measured by it; evaluate with another attack"
            )

    def attempt(self, problem: InnerProblem, judge: Criterion | None = None) -> Attempt:
        """Attack the rows, and decide by a separate forward pass which of them are wrong.

        The values that the attack has computed itself are not used.

        Args:
            problem: the rows.
            judge: (outputs, targets) ↦ mask of the wrong ones, (batch,); by default the problem's criterion.

        Raises:
            PluginError: the attack returned something of another shape or type, or left the set.
            UsageError: there is neither a judge nor a criterion.
        """
        judge = judge or problem.criterion
        if judge is None:
            raise UsageError(
                "a problem without a criterion has no verdict: say what is wrong"
            )
        delta = self.maximize(self.escalation.seen(problem))
        perturbed = self.threat.apply(problem.region, problem.x, delta)
        outputs, wrong = self.decide(problem.forward, perturbed, problem.y, judge)
        return Attempt(delta, perturbed, outputs, wrong)

    def decide(
        self, forward: Forward, x: Tensor, y: Tensor, judge: Criterion
    ) -> tuple[Tensor, Tensor]:
        """The outputs at x, and which of them are wrong; of a random net by the majority of several passes.

        Args:
            forward: x ↦ outputs in the form of the task.
            x: examples, perturbed or not, (batch, *shape).
            y: targets in the form of the task.
            judge: (outputs, targets) ↦ mask of the wrong ones, (batch,).

        Returns:
            Outputs, the mean of several passes where there are several, and the mask, (batch,).
        """
        judges = self.escalation.judges
        outputs = []
        votes = torch.zeros(len(x), device=x.device)
        with torch.no_grad():
            for _ in range(judges):
                # a net may change its input in place, so it gets a copy
                outputs.append(forward(x.clone()))
                votes += judge(outputs[-1], y)
        if judges == 1:
            return outputs[0], votes > 0
        return torch.stack(outputs).mean(0), 2 * votes > judges

    def replay(self, problem: InnerProblem, delta: Tensor) -> Attempt:
        """Judge members that were found before, as `attempt` judges what the attack finds.

        Nothing is raised for one that is not in its set, or not of its form: it fools nobody.

        Args:
            problem: the rows, with a criterion.
            delta: a perturbation of each row.

        Raises:
            UsageError: the problem has no criterion.
        """
        if problem.criterion is None:
            raise UsageError(
                "a problem without a criterion has no verdict: say what is wrong"
            )
        region = problem.region
        like = region.like
        if delta.shape != like.shape:
            delta = region.zero()
        delta = delta.to(like)
        violation = region.violation(delta)
        is_member = violation <= TOLERANCE * (1 + norms(delta.double()))
        is_member &= delta.flatten(1).isfinite().all(1)
        # what is no member is not even looked at
        delta = torch.where(_column(is_member, delta), delta, region.zero())
        perturbed = self.threat.apply(region, problem.x, delta)
        problem.passes.forward += len(problem)
        outputs, wrong = self.decide(
            problem.forward, perturbed, problem.y, problem.criterion
        )
        return Attempt(delta, perturbed, outputs, wrong & is_member)


def _column(mask: Tensor, like: Tensor) -> Tensor:
    """A mask of rows, (batch,), as one that broadcasts to ``like``, (batch, *shape)."""
    return mask.reshape(-1, *[1] * (like.dim() - 1))
