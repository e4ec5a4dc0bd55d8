"""Has the net learnt to fool its attack? Catastrophic overfitting (Wong et al. 2020) and label leaking."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor, nn

from robustfw import losses
from robustfw.attack import Attack
from robustfw.inner import Bounds, applied, frozen, maximized, region_at
from robustfw.problem import InnerProblem
from robustfw.regions import inner_products, norms
from robustfw.uncertainty import UncertaintySet

TOLERATED_GAP = 0.1
"""A lead of the training attack's accuracy that is normal where it is a single step."""


@attrs.frozen
class Symptoms:
    """How the net fares under the attack it is trained with, on held-out examples."""

    attack_accuracy: float
    """Share of all examples that are right at the attack's x̃, whether or not they are right at x."""
    gradient_alignment: float
    """Mean cosine between ∇ₓJ at x and at a random member of 𝒰(x); it breaks down when the net overfits."""


def examine(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    uncertainty: UncertaintySet,
    attack: Attack,
    bounds: Bounds,
    generator: torch.Generator,
) -> Symptoms:
    """The symptoms on one batch."""
    region = region_at(x, uncertainty, bounds)
    problem = InnerProblem(model, losses.cross_entropy, x, y, region)
    with frozen(model):
        moved = applied(region, x, maximized(attack, problem, generator), bounds)
        with torch.no_grad():
            right = ~losses.misclassified(model(moved), y)
        _, here = problem.value_and_grad(region.zero())
        _, there = problem.value_and_grad(region.sample(generator))
    cosine = inner_products(here, there) / (norms(here) * norms(there)).clamp(min=1e-30)
    return Symptoms(float(right.float().mean()), float(cosine.mean()))


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
