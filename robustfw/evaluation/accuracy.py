"""Clean and robust accuracy: the worst case of each example, decided by a forward pass of its own."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence

import attrs
import torch
from torch import Tensor, nn

from robustfw import losses
from robustfw.attack import Attack
from robustfw.errors import DataError, PluginError
from robustfw.evaluation.intervals import wilson
from robustfw.inner import Bounds, applied, frozen, maximized, region_at
from robustfw.problem import InnerProblem, Passes
from robustfw.regions import norms
from robustfw.splits import Split
from robustfw.uncertainty import UncertaintySet

TOLERANCE = 1e-5
"""How far outside its set a perturbation may lie, relative to 1 and to its own size: rounding, nothing else."""


@attrs.frozen(eq=False)
class Verdicts:
    """What became of each example of a batch, or of several put together."""

    y: Tensor
    clean: Tensor
    """Whether the example itself is classified correctly, (n,)."""
    robust: Tensor
    """Whether it still is at the worst case that the attack found; never where ``clean`` is false."""
    zero_gradients: int
    """Correct examples at which the loss has no gradient: the attack had nothing to go by."""
    passes: Passes
    seconds: float

    @classmethod
    def joined(cls, parts: Iterable[Verdicts]) -> Verdicts:
        """The verdicts of several batches as one."""
        listed = list(parts)
        return cls(
            torch.cat([part.y for part in listed]),
            torch.cat([part.clean for part in listed]),
            torch.cat([part.robust for part in listed]),
            sum(part.zero_gradients for part in listed),
            Passes(sum(p.passes.forward for p in listed), sum(p.passes.backward for p in listed)),
            sum(part.seconds for part in listed),
        )


@attrs.frozen
class Evaluation:
    """The summary of verdicts. Accuracies are shares of all n examples; intervals are Wilson's, 95 %."""

    n: int
    correct: int
    """Examples classified correctly without any perturbation; only these are attacked."""
    robust: int
    """Of those, the ones that the attack could not change."""
    clean_accuracy: float
    robust_accuracy: float
    clean_interval: tuple[float, float]
    interval: tuple[float, float]
    """Of the robust accuracy."""
    per_class: tuple[tuple[int, int, int], ...]
    """For each class: examples, correct, robust."""
    zero_gradients: int
    forward_passes: int
    backward_passes: int
    seconds: float

    @classmethod
    def of(cls, verdicts: Verdicts, classes: int) -> Evaluation:
        """Counts, shares and intervals."""
        n, correct, robust = len(verdicts.y), int(verdicts.clean.sum()), int(verdicts.robust.sum())
        members = [verdicts.y == label for label in range(classes)]
        return cls(
            n=n,
            correct=correct,
            robust=robust,
            clean_accuracy=correct / n,
            robust_accuracy=robust / n,
            clean_interval=wilson(correct, n),
            interval=wilson(robust, n),
            per_class=tuple(
                (int(own.sum()), int(verdicts.clean[own].sum()), int(verdicts.robust[own].sum())) for own in members
            ),
            zero_gradients=verdicts.zero_gradients,
            forward_passes=verdicts.passes.forward,
            backward_passes=verdicts.passes.backward,
            seconds=verdicts.seconds,
        )


def evaluate(
    model: nn.Module,
    split: Split,
    *,
    uncertainty: UncertaintySet,
    attacks: Sequence[Attack],
    classes: int,
    bounds: Bounds = (0.0, 1.0),
    loss: losses.Loss = losses.cross_entropy,
    batch_size: int = 500,
    seed: int = 0,
) -> Evaluation:
    """Clean and robust accuracy of a model on a split; see `verdicts`."""
    parts = verdicts(
        model,
        split,
        uncertainty=uncertainty,
        attacks=attacks,
        bounds=bounds,
        loss=loss,
        batch_size=batch_size,
        seed=seed,
    )
    return Evaluation.of(Verdicts.joined(parts), classes)


def verdicts(
    model: nn.Module,
    split: Split,
    *,
    uncertainty: UncertaintySet,
    attacks: Sequence[Attack],
    bounds: Bounds = (0.0, 1.0),
    loss: losses.Loss = losses.cross_entropy,
    batch_size: int = 500,
    seed: int = 0,
) -> Iterator[Verdicts]:
    """The verdicts batch by batch, so that a caller can show progress or stop.

    Only examples that are correct to begin with are attacked, by each attack in turn those that withstood the ones
    before: the worst case per example. Nothing that an attack says is believed: membership in the set is measured, and
    whether an example is fooled is decided by another forward pass.

    Raises:
        PluginError: a perturbation lies outside its set or the data range.
        DataError: the split is empty, or an example has no label.
    """
    if not len(split):
        raise DataError("there is not one example to evaluate")
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    generator = torch.Generator().manual_seed(seed)
    for x, y in split.in_order(batch_size, device):
        if bool((y == losses.UNLABELLED).any()):
            raise DataError("examples without a label (−1) cannot be evaluated: leave them out")
        start, passes = time.perf_counter(), Passes()
        with frozen(model):
            with torch.no_grad():
                clean = ~losses.misclassified(model(x), y)
            robust, zero_gradients = clean.clone(), 0
            if clean.any():
                region = region_at(x[clean], uncertainty, bounds)
                problem = InnerProblem(model, loss, x[clean], y[clean], region, losses.misclassified, passes)
                zero_gradients = _zero_gradients(problem)
                robust[clean] = _withstood(problem, attacks, bounds, generator)
        seconds = time.perf_counter() - start
        yield Verdicts(y.cpu(), clean.cpu(), robust.cpu(), zero_gradients, passes, seconds)


def _withstood(problem: InnerProblem, attacks: Sequence[Attack], bounds: Bounds, generator: torch.Generator) -> Tensor:
    """Which rows no attack could change, (rows,)."""
    standing = torch.arange(len(problem), device=problem.x.device)
    for attack in attacks:
        rest = problem[standing]
        delta = maximized(attack, rest, generator)
        check_membership(rest.region.violation(delta), delta, attack)
        with torch.no_grad():
            logits = rest.forward(applied(rest.region, rest.x, delta, bounds))
        standing = standing[~losses.misclassified(logits, rest.y)]
        if not len(standing):
            break
    withstood = torch.zeros(len(problem), dtype=torch.bool, device=problem.x.device)
    withstood[standing] = True
    return withstood


def _zero_gradients(problem: InnerProblem) -> int:
    _, gradient = problem.linearized()
    return int((norms(gradient) == 0).sum())


def check_membership(violation: Tensor, delta: Tensor, attack: Attack) -> None:
    """Raise a `PluginError` that names the attack if a perturbation is outside its set by more than rounding."""
    outside = violation > TOLERANCE * (1 + norms(delta))
    if bool(outside.any()) or not bool(delta.isfinite().all()):
        raise PluginError(
            f"{type(attack).__name__} left the uncertainty set: {int(outside.sum())} of {len(delta)} perturbations, "
            f"by up to {float(violation.nan_to_num(torch.inf).max()):.3g}; its numbers cannot be used"
        )
