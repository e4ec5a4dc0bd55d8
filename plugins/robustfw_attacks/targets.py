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
MEANING = "the likeliest wrong class, the least likely, one at random, or every one in turn"


def has_classes(problem: InnerProblem, logits: Tensor) -> bool:
    """Whether ``logits`` are those of two classes or more, (batch, classes), and y names one of them."""
    return problem.labelled and logits.dim() == 2 and logits.shape[1] > 1


def with_finite_logits(problem: InnerProblem) -> InnerProblem:
    """The problem with −10,000 for each logit of −∞, as other nets mask classes; as it is where y names no class.

    A masked class is no nearer for that, but how far it is has become a number: so have borders and targets.
    """
    return attrs.evolve(problem, forward=functools.partial(_finite, problem.forward)) if problem.labelled else problem


def _finite(forward: Forward, moved: Tensor) -> Tensor:
    return forward(moved).nan_to_num(nan=float("nan"), posinf=float("inf"), neginf=MASKED)


def others(logits: Tensor, y: Tensor) -> Tensor:
    """Each row's wrong classes, the likeliest first: (batch, classes − 1).

    Classes of equal logits come in their own order, those that are masked by −∞ last; y is never among them.
    """
    ranked = logits.argsort(dim=1, descending=True, stable=True)
    y_last = (ranked == y[:, None]).byte().argsort(dim=1, stable=True)
    return ranked.gather(1, y_last)[:, : logits.shape[1] - 1]


def targets(problem: InnerProblem, logits: Tensor, which: Target, generator: torch.Generator) -> list[Tensor]:
    """The labels (batch,) to move towards, one after the other; none where there is no other class, or no class.

    A problem that has a target keeps it.
    """
    import torch

    if problem.target is not None:
        return [problem.target]
    if not has_classes(problem, logits):
        return []
    ranked = others(logits, problem.y)
    if which == "best":
        return list(ranked.unbind(1))
    if which == "random":
        drawn = torch.randint(ranked.shape[1], (len(ranked), 1), generator=generator, device=generator.device)
        return [ranked.gather(1, drawn.to(ranked.device))[:, 0]]
    return [ranked[:, 0 if which == "second" else -1]]


@final
@attrs.frozen
class Targeted(Around):
    """Another attack on its way to another class: max_{δ ∈ 𝒰} −J(θ, x + δ, target), target chosen at x.

    A row counts as solved by the goal of its problem, whichever class it ends in, and of several targets each example
    keeps the one of highest J(θ, x + δ, y). A problem without labels is attacked as it is: it has nowhere else to go.
    """

    attack: Annotated[Attack, "what is run, in brackets: (pgd:steps=100)"] = attrs.field(factory=Pgd)
    target: Annotated[Target, MEANING] = attrs.field(default="second", validator=in_(TARGETS))

    @property
    def linear_share(self) -> float:
        """What the attack itself promises, where there is no class to move to."""
        return self.attack.linear_share

    def maximize(self, problem: InnerProblem, generator: torch.Generator) -> Tensor:
        """One run for each target, on the rows that are not solved yet, and two forward passes."""
        zero = problem.region.zero()
        if not len(problem):
            return zero
        problem = with_finite_logits(problem)
        logits = problem.logits(zero)
        chosen = targets(problem, logits, self.target, generator)
        if not chosen:
            return self.attack.maximize(problem, generator)
        best = Best(zero, problem.judged(logits))
        for target in chosen:
            rows = best.unsolved.nonzero()[:, 0]
            if not len(rows):
                break
            rest = problem[rows]
            delta = self.attack.maximize(rest.towards(target[rows]), generator)
            best.offer(delta, rest.value(delta), rows)
        return best.delta
