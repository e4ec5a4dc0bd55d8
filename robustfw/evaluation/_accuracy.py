"""Clean and robust accuracy: the worst case of each example, decided by a forward pass of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import attrs
import torch
from torch import nn

from robustfw import losses
from robustfw.attack import Attack
from robustfw.data.splits import Split
from robustfw.errors import DataError, UsageError
from robustfw.evaluation._batches import MeasuredBatch, measure_batches, peak_memory
from robustfw.evaluation._evaluation import Evaluation
from robustfw.evaluation._known import KnownCases
from robustfw.evaluation._measurement import AttackedBatch, Measurement
from robustfw.evaluation._verdicts import Verdicts
from robustfw.inner.adversary import Adversary
from robustfw.inner.escalation import Escalation
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
    keep_examples: bool = False,
    known: KnownCases | None = None,
    escalation: Escalation | None = None,
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
        keep_examples: keep x, its worst case and the outputs of both, for ``examples`` of the result.
        known: what has fooled the net before, which is tried first and added to.
        escalation: how the net is attacked where its gradients are masked.

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
        keep_examples=keep_examples,
        known=known,
        escalation=escalation,
    )
    evaluation = Evaluation.from_verdicts(Verdicts.concatenate(batches), classes, task)
    triggers = () if escalation is None else escalation.triggers
    return attrs.evolve(evaluation, escalation=triggers)


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
    after: Verdicts | None = None,
    see: Callable[[AttackedBatch], None] | None = None,
    keep_examples: bool = False,
    known: KnownCases | None = None,
    escalation: Escalation | None = None,
) -> Iterator[Verdicts]:
    """The verdicts batch by batch, so that a caller can show progress or stop.

    Only examples that are right to begin with are attacked, by each attack in turn those that withstood the ones
    before: the worst case per example. Where a task says how wrong an output is, all are attacked by all, to the end.
    Nothing that an attack says is believed: membership in the set is measured, and whether an example is fooled is
    decided by another forward pass.

    A batch that memory has no room for is halved, and so are those that follow. Each batch has random numbers of its
    own, by its number, so that then all is as with the smaller ``batch_size`` (see `measure_batches`).

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
        after: verdicts on the first examples, by an earlier call that was stopped; only those that follow are given.
        see: is shown the worst case of each attack, once a batch is measured.
        keep_examples: keep x, its worst case and the outputs of both in the verdicts, in the memory of the CPU.
        known: what has fooled the net before, by the places of the examples in the split. It is tried first, and what
            the attacks find is added to it.
        escalation: how the net is attacked where its gradients are masked (`robustfw.evaluation.find_escalation`).

    Raises:
        PluginError: a perturbation lies outside its set or the data range.
        DataError: the split is empty, an example has no label, or outputs or labels do not fit the task.
        UsageError: there is no attack, or one that says of itself that it leaves the set.

    Warns:
        RobustfwWarning: a batch was halved.
    """
    task = task or Classification()
    check_measurable(model, split, attacks, batch_size)
    device = device_of(model)

    def measure(batch: MeasuredBatch) -> Verdicts:
        """The verdicts on one batch; what was attacked is shown when all of it has succeeded."""
        start = time.perf_counter()
        adversaries = [
            Adversary(
                threat, attack, batch.generator, task, loss, escalation or Escalation()
            )
            for attack in attacks
        ]
        attacked: list[AttackedBatch] = []
        with freeze(model):
            measurement = Measurement(
                model=model,
                x=leave_inference(batch.x),
                y=leave_inference(batch.y),
                task=task,
                classes=classes,
                adversaries=adversaries,
                see=None if see is None else attacked.append,
                keep_examples=keep_examples,
                check_randomness=int(batch.rows[0]) == 0,
                known=None if known is None else known.at(batch.rows),
            )
            verdicts = measurement.verdicts(start)
        if known is not None:
            known.note(batch.rows, measurement)
        for attacked_batch in attacked:
            if see is not None:
                see(attacked_batch)
        return attrs.evolve(verdicts, batch_size=batch.size, memory=peak_memory(device))

    if after is not None:
        # what memory had no room for then, it has no room for now
        batch_size = min(batch_size, after.batch_size)
    # the model is not frozen while the caller has the floor
    yield from measure_batches(
        split,
        measure,
        batch_size=batch_size,
        seed=seed,
        device=device,
        start=0 if after is None else len(after),
    )


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
