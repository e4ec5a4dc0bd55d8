"""Accuracy against the size of the set, and for each example the smallest set that fools the net."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator, Sequence

import attrs
import torch
from torch import Tensor, nn

from robustfw import losses
from robustfw.attack import Attack
from robustfw.data.bounds import check_range
from robustfw.data.splits import Split
from robustfw.errors import RobustfwWarning, UsageError
from robustfw.evaluation._accuracy import check_measurable, device_of
from robustfw.evaluation._batches import MeasuredBatch, measure_batches
from robustfw.evaluation._checks import check_outputs, read_targets
from robustfw.evaluation._sweep_result import Fooled
from robustfw.inner.adversary import Adversary, Attempt
from robustfw.inner.freezing import check_type, freeze, leave_inference
from robustfw.inner.problem import InnerProblem
from robustfw.inner.threat import Threat
from robustfw.task import Classification, Task
from robustfw.uncertainty import UncertaintySet

BISECTIONS = 6
"""Halvings of the distance between two points of the sweep: the smallest factor is known to 1/64 of it."""


def sweep(
    model: nn.Module,
    split: Split,
    *,
    threat: Threat,
    attack: Attack,
    factors: Sequence[float],
    nested: bool = True,
    bisections: int = BISECTIONS,
    classes: int | None = None,
    task: Task | None = None,
    loss: losses.LossFunction | None = None,
    batch_size: int = 500,
    seed: int = 0,
) -> Iterator[Fooled]:
    """Attack within factor·𝒰 for each of the growing factors, batch by batch.

    Args:
        model: outputs of x (batch, *shape).
        split: the examples.
        threat: the set at factor 1, and the data range.
        attack: what is tried at each factor.
        factors: they grow, from 0 or above.
        nested: 𝒰 is star-shaped, so what fools the net within a small set fools it within a larger one. An example
            that is fooled is not attacked again, the others go on from what was found for them, and accuracy cannot
            rise with the factor. The smallest factor is then narrowed by bisection between the last point that held
            and the first that did not. Otherwise each factor is a measurement of its own, as a plot of the plain fast
            method is (Figure 3).
        bisections: how often the smallest factor is narrowed.
        classes: how many classes, labels or targets there are; None: as many as the net has outputs.
        task: what the outputs are for; classification by default.
        loss: what the attack raises; None: the task's.
        batch_size: examples that are attacked together; halved where memory does not suffice (`measure_batches`).
        seed: of the attack's randomness.

    Yields:
        For each batch, which factors fool the net, and the smallest that does.

    Raises:
        UsageError: the factors do not grow from 0 or above.
        PluginError: a perturbation lies outside its set or the data range.
        DataError: outputs or labels do not fit the task.
    """
    if (
        not factors
        or factors[0] < 0
        or any(b <= a for a, b in itertools.pairwise(factors))
    ):
        raise UsageError(
            f"the radii of a sweep must grow, from 0 or above, not {list(factors)}"
        )
    task = Classification() if task is None else task
    check_measurable(model, split=split, attacks=[attack], batch_size=batch_size)

    def measure(measured: MeasuredBatch) -> Fooled:
        """The sweep over one batch."""
        adversary = Adversary(
            threat=threat,
            attack=attack,
            generator=measured.generator,
            task=task,
            loss=loss,
        )
        with freeze(model):
            x = leave_inference(measured.x)
            check_type(model, x)
            check_range(x, threat.bounds)
            y = leave_inference(measured.y)
            batch = _Batch(
                model=model,
                x=x,
                y=read_targets(task, x=x, y=y, classes=classes),
                adversary=adversary,
                task=task,
                classes=classes,
            )
            if nested:
                fooled = batch.sweep_nested(factors, bisections)
            else:
                fooled = batch.sweep_independent(factors)
        return Fooled(fooled.at.cpu(), fooled.smallest.cpu())

    yield from measure_batches(
        split,
        measure,
        batch_size=batch_size,
        seed=seed,
        device=device_of(model),
    )


@attrs.frozen(eq=False)
class _Batch:
    """One batch under measurement, in a frozen net."""

    model: nn.Module
    x: Tensor
    y: Tensor
    adversary: Adversary
    task: Task
    classes: int | None

    def wrong(self) -> Tensor:
        """Whether the output at the example itself is wrong, (batch,)."""
        with torch.no_grad():
            raw_outputs = self.model(self.x.clone())
            outputs = self.task.read(raw_outputs, len(self.x))
        check_outputs(self.task, outputs=outputs, targets=self.y, classes=self.classes)
        if bool(outputs.isnan().any()):
            warnings.warn(
                "some of the net's outputs are not numbers, and count as wrong: its weights are broken, or something "
                "in it overflows",
                RobustfwWarning,
                stacklevel=2,
            )
        return self.task.wrong(outputs, self.y)

    def problem(
        self, rows: Tensor, factor: float, start: Tensor | None = None
    ) -> InnerProblem:
        """The problem of some of the rows within the same multiple of 𝒰.

        Args:
            rows: indices into the batch.
            factor: the multiple.
            start: where the attack begins, (rows, *shape), projected on the set; None: where it begins anyway.
        """
        x = self.x[rows]
        y = self.y[rows]
        threat = self.adversary.threat.scale(factor)
        region = threat.region(x, checked=True)
        begin = None if start is None else region.project(start)
        return self.adversary.problem(
            self.model, x, y, criterion=self.task.wrong, region=region, start=begin
        )

    def attempt(self, rows: Tensor, factors: Tensor, delta: Tensor) -> Attempt:
        """Attack rows, each within its own multiple of 𝒰, going on from δ.

        Args:
            rows: indices into the batch.
            factors: the multiple of each row.
            delta: where the attack begins, (rows, *shape).
        """
        threat = self.adversary.threat
        if type(threat.uncertainty).scale is UncertaintySet.scale:
            x = self.x[rows]
            y = self.y[rows]
            region = threat.clip(threat.uncertainty.at(x).scale(factors), x)
            start = region.project(delta)
            problem = self.adversary.problem(
                self.model, x, y, criterion=self.task.wrong, region=region, start=start
            )
            return self.adversary.attempt(problem)
        # a set whose smaller sets are no multiples of it: rows of one factor together
        attempts = []
        order = []
        for factor in factors.unique().tolist():
            places = (factors == factor).nonzero()[:, 0]
            problem = self.problem(rows[places], factor, delta[places])
            attempts.append(self.adversary.attempt(problem))
            order.append(places)
        return Attempt.concatenate(attempts)[torch.cat(order).argsort()]

    def sweep_independent(self, factors: Sequence[float]) -> Fooled:
        """Attack at every factor anew; only what is wrong from the start is not attacked."""
        wrong = self.wrong()
        right = (~wrong).nonzero()[:, 0]
        smallest = torch.where(wrong, 0.0, torch.inf)
        at = wrong[:, None].repeat(1, len(factors))
        problem = self.problem(right, 1.0) if len(right) else None
        for point, factor in enumerate(factors):
            # nothing to attack, or nothing to attack with
            if problem is None or factor == 0:
                continue
            problem = problem.with_region(self.problem(right, factor).region)
            fooled = self.adversary.attempt(problem).wrong
            at[right, point] = fooled
            rows = right[fooled]
            smallest[rows] = smallest[rows].clamp(max=factor)
        return Fooled(at, smallest)

    def sweep_nested(self, factors: Sequence[float], bisections: int) -> Fooled:
        """Attack at one factor after the other what still stands, then bisect to the smallest factor."""
        wrong = self.wrong()
        smallest = torch.where(wrong, 0.0, torch.inf)
        largest_withstood = torch.zeros(len(wrong), device=wrong.device)
        last_delta: Tensor | None = None

        # 1. growing sets, each attack going on from what the last one found
        standing = (~wrong).nonzero()[:, 0]
        start: Tensor | None = None
        for factor in factors:
            if not len(standing) or factor == 0:
                continue
            attempt = self.adversary.attempt(self.problem(standing, factor, start))
            delta = attempt.delta
            if last_delta is None:
                last_delta = delta.new_zeros((len(wrong), *delta.shape[1:]))
            last_delta[standing] = delta
            smallest[standing[attempt.wrong]] = factor
            withstood = ~attempt.wrong
            standing = standing[withstood]
            start = delta[withstood]
            largest_withstood[standing] = factor
        at = smallest[:, None] <= smallest.new_tensor(factors)

        # 2. bisection between the last factor that held and the first that did not
        if last_delta is not None:
            self._narrow(
                smallest,
                below=largest_withstood,
                delta=last_delta,
                bisections=bisections,
            )
        return Fooled(at, smallest)

    def _narrow(
        self, above: Tensor, below: Tensor, delta: Tensor, bisections: int
    ) -> None:
        """Halve the distance between the factors that fool and those that do not, in place."""
        rows = ((above > 0) & above.isfinite()).nonzero()[:, 0]
        for _ in range(bisections if len(rows) else 0):
            middle = (above[rows] + below[rows]) / 2
            attempt = self.attempt(rows, middle, delta[rows])
            fooled = attempt.wrong
            withstood = ~fooled
            fooled_rows = rows[fooled]
            above[fooled_rows] = middle[fooled]
            below[rows[withstood]] = middle[withstood]
            delta[fooled_rows] = attempt.delta[fooled]
