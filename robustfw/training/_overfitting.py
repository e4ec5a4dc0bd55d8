"""Has the net learnt to fool its attack? Catastrophic overfitting (Wong et al. 2020) and label leaking."""

from __future__ import annotations

import attrs
from torch import Tensor, nn

from robustfw.inner.adversary import Adversary
from robustfw.inner.freezing import freeze
from robustfw.regions import inner_products, norms
from robustfw.task import Task

TOLERATED_GAP = 0.1
"""A lead of the training attack's accuracy that is normal where it is a single step."""


@attrs.frozen
class Symptoms:
    """How the net fares under the attack it is trained with, on held-out examples."""

    attack_accuracy: float
    """Share of all examples that are right at the attack's x̃, whether or not they are right at x."""
    gradient_alignment: float
    """Mean cosine between ∇ₓJ at x and at a random member of 𝒰(x); it breaks down when the net overfits."""


def examine(model: nn.Module, x: Tensor, y: Tensor, adversary: Adversary, task: Task) -> Symptoms:
    """The symptoms on one batch.

    Args:
        model: outputs of x (batch, *shape).
        x: held-out examples.
        y: their targets in the form of the task.
        adversary: the one that the net is trained against.
        task: what the outputs are for.
    """
    with freeze(model):
        problem = adversary.problem(model, x, y)
        region = problem.region
        attempt = adversary.attempt(problem, judge=task.wrong)
        _, here = problem.value_and_grad(region.zero())
        _, there = problem.value_and_grad(region.sample(adversary.generator))
    return Symptoms(float((~attempt.wrong).float().mean()), float(_cosines(here, there).mean()))


def _cosines(left: Tensor, right: Tensor) -> Tensor:
    """cos of the angle between the rows, (batch,), however small they are; 0 where one of them is 0."""
    left, right = (_with_unit_maximum(each.double().flatten(1)) for each in (left, right))
    lengths = norms(left) * norms(right)
    return inner_products(left, right) / lengths.where(lengths > 0, 1)


def _with_unit_maximum(rows: Tensor) -> Tensor:
    largest = rows.abs().amax(1, keepdim=True)
    return rows / largest.where(largest > 0, 1)


@attrs.frozen
class Diagnosis:
    """What the symptoms mean."""

    overfitted: bool
    gap: float
    """Lead of the training attack's accuracy over the validation attack's."""
    warnings: tuple[str, ...]


def diagnose(
    symptoms: Symptoms, clean_accuracy: float, robust_accuracy: float, *, smallest_gap: float, limit: float
) -> Diagnosis:
    """Overfitted: the many-step accuracy fell behind the training attack's by ``limit`` more than it used to."""
    gap = symptoms.attack_accuracy - robust_accuracy
    overfitted = gap > min(smallest_gap, TOLERATED_GAP) + limit
    warnings = []
    if overfitted:
        warnings.append(
            f"catastrophic overfitting: accuracy is {symptoms.attack_accuracy:.1%} under the training attack but "
            f"{robust_accuracy:.1%} under the validation attack; use more steps, a smaller step or a random start"
        )
    if symptoms.attack_accuracy > clean_accuracy + 0.02:
        warnings.append(
            f"label leaking: the net is better on attacked examples ({symptoms.attack_accuracy:.1%}) than on clean "
            f"ones ({clean_accuracy:.1%}); use more steps or a random start"
        )
    return Diagnosis(overfitted, gap, tuple(warnings))
