"""Clean and robust accuracy: the worst case of each example, decided by a forward pass of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import nn

from robustfw import losses
from robustfw.attack import Attack
from robustfw.data.splits import Split
from robustfw.errors import DataError, UsageError
from robustfw.evaluation._measurement import AttackedBatch, Measurement
from robustfw.evaluation._verdicts import Evaluation, Verdicts
from robustfw.inner._randomness import generator_for
from robustfw.inner.adversary import Adversary
from robustfw.inner.freezing import freeze, leave_inference
from robustfw.inner.threat import Threat
from robustfw.task import Classification, Task


def evaluate(
    model: nn.Module,
    split: Split,
    *,
    threat: Threat,
    attacks: Sequence[Attack],
    classes: int | None = None,
    task: Task | None = None,
    loss: losses.LossFunction | None = None,
    batch_size: int = 500,
    seed: int = 0,
) -> Evaluation:
    """Clean and robust accuracy of a model on a split; `verdicts` says what is done.

    Args:
        model: outputs of x (batch, *shape).
        split: the examples.
        threat: the set and the data range.
        attacks: what is tried, one after the other.
        classes: how many classes, labels or targets there are; None: as many as the net has outputs.
        task: what the outputs are for; classification by default.
        loss: what attacks raise; None: the task's.
        batch_size: examples that are attacked together.
        seed: of the attacks' randomness; each batch has a generator of its own.

    Returns:
        Counts, accuracies with 95 % intervals, costs, and the verdict on each example.

    Raises:
        PluginError: a perturbation lies outside its set or the data range.
        DataError: the split is empty, an example has no label, or outputs or labels do not fit the task.
        UsageError: there is no attack, or one that says of itself that it leaves the set.
    """
    batches = verdicts(
        model,
        split,
        threat=threat,
        attacks=attacks,
        classes=classes,
        task=task,
        loss=loss,
        batch_size=batch_size,
        seed=seed,
    )
    return Evaluation.from_verdicts(Verdicts.concatenate(batches), classes, task)


def verdicts(
    model: nn.Module,
    split: Split,
    *,
    threat: Threat,
    attacks: Sequence[Attack],
    classes: int | None = None,
    task: Task | None = None,
    loss: losses.LossFunction | None = None,
    batch_size: int = 500,
    seed: int = 0,
    skip: int = 0,
    see: Callable[[AttackedBatch], None] | None = None,
) -> Iterator[Verdicts]:
    """The verdicts batch by batch, so that a caller can show progress or stop.

    Only examples that are right to begin with are attacked, by each attack in turn those that withstood the ones
    before: the worst case per example. Where a task says how wrong an output is, all are attacked by all, to the end.
    Nothing that an attack says is believed: membership in the set is measured, and whether an example is fooled is
    decided by another forward pass.

    Args:
        model: outputs of x (batch, *shape).
        split: the examples.
        threat: the set and the data range.
        attacks: what is tried, one after the other.
        classes: how many classes, labels or targets there are; None: as many as the net has outputs.
        task: what the outputs are for; classification by default.
        loss: what attacks raise; None: the task's.
        batch_size: examples that are attacked together.
        seed: of the attacks' randomness; each batch has a generator of its own.
        skip: batches at the start that are left out, as they were measured before.
        see: is shown the worst case of each attack.

    Raises:
        PluginError: a perturbation lies outside its set or the data range.
        DataError: the split is empty, an example has no label, or outputs or labels do not fit the task.
        UsageError: there is no attack, or one that says of itself that it leaves the set.
    """
    task = task or Classification()
    check_measurable(model, split, attacks, batch_size)
    rows_of_batches = torch.arange(len(split)).split(batch_size)
    generators = (
        generator_for(seed, "attack", number)
        for number in range(skip, len(rows_of_batches))
    )
    batches = split.batches(rows_of_batches[skip:], device_of(model))
    for (x, y), generator in zip(batches, generators, strict=True):
        adversaries = [
            Adversary(threat, attack, generator, task, loss) for attack in attacks
        ]
        start = time.perf_counter()
        with freeze(model):
            measurement = Measurement(
                model=model,
                x=leave_inference(x),
                y=leave_inference(y),
                task=task,
                classes=classes,
                adversaries=adversaries,
                see=see,
            )
            batch_verdicts = measurement.verdicts(start)
        # outside: the model is not frozen while the caller has the floor
        yield batch_verdicts


def check_measurable(
    model: object, split: Split, attacks: Sequence[Attack], batch_size: int
) -> None:
    """Raise where there is nothing to measure, or nothing to measure by.

    Args:
        model: must be a `torch.nn.Module`.
        split: must have an example.
        attacks: there must be one, and none that says of itself that it leaves the set.
        batch_size: must be 1 at least.

    Raises:
        DataError: the split is empty.
        UsageError: anything else of this is missing.
    """
    if not isinstance(model, nn.Module):
        raise UsageError(
            f"the net is a {type(model).__name__}: give a torch.nn.Module, whose modes and parameters are put back "
            "afterwards (robustfw.worst_case takes functions)"
        )
    if batch_size < 1:
        raise UsageError(
            f"batch_size is {batch_size}: a batch has one example at least"
        )
    if not len(split):
        raise DataError("there is not one example to evaluate")
    if not attacks:
        raise UsageError(
            "there is not one attack: without any, robust accuracy would be the clean one; name one"
        )
    for attack in attacks:
        Adversary.check_honest_attack(attack)


def device_of(model: nn.Module) -> torch.device:
    """The device of a net's parameters; the CPU where it has none."""
    return next((p.device for p in model.parameters()), torch.device("cpu"))
