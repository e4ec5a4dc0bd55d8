"""Accuracy against the size of the set, and for each example the smallest set that fools the net."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterable, Iterator, Sequence

import attrs
import torch
from torch import Tensor, nn

from robustfw import losses
from robustfw.attack import Attack
from robustfw.data.bounds import check_range
from robustfw.data.splits import Split
from robustfw.errors import RobustfwWarning, UsageError
from robustfw.evaluation._accuracy import check_measurable, check_outputs, checked_targets, device_of
from robustfw.evaluation._intervals import wilson
from robustfw.inner._randomness import generator_for
from robustfw.inner.adversary import Adversary, Attempt
from robustfw.inner.freezing import check_type, freeze, leave_inference
from robustfw.inner.problem import InnerProblem
from robustfw.inner.threat import Threat
from robustfw.task import Classification, Task
from robustfw.uncertainty import UncertaintySet

BISECTIONS = 6
"""The smallest factor is known to 1/64 of the distance between two points of the sweep."""


@attrs.frozen(eq=False)
class Fooled:
    """Of each example of a batch, what became of it over the sweep."""

    at: Tensor
    """(n, points) bool: whether the net is fooled by a set of so many times the size."""
    smallest: Tensor
    """(n,): the smallest factor found at which it is; 0 where it is wrong from the start, ∞ beyond the last point."""

    @classmethod
    def joined(cls, parts: Iterable[Fooled]) -> Fooled:
        """Several batches as one."""
        listed = list(parts)
        return cls(torch.cat([part.at for part in listed]), torch.cat([part.smallest for part in listed]))


@attrs.frozen
class Sweep:
    """Accuracy at each factor, of all n examples."""

    n: int
    factors: tuple[float, ...]
    correct: tuple[int, ...]
    accuracy: tuple[float, ...]
    intervals: tuple[tuple[float, float], ...]
    quartiles: tuple[float, float, float]
    """Of the smallest factor that fools the net; ∞ where a quarter, a half … was not fooled."""
    beyond: int
    """How many no factor of the sweep has fooled."""

    @classmethod
    def of(cls, fooled: Fooled, factors: Sequence[float]) -> Sweep:
        """Counts, shares and Wilson's intervals."""
        n, correct = len(fooled.at), tuple((~fooled.at).sum(0).tolist())
        ordered, places = fooled.smallest.sort().values, [min(n - 1, n * quarter // 4) for quarter in (1, 2, 3)]
        return cls(
            n,
            tuple(factors),
            correct,
            tuple(count / n for count in correct),
            tuple(wilson(count, n) for count in correct),
            (float(ordered[places[0]]), float(ordered[places[1]]), float(ordered[places[2]])),
            int(fooled.smallest.isinf().sum()),
        )


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
        batch_size: examples that are attacked together.
        seed: of the attack's randomness.

    Raises:
        UsageError: the factors do not grow from 0 or above.
        PluginError: a perturbation lies outside its set or the data range.
        DataError: outputs or labels do not fit the task.
    """
    if not factors or factors[0] < 0 or any(b <= a for a, b in itertools.pairwise(factors)):
        raise UsageError(f"the radii of a sweep must grow, from 0 or above, not {list(factors)}")
    task = task or Classification()
    check_measurable(model, split, [attack], batch_size)
    numbers = torch.arange(len(split)).split(batch_size)
    for number, (x, y) in enumerate(split.batches(numbers, device_of(model))):
        adversary = Adversary(threat, attack, generator_for(seed, "attack", number), task, loss)
        with freeze(model):
            x = leave_inference(x)
            check_type(model, x)
            check_range(x, threat.bounds)
            batch = _Batch(model, x, checked_targets(task, x, leave_inference(y), classes), adversary, task, classes)
            found = batch.nested(factors, bisections) if nested else batch.independent(factors)
        yield Fooled(found.at.cpu(), found.smallest.cpu())


@attrs.frozen(eq=False)
class _Batch:
    model: nn.Module
    x: Tensor
    y: Tensor
    adversary: Adversary
    task: Task
    classes: int | None

    def wrong(self) -> Tensor:
        with torch.no_grad():
            outputs = self.task.read(self.model(self.x.clone()), len(self.x))
        check_outputs(self.task, outputs, self.y, self.classes)
        if bool(outputs.isnan().any()):
            warnings.warn(
                "some of the net's outputs are not numbers, and count as wrong: its weights are broken, or something "
                "in it overflows",
                RobustfwWarning,
                stacklevel=2,
            )
        return self.task.wrong(outputs, self.y)

    def problem(self, rows: Tensor, factor: float, start: Tensor | None = None) -> InnerProblem:
        """The problem of some of the rows within the same multiple of 𝒰."""
        x, y = self.x[rows], self.y[rows]
        threat = self.adversary.threat.scaled(factor)
        region = threat.region(x, checked=True)
        begin = None if start is None else region.project(start)
        return self.adversary.problem(self.model, x, y, goal=self.task.wrong, region=region, start=begin)

    def attempt(self, rows: Tensor, factors: Tensor, delta: Tensor) -> Attempt:
        """Attack rows, each within its own multiple of 𝒰, going on from δ."""
        threat = self.adversary.threat
        if type(threat.uncertainty).scaled is UncertaintySet.scaled:
            x, y = self.x[rows], self.y[rows]
            region = threat.clip(threat.uncertainty.at(x).scaled(factors), x)
            start = region.project(delta)
            problem = self.adversary.problem(self.model, x, y, goal=self.task.wrong, region=region, start=start)
            return self.adversary.attempt(problem)
        # A set whose smaller sets are no multiples of it: rows of one factor together
        parts, order = [], []
        for factor in factors.unique().tolist():
            own = (factors == factor).nonzero()[:, 0]
            parts.append(self.adversary.attempt(self.problem(rows[own], factor, delta[own])))
            order.append(own)
        return Attempt.concatenate(parts)[torch.cat(order).argsort()]

    def independent(self, factors: Sequence[float]) -> Fooled:
        """Every factor on its own; only what is wrong from the start is not attacked."""
        wrong = self.wrong()
        right, smallest = (~wrong).nonzero()[:, 0], torch.where(wrong, 0.0, torch.inf)
        at = wrong[:, None].repeat(1, len(factors))
        problem = self.problem(right, 1.0) if len(right) else None
        for point, factor in enumerate(factors):
            if problem is None or factor == 0:  # nothing to attack, or nothing to attack with
                continue
            problem = problem.over(self.problem(right, factor).region)
            fooled = self.adversary.attempt(problem).wrong
            at[right, point] = fooled
            smallest[right[fooled]] = smallest[right[fooled]].clamp(max=factor)
        return Fooled(at, smallest)

    def nested(self, factors: Sequence[float], bisections: int) -> Fooled:
        """One factor after the other, for those that still stand."""
        wrong = self.wrong()
        smallest, below = torch.where(wrong, 0.0, torch.inf), torch.zeros(len(wrong), device=wrong.device)
        standing, delta, best = (~wrong).nonzero()[:, 0], None, None
        for factor in factors:
            if not len(standing) or factor == 0:
                continue
            attempt = self.adversary.attempt(self.problem(standing, factor, delta))
            found, fooled = attempt.delta, attempt.wrong
            best = found.new_zeros((len(wrong), *found.shape[1:])) if best is None else best
            best[standing] = found
            smallest[standing[fooled]] = factor
            standing, delta = standing[~fooled], found[~fooled]
            below[standing] = factor
        at = smallest[:, None] <= smallest.new_tensor(factors)
        if best is not None:
            self._narrow(smallest, below, best, bisections)
        return Fooled(at, smallest)

    def _narrow(self, above: Tensor, below: Tensor, delta: Tensor, bisections: int) -> None:
        """Halve the distance between the factors that fool and those that do not, in place."""
        rows = ((above > 0) & above.isfinite()).nonzero()[:, 0]
        for _ in range(bisections if len(rows) else 0):
            middle = (above[rows] + below[rows]) / 2
            attempt = self.attempt(rows, middle, delta[rows])
            found, fooled = attempt.delta, attempt.wrong
            above[rows[fooled]], below[rows[~fooled]] = middle[fooled], middle[~fooled]
            delta[rows[fooled]] = found[fooled]
