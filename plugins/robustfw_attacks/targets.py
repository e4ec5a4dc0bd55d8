"""Which class a targeted attack moves towards."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias, final

import attrs
from attrs.validators import in_

from robustfw import Attack
from robustfw_attacks.around import Around
from robustfw_attacks.best import Best
from robustfw_attacks.iterated import Pgd

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from robustfw.inner.problem import Forward, InnerProblem

Target: TypeAlias = Literal["second", "least-likely", "random", "best"]
TARGETS = ("second", "least-likely", "random", "best")
MASKED = -1e4
"""The logit of a class that is masked by −∞; float16 has it, too."""
MEANING = (
    "the likeliest wrong class, the least likely, one at random, or every one in turn"
)


def has_classes(problem: InnerProblem, logits: Tensor) -> bool:
    """Whether ``logits`` are those of two classes or more, (batch, classes), and y names one of them."""
    return problem.labelled and logits.dim() == 2 and logits.shape[1] > 1


def mask_finitely(problem: InnerProblem) -> InnerProblem:
    """The problem with −10,000 for each logit of −∞; unchanged where y names no class.

    A class that is masked by −∞ has no distance. With a finite logit, as other nets mask classes, it has one that is as
    far as before in practice, so that borders and targets are numbers.
    """
    if not problem.labelled:
        return problem
    return attrs.evolve(
        problem, forward=functools.partial(_forward_finitely, problem.forward)
    )


def _forward_finitely(forward: Forward, x: Tensor) -> Tensor:
    """The logits of ``forward`` with `MASKED` in place of −∞."""
    return forward(x).nan_to_num(nan=float("nan"), posinf=float("inf"), neginf=MASKED)


def rank_rivals(logits: Tensor, y: Tensor) -> Tensor:
    """Each row's wrong classes, the likeliest first, (batch, classes − 1).

    Classes of equal logits come in the order of their numbers, those that are masked by −∞ last; y is not among them.
    """
    ranked = logits.argsort(dim=1, descending=True, stable=True)
    y_last = (ranked == y[:, None]).byte().argsort(dim=1, stable=True)
    return ranked.gather(1, y_last)[:, : logits.shape[1] - 1]


def targets(
    problem: InnerProblem, logits: Tensor, which: Target, generator: torch.Generator
) -> list[Tensor]:
    """The labels (batch,) to move towards, one after the other; none where there is no other class, or no class.

    A problem that has a target keeps it.

    Args:
        problem: its y are the labels to move away from.
        logits: outputs of the net at x, (batch, classes).
        which: the likeliest wrong class, the least likely, one at random, or all ("best").
        generator: draws the random class.
    """
    import torch

    if problem.target is not None:
        return [problem.target]
    if not has_classes(problem, logits):
        return []
    rivals = rank_rivals(logits, problem.y)
    if which == "best":
        return list(rivals.unbind(1))
    if which == "random":
        draws = torch.randint(
            rivals.shape[1],
            (len(rivals), 1),
            generator=generator,
            device=generator.device,
        )
        return [rivals.gather(1, draws.to(rivals.device))[:, 0]]
    if which == "second":
        return [rivals[:, 0]]
    return [rivals[:, -1]]


@final
@attrs.frozen
class Targeted(Around):
    """Another attack on its way to another class: max_{δ ∈ 𝒰} −J(θ, x + δ, target), target chosen at x.

    A row counts as solved by the criterion of its problem, whichever class it ends in, and of several targets each
    example keeps the one of highest J(θ, x + δ, y). A problem without labels is attacked as it is: it has nowhere
    else to go.
    """

    attack: Annotated[Attack, "what is run, in brackets: (pgd:steps=100)"] = (
        attrs.field(factory=Pgd)
    )
    target: Annotated[Target, MEANING] = attrs.field(
        default="second", validator=in_(TARGETS)
    )

    @property
    def linear_share(self) -> float:
        """The inner attack's share, which holds where there is no class to move to."""
        return self.attack.linear_share

    def maximize(self, problem: InnerProblem, generator: torch.Generator) -> Tensor:
        """The worst δ over the targets, (batch, *shape).

        It takes one run for each target, on the rows that are not solved yet, and two forward passes.
        """
        zero = problem.region.zero()
        if not len(problem):
            return zero
        problem = mask_finitely(problem)
        logits = problem.logits(zero)
        labels = targets(problem, logits, self.target, generator)
        if not labels:
            return self.attack.maximize(problem, generator)
        best = Best(zero, problem.evaluate_outputs(logits))
        for target in labels:
            rows = best.open_mask.nonzero()[:, 0]
            if not len(rows):
                break
            unsolved = problem[rows]
            delta = self.attack.maximize(unsolved.with_target(target[rows]), generator)
            # attacked on the way to the target, judged by the problem's own loss
            best.offer(delta, unsolved.value(delta), rows)
        return best.delta
