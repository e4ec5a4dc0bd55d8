"""Accuracy against the size of the set, and for each example the smallest set that fools the net."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

import attrs
import torch
from torch import Tensor, nn

from robustfw import losses
from robustfw.attack import Attack
from robustfw.errors import UsageError
from robustfw.evaluation.accuracy import check_membership
from robustfw.evaluation.intervals import wilson
from robustfw.inner import Bounds, applied, check_range, frozen, maximized, within_range
from robustfw.problem import InnerProblem
from robustfw.regions import Region
from robustfw.splits import Split
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
    uncertainty: UncertaintySet,
    attack: Attack,
    factors: Sequence[float],
    nested: bool = True,
    bisections: int = BISECTIONS,
    bounds: Bounds = (0.0, 1.0),
    loss: losses.Loss = losses.cross_entropy,
    batch_size: int = 500,
    seed: int = 0,
) -> Iterator[Fooled]:
    """Attack with factor·𝒰 for each of the growing factors, batch by batch.

    ``nested``: 𝒰 is star-shaped, so what fools the net within a small set fools it within a larger one. An example
    that is fooled is not attacked again, the others go on from what was found for them, and accuracy cannot rise with
    the factor. The smallest factor is then narrowed by bisection between the last point that held and the first
    that did not. Otherwise each factor is a measurement of its own, as a plot of the plain fast method is (Figure 3).

    Raises:
        UsageError: the factors do not grow from 0 or above.
        PluginError: a perturbation lies outside its set or the data range.
    """
    if not factors or factors[0] < 0 or any(b <= a for a, b in itertools.pairwise(factors)):
        raise UsageError(f"the radii of a sweep must grow, from 0 or above, not {list(factors)}")
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    generator = torch.Generator().manual_seed(seed)
    for x, y in split.in_order(batch_size, device):
        check_range(x, bounds)
        batch = _Batch(model, loss, x, y, uncertainty, attack, bounds, generator)
        with frozen(model):
            found = batch.nested(factors, bisections) if nested else batch.independent(factors)
        yield Fooled(found.at.cpu(), found.smallest.cpu())


@attrs.frozen(eq=False)
class _Batch:
    model: nn.Module
    loss: losses.Loss
    x: Tensor
    y: Tensor
    uncertainty: UncertaintySet
    attack: Attack
    bounds: Bounds
    generator: torch.Generator

    def wrong(self) -> Tensor:
        with torch.no_grad():
            return losses.misclassified(self.model(self.x), self.y)

    def region(self, rows: Tensor, factors: Tensor) -> Region:
        return within_range(self.uncertainty.at(self.x[rows]).scaled(factors), self.x[rows], self.bounds)

    def problem(self, rows: Tensor, factors: Tensor, start: Tensor | None = None) -> InnerProblem:
        """The problem of some of the rows, each within its own multiple of 𝒰."""
        region = self.region(rows, factors)
        begin = None if start is None else region.project(start)
        return InnerProblem(
            self.model, self.loss, self.x[rows], self.y[rows], region, losses.misclassified, start=begin
        )

    def attacked(self, problem: InnerProblem) -> tuple[Tensor, Tensor]:
        """δ for the rows of a problem, and which of them fool the net."""
        delta = maximized(self.attack, problem, self.generator)
        check_membership(problem.region.violation(delta), delta, self.attack)
        with torch.no_grad():
            logits = self.model(applied(problem.region, problem.x, delta, self.bounds))
        return delta, losses.misclassified(logits, problem.y)

    def independent(self, factors: Sequence[float]) -> Fooled:
        """Every factor on its own; only what is wrong from the start is not attacked."""
        wrong = self.wrong()
        right, smallest = (~wrong).nonzero()[:, 0], torch.where(wrong, 0.0, torch.inf)
        at = wrong[:, None].repeat(1, len(factors))
        problem = self.problem(right, self._all(right, 1)) if len(right) else None
        for point, factor in enumerate(factors):
            if problem is None or factor == 0:  # nothing to attack, or nothing to attack with
                continue
            problem = problem.over(self.region(right, self._all(right, factor)))
            _, fooled = self.attacked(problem)
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
            found, fooled = self.attacked(self.problem(standing, self._all(standing, factor), delta))
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
            found, fooled = self.attacked(self.problem(rows, middle, delta[rows]))
            above[rows[fooled]], below[rows[~fooled]] = middle[fooled], middle[~fooled]
            delta[rows[fooled]] = found[fooled]

    def _all(self, rows: Tensor, factor: float) -> Tensor:
        return torch.full((len(rows),), float(factor), device=self.x.device)
