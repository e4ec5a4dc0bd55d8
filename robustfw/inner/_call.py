"""The attack behind `robustfw.worst_case`, and what it works out where its arguments leave something open."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Literal

import attrs
import torch
from torch import Tensor, nn

from robustfw.attack import Attack
from robustfw.errors import DataError, RobustfwWarning, UsageError
from robustfw.inner.adversary import Adversary
from robustfw.inner.freezing import (
    AscentMode,
    find_nets,
    freeze_all,
    hides_parameters,
    leave_inference,
    match_type,
)
from robustfw.inner.problem import Criterion, Forward
from robustfw.task import Classification, Task


@attrs.frozen(eq=False)
class WorstCases:
    """The result of `worst_case` with ``details=True``; every tensor has a row for each example."""

    x: Tensor
    """x̃, (batch, *shape)."""
    delta: Tensor
    """The member of the set by which x̃ was made."""
    outputs: Tensor
    """The net's outputs at x̃, in the form of the task."""
    loss: Tensor
    """J at x̃, (batch,)."""
    wrong: Tensor | None
    """Whether the criterion is met at x̃, (batch,) bool; without a criterion, whether the output is wrong. None where
    nothing says what is wrong."""


def find_worst_cases(
    model: nn.Module | Forward,
    x: Tensor,
    y: Tensor,
    adversary: Adversary,
    *,
    criterion: Criterion | Literal["wrong"] | None,
    mode: AscentMode,
    modules: Sequence[nn.Module],
    details: bool,
) -> Tensor | WorstCases:
    """Attack a batch, with all nets that are found frozen.

    Args:
        model: a net, or a function of x (batch, *shape) to outputs.
        x: examples (batch, *shape).
        y: targets, a row for each example.
        adversary: the attack with its loss and its threat; its task, where it has one, reads outputs and targets.
        criterion: what solves an example: a function, "wrong", or None for the attack's default.
        mode: "eval" or "train": batch norm and dropout during the attack.
        modules: nets to freeze besides those that are found in a function.
        details: whether to return δ, outputs, losses and verdicts as well.

    Returns:
        x̃, (batch, *shape), detached; or `WorstCases`.

    Raises:
        DataError: x, y, the outputs or the loss are not of the form that is needed.
        PluginError: the attack left its set, or returned something of another form.
        UsageError: the criterion is none, or says "wrong" where no task is known.
    """
    # 1. examples and targets in the right form, and what solves an example
    task = adversary.task
    threat = adversary.threat
    x, targets = check_inputs(x, y, task)
    solved = choose_criterion(criterion, adversary.attack, task)
    nets = [*find_nets(model), *modules]
    if not nets:
        warn_of_hidden_nets(model, x)
    forward = match_type(model, x)

    # 2. the attack
    with freeze_all(nets, mode):
        problem = adversary.problem(forward, x, targets, criterion=solved)
        if task is not None:
            problem = attrs.evolve(
                problem, forward=check_targets_once(problem.forward, task, targets)
            )
        delta = adversary.maximize(problem)
        perturbed = threat.apply(problem.region, x, delta)
        if not details:
            return perturbed

        # 3. a forward pass of its own, by whose outputs the examples are judged
        with torch.no_grad():
            outputs = problem.forward(perturbed.clone())
            judge = solved or (None if task is None else task.wrong)
            wrong = None if judge is None else judge(outputs, targets)
            return WorstCases(
                x=perturbed,
                delta=delta,
                outputs=outputs,
                loss=adversary.attack_loss(outputs, targets),
                wrong=wrong,
            )


def guess_task(y: Tensor, loss: object) -> Task | None:
    """The task that targets look like: classification, or None where a loss says what the outputs are for.

    Args:
        y: targets. Whole numbers (batch,) or (batch, 1) are labels; so are rows of 0 with one 1.
        loss: the loss that was given, or None.

    Raises:
        DataError: the targets are no labels, and there is no loss.
    """
    is_column = y.dim() == 1 or (y.dim() == 2 and y.shape[1] == 1)
    if not y.is_floating_point() and is_column:
        return Classification()
    if loss is not None:
        return None
    if y.dim() == 2:
        only_zeros_and_ones = ((y == 0) | (y == 1)).all(1)
        one_hot = only_zeros_and_ones & (y.sum(1) == 1)
        if bool(one_hot.all()):
            return Classification()
    dtype = str(y.dtype).removeprefix("torch.")
    raise DataError(
        f"targets are {dtype} of shape {tuple(y.shape)}, no class labels: say by "
        "task= what they are (binary, multilabel, regression, segmentation), or give a loss"
    )


def check_inputs(x: Tensor, y: Tensor, task: Task | None) -> tuple[Tensor, Tensor]:
    """Check examples and targets against each other.

    Args:
        x: examples (batch, *shape).
        y: targets.
        task: brings the targets into its form; None: they stay as they are.

    Returns:
        x and y, detached and as ordinary tensors, y in the form of the task.

    Raises:
        DataError: their numbers differ, or they have not the form that is needed.
    """
    x = leave_inference(x.detach())
    y = leave_inference(y)
    if len(x) != len(y):
        raise DataError(f"there are {len(x)} examples and {len(y)} targets")
    if task is None:
        return x, y
    return x, task.targets(y)


def check_targets_once(forward: Forward, task: Task, y: Tensor) -> Forward:
    """A function that gives the net's outputs, and checks at its first call that the targets fit them.

    Args:
        forward: the net; its outputs say how many classes or targets there are.
        task: checks the targets.
        y: targets in the form of the task.
    """
    unchecked = True

    def forward_with_check(x: Tensor) -> Tensor:
        nonlocal unchecked
        outputs = forward(x)
        if unchecked:
            task.check(y, outputs.shape[1])
            unchecked = False
        return outputs

    return forward_with_check


def choose_criterion(
    criterion: Criterion | str | None, attack: Attack, task: Task | None
) -> Criterion | None:
    """What solves an example, as a function of outputs and targets; None: nothing does.

    Args:
        criterion: a function, "wrong" for a wrong output, or None.
        attack: one that looks for the nearest perturbation needs a criterion; for it "wrong" is the default.
        task: says which outputs are wrong.

    Raises:
        UsageError: the criterion is none of these, or "wrong" where no task is known.
    """
    if callable(criterion):
        return criterion
    if criterion not in (None, "wrong"):
        raise UsageError(
            f'criterion is a function of outputs and y, "wrong", or None, not {criterion!r}'
        )
    if criterion is None and not attack.minimal:
        return None
    if task is None:
        if criterion is None:
            return None
        raise UsageError('criterion="wrong" needs to know what is wrong: give a task')
    return task.wrong


def draw_generator() -> torch.Generator:
    """A new generator whose seed is drawn from torch's global one."""
    seed = int(torch.randint(2**62, ()).item())
    return torch.Generator().manual_seed(seed)


def warn_of_hidden_nets(model: Forward, x: Tensor) -> None:
    """Warn where a function's outputs depend on parameters of a net that was not found, and so cannot be frozen.

    The warning points at the line that called `robustfw.worst_case`.
    """
    if not len(x):
        return
    with torch.inference_mode(mode=False), torch.enable_grad():
        outputs = model(x.clone())
    if isinstance(outputs, torch.Tensor) and hides_parameters(outputs):
        warnings.warn(
            "the function holds a net that was not found, so that it is not frozen: batch norm's statistics may "
            "change, and dropout may be on; name it by modules=[net]",
            RobustfwWarning,
            stacklevel=4,
        )
