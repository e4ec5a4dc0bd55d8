"""The measurement of one batch: right or wrong, without and under attack."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import attrs
import torch
from torch import Tensor, nn

from robustfw.data.bounds import check_range
from robustfw.evaluation._checks import check_outputs, find_constant, read_targets
from robustfw.evaluation._outcomes import KeptExamples, WorstPoints
from robustfw.evaluation._verdicts import Verdicts
from robustfw.inner.adversary import Adversary, Attempt
from robustfw.inner.freezing import match_type
from robustfw.inner.problem import InnerProblem, Passes
from robustfw.task import Task

RANDOM = 1e-4
"""Difference between the outputs of two forward passes that is more than rounding, as a share of the largest output."""


@attrs.frozen(eq=False)
class AttackedBatch:
    """Examples that an attack was tried on, for whoever keeps pictures of what it found."""

    x: Tensor
    """Examples as they are, (batch, *shape)."""
    y: Tensor
    """Targets in the form of the task."""
    perturbed: Tensor
    """x̃ of each example, (batch, *shape)."""
    outputs: Tensor
    """The net's outputs at x̃, in the form of the task."""
    wrong: Tensor
    """Whether the output at x̃ is wrong, (batch,)."""
    rows: Tensor
    """The places of these examples in the batch of the split, (batch,)."""


class Measurement:
    """One batch under measurement: its targets are checked on construction, `verdicts` runs the attacks."""

    def __init__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        task: Task,
        classes: int | None,
        adversaries: Sequence[Adversary],
        see: Callable[[AttackedBatch], None] | None = None,
        *,
        keep_examples: bool = False,
        check_randomness: bool = False,
        known: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        """Check the batch.

        Args:
            model: outputs of x (batch, *shape); frozen by the caller.
            x: examples (batch, *shape).
            y: targets of the data set.
            task: what the outputs are for.
            classes: how many classes, labels or targets there are; None: as many as the net has outputs.
            adversaries: the attacks in their order, all within one threat.
            see: is shown what each attack has found.
            keep_examples: keep each example with its worst case in the verdicts.
            check_randomness: take a second forward pass, and compare the outputs.
            known: rows of the batch that were fooled before, and δ of each, which are tried first, unless the task says
                how wrong an output is; None: there are none.

        Raises:
            DataError: x lies outside the data range, or targets do not fit x or the task.
        """
        check_range(x, adversaries[0].threat.bounds)
        self.model = match_type(model, x)
        self.x = x
        self.y = read_targets(task, x, y, classes)
        self.task = task
        self.classes = classes
        self.adversaries = adversaries
        self.see = see
        self.keep_examples = keep_examples
        self.check_randomness = check_randomness
        self.known = known
        self.known_tried = 0
        self.known_fooled = 0
        self.found: list[tuple[Tensor, Attempt]] = []
        self.worst: WorstPoints | None = None
        self.passes = Passes()

    def verdicts(self, start: float) -> Verdicts:
        """What became of each example; ``start`` is the `time.perf_counter` at which the measurement began."""
        # 1. the examples as they are
        outputs = self._outputs()
        random = self.check_randomness and self._outputs_differ(outputs)
        first = self.adversaries[0]
        if first.escalation.judges > 1:
            outputs, wrong = first.decide(
                first.read(self.model), self.x, self.y, self.task.wrong
            )
            clean = ~wrong
        else:
            clean = ~self.task.wrong(outputs, self.y)
        if self.keep_examples:
            self.worst = WorstPoints(self.x.clone(), outputs.clone())
        clean_measure = self.task.measure(outputs, self.y)

        # 2. the attacks, on what is right; where a task says how wrong an output is, on all
        graded = self.task.graded
        robust = clean.clone()
        robust_measure = None if clean_measure is None else clean_measure.clone()
        zero_gradients = 0
        if graded:
            rows = torch.arange(len(self.y), device=clean.device)
        else:
            rows = clean.nonzero()[:, 0]
        if len(rows):
            problem = self.adversaries[0].problem(
                self.model,
                self.x[rows],
                self.y[rows],
                criterion=None if graded else self.task.wrong,
                passes=self.passes,
                checked=True,
            )
            zero_gradients = _count_zero_gradients(first.escalation.seen(problem))
            if graded:
                self._attack_all(problem, robust, robust_measure)
            else:
                if self.known is not None:
                    self._try_known(problem, rows, robust, *self.known)
                self._attack_standing(problem, rows, robust)

        return Verdicts(
            y=self.y.cpu(),
            clean=clean.cpu(),
            robust=robust.cpu(),
            zero_gradients=zero_gradients,
            ties=self._count_ties(outputs),
            not_numbers=int(outputs.isnan().flatten(1).any(1).sum()),
            passes=self.passes,
            seconds=time.perf_counter() - start,
            clean_measure=None if clean_measure is None else clean_measure.cpu(),
            robust_measure=None if robust_measure is None else robust_measure.cpu(),
            constant=find_constant(self.x, outputs),
            random=random,
            examples=self._kept_examples(outputs),
        )

    def _kept_examples(self, outputs: Tensor) -> KeptExamples | None:
        """The examples and their worst cases in the memory of the CPU, where they are to be kept."""
        if self.worst is None:
            return None
        return KeptExamples(
            x=self.x.cpu(),
            adversarial=self.worst.perturbed.cpu(),
            outputs=outputs.cpu(),
            adversarial_outputs=self.worst.outputs.cpu(),
        )

    def _outputs_differ(self, outputs: Tensor) -> bool:
        """Whether another forward pass over the examples gives other outputs, by more than rounding."""
        again = self._outputs()
        tolerance = RANDOM * outputs.detach().abs().amax()
        return bool(((again - outputs).abs() > tolerance).any())

    def _outputs(self) -> Tensor:
        """The net's outputs at the examples, in the form of the task."""
        with torch.no_grad():
            # a copy, since a net may change its input in place
            raw_outputs = self.model(self.x.clone())
            outputs = self.task.read(raw_outputs, len(self.x))
        check_outputs(self.task, outputs=outputs, targets=self.y, classes=self.classes)
        return outputs

    def _count_ties(self, outputs: Tensor) -> int:
        """Examples at which the label's logit is the largest and another one is as large."""
        if not self.task.labelled:
            return 0
        largest = outputs.amax(1, keepdim=True)
        shared = (outputs == largest).sum(1) > 1
        label_logit = outputs.gather(1, self.y[:, None])
        label_is_largest = (label_logit == largest)[:, 0]
        ties = shared & label_is_largest
        return int(ties.sum())

    def _attack_standing(
        self, problem: InnerProblem, rows: Tensor, robust: Tensor
    ) -> None:
        """Each attack in turn on what withstood the ones before; ``robust`` is changed in place."""
        standing = robust[rows].nonzero()[:, 0]
        for adversary in self.adversaries:
            if not len(standing):
                return
            remaining = problem[standing]
            attempt = adversary.attempt(remaining)
            self._take(remaining, rows[standing], attempt, robust)
            standing = standing[~attempt.wrong]

    def _try_known(
        self,
        problem: InnerProblem,
        rows: Tensor,
        robust: Tensor,
        known_rows: Tensor,
        delta: Tensor,
    ) -> None:
        """Try what has fooled the net before; ``robust`` is changed in place.

        Args:
            problem: the rows that are attacked.
            rows: their places in the batch.
            robust: which rows of the batch are right so far.
            known_rows: rows of the batch with a known case.
            delta: δ of each of these.
        """
        place = rows.new_full((len(robust),), -1)
        place[rows] = torch.arange(len(rows), device=rows.device)
        places = place[known_rows.to(rows.device)]
        attacked = places >= 0
        if not bool(attacked.any()):
            return
        part = problem[places[attacked]]
        attempt = self.adversaries[0].replay(part, delta.to(rows.device)[attacked])
        self.known_tried = len(part)
        self.known_fooled = int(attempt.wrong.sum())
        self._take(part, rows[places[attacked]], attempt, robust)

    def _take(
        self, problem: InnerProblem, rows: Tensor, attempt: Attempt, robust: Tensor
    ) -> None:
        """Note an attempt on some rows: for pictures, as worst cases, and in ``robust``, which is changed in place."""
        self._show(problem, rows, attempt)
        if self.worst is not None:
            self.worst.put(rows, attempt)
        self.found.append((rows, attempt))
        robust[rows[attempt.wrong]] = False

    def _attack_all(
        self, problem: InnerProblem, robust: Tensor, robust_measure: Tensor | None
    ) -> None:
        """Each attack on all rows; ``robust`` and ``robust_measure`` are changed in place."""
        rows = torch.arange(len(problem), device=problem.x.device)
        for adversary in self.adversaries:
            attempt = adversary.attempt(problem, judge=self.task.wrong)
            self._show(problem, rows, attempt)
            measure = self.task.measure(attempt.outputs, problem.y)
            if self.worst is not None:
                self._keep_worse(self.worst, attempt, measure, robust, robust_measure)
            robust &= ~attempt.wrong
            if measure is not None and robust_measure is not None:
                # not "greater": what is not a number counts as worse
                worse = ~(measure[:, 0] <= robust_measure[:, 0])
                robust_measure[worse] = measure[worse]

    def _keep_worse(
        self,
        worst: WorstPoints,
        attempt: Attempt,
        measure: Tensor | None,
        robust: Tensor,
        robust_measure: Tensor | None,
    ) -> None:
        """Put what is worse than before in the place of it: by the task's measure, or else what is newly wrong.

        Args:
            worst: the worst cases so far, changed in place.
            attempt: of one attack, on all rows.
            measure: what the task measures at it.
            robust: which rows are right at all worst cases so far.
            robust_measure: what the task measures at the worst cases so far.
        """
        if measure is not None and robust_measure is not None:
            rows = (~(measure[:, 0] <= robust_measure[:, 0])).nonzero()[:, 0]
        else:
            rows = (robust & attempt.wrong).nonzero()[:, 0]
        worst.put(rows, attempt[rows])

    def _show(self, problem: InnerProblem, rows: Tensor, attempt: Attempt) -> None:
        if self.see is not None:
            self.see(
                AttackedBatch(
                    x=problem.x,
                    y=problem.y,
                    perturbed=attempt.perturbed,
                    outputs=attempt.outputs,
                    wrong=attempt.wrong,
                    rows=rows,
                )
            )


def _count_zero_gradients(problem: InnerProblem) -> int:
    """How many rows have a gradient that is 0 in every coordinate; a norm would make 0 of small ones."""
    _, gradient = problem.linearize()
    return int((gradient == 0).flatten(1).all(1).sum())
