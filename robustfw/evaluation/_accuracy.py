"""Clean and robust accuracy: the worst case of each example, decided by a forward pass of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from robustfw import losses
from robustfw.attack import Attack
from robustfw.data.bounds import check_range
from robustfw.data.splits import Split
from robustfw.errors import DataError, UsageError
from robustfw.evaluation._intervals import wilson
from robustfw.inner._randomness import generator_for
from robustfw.inner.adversary import Adversary
from robustfw.inner.freezing import check_type, freeze, leave_inference
from robustfw.inner.problem import InnerProblem, Passes
from robustfw.inner.threat import Threat
from robustfw.task import Classification, Task


@attrs.frozen(eq=False)
class Verdicts:
    """What became of each example of a batch, or of several put together."""

    y: Tensor
    """Targets in the form of the task."""
    clean: Tensor
    """Whether the output at the example itself is right, (n,)."""
    robust: Tensor
    """Whether it still is at the worst case that the attacks found; never where ``clean`` is false."""
    zero_gradients: int
    """Attacked examples at which the loss has no gradient: the attack had nothing to go by."""
    ties: int
    """Examples at which the label's logit is the largest, and another one is as large: they count as wrong."""
    not_numbers: int
    """Examples at which an output is not a number."""
    passes: Passes
    seconds: float
    clean_measure: Tensor | None = None
    """What the task measures at the examples, (n, m), where right or wrong is not all (`Task.measure`)."""
    robust_measure: Tensor | None = None
    """The same at the worst cases."""

    def __len__(self) -> int:
        return len(self.y)

    @classmethod
    def joined(cls, parts: Iterable[Verdicts]) -> Verdicts:
        """The verdicts of several batches as one."""
        listed = list(parts)
        graded = bool(listed) and listed[0].clean_measure is not None
        return cls(
            torch.cat([part.y for part in listed]),
            torch.cat([part.clean for part in listed]),
            torch.cat([part.robust for part in listed]),
            sum(part.zero_gradients for part in listed),
            sum(part.ties for part in listed),
            sum(part.not_numbers for part in listed),
            Passes(sum(p.passes.forward for p in listed), sum(p.passes.backward for p in listed)),
            sum(part.seconds for part in listed),
            torch.cat([_measured(part.clean_measure) for part in listed]) if graded else None,
            torch.cat([_measured(part.robust_measure) for part in listed]) if graded else None,
        )


def _measured(values: Tensor | None) -> Tensor:
    if values is None:
        raise DataError("verdicts of different tasks cannot be put together")
    return values


@attrs.frozen
class Evaluation:
    """The summary of verdicts. Accuracies are shares of all n examples; intervals are Wilson's, 95 %."""

    n: int
    correct: int
    """Examples that are right without any perturbation."""
    robust: int
    """Of those, the ones that the attacks could not change."""
    clean_accuracy: float
    robust_accuracy: float
    clean_interval: tuple[float, float]
    interval: tuple[float, float]
    """Of the robust accuracy."""
    per_class: tuple[tuple[int, int, int], ...]
    """For each class: examples, correct, robust; empty where an example has no class."""
    zero_gradients: int
    forward_passes: int
    backward_passes: int
    seconds: float
    ties: int = 0
    not_numbers: int = 0
    metrics: Mapping[str, Mapping[str, float]] = attrs.field(factory=dict)
    """Further figures of the task by name, each ``clean`` and ``robust``: at the examples and at their worst cases."""
    verdicts: Verdicts | None = attrs.field(default=None, eq=False, repr=False)
    """What became of each example, in the order of the split."""

    @classmethod
    def of(cls, verdicts: Verdicts, classes: int | None = None, task: Task | None = None) -> Evaluation:
        """Counts, shares and intervals.

        Args:
            verdicts: of all examples.
            classes: how many classes there are, for ``per_class``; None: as many as labels say.
            task: what the outputs are for; classification by default.
        """
        task = task or Classification()
        n, correct, robust = len(verdicts.y), int(verdicts.clean.sum()), int(verdicts.robust.sum())
        return cls(
            n=n,
            correct=correct,
            robust=robust,
            clean_accuracy=correct / n,
            robust_accuracy=robust / n,
            clean_interval=wilson(correct, n),
            interval=wilson(robust, n),
            per_class=_per_class(verdicts, classes) if task.labelled else (),
            zero_gradients=verdicts.zero_gradients,
            forward_passes=verdicts.passes.forward,
            backward_passes=verdicts.passes.backward,
            seconds=verdicts.seconds,
            ties=verdicts.ties,
            not_numbers=verdicts.not_numbers,
            metrics=_metrics(verdicts, task),
            verdicts=verdicts,
        )

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why the numbers may mean less than they say, a sentence each."""
        said = []
        if self.zero_gradients:
            said.append(
                f"at {self.zero_gradients} of {self.n} examples the loss has no gradient: a gradient attack is blind "
                "there, so robust accuracy may be overstated; try --loss margin"
            )
        if self.ties:
            said.append(
                f"at {self.ties} of {self.n} examples the largest output is shared by several classes, which is no "
                "decision: they count as wrong; a net that gives the same for every x is broken"
            )
        if self.not_numbers:
            said.append(
                f"at {self.not_numbers} of {self.n} examples the net's outputs are not numbers: its weights are "
                "broken, or something in it overflows"
            )
        return tuple(said)


def _per_class(verdicts: Verdicts, classes: int | None) -> tuple[tuple[int, int, int], ...]:
    count = int(verdicts.y.max()) + 1 if classes is None else classes
    members = [verdicts.y == label for label in range(count)]
    return tuple((int(own.sum()), int(verdicts.clean[own].sum()), int(verdicts.robust[own].sum())) for own in members)


def _metrics(verdicts: Verdicts, task: Task) -> dict[str, dict[str, float]]:
    if verdicts.clean_measure is None or verdicts.robust_measure is None:
        return {}
    clean, robust = task.metrics(verdicts.clean_measure), task.metrics(verdicts.robust_measure)
    return {name: {"clean": clean[name], "robust": robust[name]} for name in clean}


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
    """Clean and robust accuracy of a model on a split; see `verdicts`."""
    parts = verdicts(
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
    return Evaluation.of(Verdicts.joined(parts), classes, task)


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
    see: Callable[[Shown], None] | None = None,
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
    device = device_of(model)
    numbers = torch.arange(len(split)).split(batch_size)
    generators = (generator_for(seed, "attack", number) for number in range(skip, len(numbers)))
    for (x, y), generator in zip(split.batches(numbers[skip:], device), generators, strict=True):
        adversaries = [Adversary(threat, attack, generator, task, loss) for attack in attacks]
        start = time.perf_counter()
        with freeze(model):
            measurement = _Measurement(model, leave_inference(x), leave_inference(y), task, classes, adversaries, see)
            measured = measurement.verdicts(start)
        yield measured


def check_measurable(model: object, split: Split, attacks: Sequence[Attack], batch_size: int) -> None:
    """Raise where there is nothing to measure, or nothing to measure by."""
    if not isinstance(model, nn.Module):
        raise UsageError(
            f"the net is a {type(model).__name__}: give a torch.nn.Module, whose modes and parameters are put back "
            "afterwards (robustfw.worst_case takes functions)"
        )
    if batch_size < 1:
        raise UsageError(f"batch_size is {batch_size}: a batch has one example at least")
    if not len(split):
        raise DataError("there is not one example to evaluate")
    if not attacks:
        raise UsageError("there is not one attack: without any, robust accuracy would be the clean one; name one")
    for attack in attacks:
        Adversary.check_honest_attack(attack)


def device_of(model: nn.Module) -> torch.device:
    """Where the parameters of a net are; the CPU where it has none."""
    return next((p.device for p in model.parameters()), torch.device("cpu"))


@attrs.frozen(eq=False)
class Shown:
    """What an attack has found, for whoever keeps pictures of it."""

    x: Tensor
    y: Tensor
    moved: Tensor
    outputs: Tensor
    wrong: Tensor
    rows: Tensor
    """The places of these examples in their batch."""


class _Measurement:
    """One batch: right or wrong, without and under attack."""

    def __init__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        task: Task,
        classes: int | None,
        adversaries: Sequence[Adversary],
        see: Callable[[Shown], None] | None,
    ) -> None:
        check_type(model, x)
        check_range(x, adversaries[0].threat.bounds)
        self.model, self.x, self.task, self.adversaries, self.see = model, x, task, adversaries, see
        self.y = checked_targets(task, x, y, classes)
        self.classes = classes
        self.passes = Passes()

    def verdicts(self, start: float) -> Verdicts:
        """What became of each example."""
        outputs = self._outputs()
        clean = ~self.task.wrong(outputs, self.y)
        measure = self.task.measure(outputs, self.y)
        worst = None if measure is None else measure.clone()
        robust, zero_gradients = clean.clone(), 0
        rows = torch.arange(len(self.y), device=clean.device) if self.task.graded else clean.nonzero()[:, 0]
        if len(rows):
            problem = self.adversaries[0].problem(
                self.model,
                self.x[rows],
                self.y[rows],
                goal=None if self.task.graded else self.task.wrong,
                passes=self.passes,
                checked=True,
            )
            zero_gradients = _without_gradient(problem)
            if self.task.graded:
                self._attack_all(problem, robust, worst)
            else:
                self._attack_standing(problem, rows, robust)
        return Verdicts(
            self.y.cpu(),
            clean.cpu(),
            robust.cpu(),
            zero_gradients,
            self._ties(outputs),
            int(outputs.isnan().flatten(1).any(1).sum()),
            self.passes,
            time.perf_counter() - start,
            None if measure is None else measure.cpu(),
            None if worst is None else worst.cpu(),
        )

    def _outputs(self) -> Tensor:
        with torch.no_grad():
            outputs = self.task.read(self.model(self.x.clone()), len(self.x))  # a net may change its input in place
        check_outputs(self.task, outputs, self.y, self.classes)
        return outputs

    def _ties(self, outputs: Tensor) -> int:
        if not self.task.labelled:
            return 0
        largest = outputs.amax(1, keepdim=True)
        shared = ((outputs == largest).sum(1) > 1) & (outputs.gather(1, self.y[:, None]) == largest)[:, 0]
        return int(shared.sum())

    def _attack_standing(self, problem: InnerProblem, rows: Tensor, robust: Tensor) -> None:
        """Each attack in turn on what withstood the ones before; ``robust`` is changed in place."""
        standing = torch.arange(len(problem), device=problem.x.device)
        for adversary in self.adversaries:
            left = problem[standing]
            attempt = adversary.attempt(left)
            self._show(left, rows[standing], attempt.perturbed, attempt.outputs, attempt.wrong)
            robust[rows[standing[attempt.wrong]]] = False
            standing = standing[~attempt.wrong]
            if not len(standing):
                return

    def _attack_all(self, problem: InnerProblem, robust: Tensor, worst: Tensor | None) -> None:
        """Each attack on all rows; ``robust`` and ``worst`` are changed in place."""
        rows = torch.arange(len(problem), device=problem.x.device)
        for adversary in self.adversaries:
            attempt = adversary.attempt(problem, judge=self.task.wrong)
            self._show(problem, rows, attempt.perturbed, attempt.outputs, attempt.wrong)
            robust &= ~attempt.wrong
            measure = self.task.measure(attempt.outputs, problem.y)
            if measure is not None and worst is not None:
                worse = ~(measure[:, 0] <= worst[:, 0])
                worst[worse] = measure[worse]

    def _show(self, problem: InnerProblem, rows: Tensor, moved: Tensor, outputs: Tensor, wrong: Tensor) -> None:
        if self.see is not None:
            self.see(Shown(problem.x, problem.y, moved, outputs, wrong, rows))


def checked_targets(task: Task, x: Tensor, y: Tensor, classes: int | None) -> Tensor:
    """Targets of a batch in the form of the task.

    Raises:
        DataError: they are not as many as the examples, do not fit the task, or an example has no label.
    """
    if len(y) != len(x):
        raise DataError(f"there are {len(x)} examples and {len(y)} targets")
    targets = task.targets(y)
    if task.labelled and bool((targets == losses.UNLABELLED).any()):
        raise DataError("examples without a label (−1) cannot be evaluated: leave them out")
    if classes is not None:
        task.check(targets, classes)
    return targets


def check_outputs(task: Task, outputs: Tensor, targets: Tensor, classes: int | None) -> None:
    """Raise a `DataError` unless outputs are for so many classes; None: for as many as labels need."""
    if classes is not None:
        check_width(outputs, classes)
    elif not targets.is_floating_point():
        task.check(targets, outputs.shape[1])


def check_width(outputs: Tensor, classes: int) -> None:
    """Raise a `DataError` unless outputs, in the form of their task, are for so many classes, labels or targets."""
    if outputs.shape[1] != classes:
        raise DataError(
            f"the net has {outputs.shape[1]} outputs for {classes} classes: give classes={outputs.shape[1]}, or the "
            "net of this data"
        )


def _without_gradient(problem: InnerProblem) -> int:
    """How many rows have a gradient that is 0 in every coordinate; a norm would make 0 of small ones."""
    _, gradient = problem.linearized()
    return int((gradient == 0).flatten(1).all(1).sum())


def described(evaluation: Evaluation) -> dict[str, Any]:
    """As JSON; metrics only where the task has some, and nothing of single examples."""
    facts = attrs.asdict(evaluation, filter=attrs.filters.exclude("verdicts"))
    return facts if facts["metrics"] else {name: value for name, value in facts.items() if name != "metrics"}
