"""A few examples under attack, with the net's outputs before and after: not a measurement, but a look at each."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor, nn

from robustfw import losses
from robustfw.attack import Attack
from robustfw.evaluation._accuracy import device_of
from robustfw.evaluation._rounding import find_outputs
from robustfw.inner._randomness import generator_for
from robustfw.inner.adversary import Adversary
from robustfw.inner.freezing import freeze
from robustfw.inner.problem import Criterion
from robustfw.inner.threat import Threat
from robustfw.task import Task


@attrs.frozen(eq=False)
class AttackedExamples:
    """Examples before and after an attack, in the memory of the CPU."""

    x: Tensor
    """The examples, (n, *shape)."""
    y: Tensor
    """The class of each, (n,)."""
    clean_outputs: Tensor
    """The net's outputs at x, (n, classes)."""
    perturbed: Tensor
    """x̃, (n, *shape)."""
    outputs: Tensor
    """The net's outputs at x̃, (n, classes)."""
    reached: Tensor
    """Whether the attack has reached its aim, (n,)."""


def attack_examples(
    model: nn.Module,
    x: Tensor,
    *,
    label: int | None,
    target: int | None,
    threat: Threat,
    attack: Attack,
    task: Task,
    loss: losses.LossFunction | None = None,
    batch_size: int = 500,
    seed: int = 0,
) -> AttackedExamples:
    """Attack examples together, away from their class or towards another.

    Args:
        model: logits of x (batch, *shape).
        x: the examples, (n, *shape), n at least 1.
        label: the class of all of them; None: what the net says of each.
        target: the class that the net shall say; None: any but theirs.
        threat: the set within the data range.
        attack: what is tried.
        task: one whose targets are classes.
        loss: what the attack raises; None: the task's.
        batch_size: examples of one forward pass before the attack.
        seed: of the attack's randomness.
    """
    clean_outputs = find_outputs(model, x, task, batch_size)
    y = clean_outputs.argmax(1)
    if label is not None:
        y = torch.full_like(y, label)
    device = device_of(model)
    adversary = Adversary(threat, attack, generator_for(seed, "attack", 0), task, loss)
    criterion: Criterion = task.wrong if target is None else _says(target)
    with freeze(model):
        problem = adversary.problem(
            model, x.to(device), y.to(device), criterion=criterion
        )
        if target is not None:
            problem = problem.with_target(torch.full_like(problem.y, target))
        attempt = adversary.attempt(problem)
    return AttackedExamples(
        x=x,
        y=y,
        clean_outputs=clean_outputs,
        perturbed=attempt.perturbed.cpu(),
        outputs=attempt.outputs.cpu(),
        reached=attempt.wrong.cpu(),
    )


def _says(target: int) -> Criterion:
    """The criterion that the net says one class."""
    return lambda outputs, _: outputs.argmax(1) == target
