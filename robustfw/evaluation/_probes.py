"""Lines of the masking checklist that look at the net itself: its outputs, and whether its gradient is one."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from robustfw import losses
from robustfw.data.bounds import Bounds, ends
from robustfw.evaluation._accuracy import Verdicts
from robustfw.evaluation._checklist import Case, Line
from robustfw.inner.freezing import freeze
from robustfw.regions import inner_products, per_row, uniform_like

BLIND = 0.01, 1
"""How many examples may have no gradient: a few very sure ones of a sound net do."""
MARGIN = 0.05, 3
"""What the margin loss may fool in addition: on digits none, on MNIST (radius 0.3) 5 of 200; of saturated nets 26."""
SUM_TO_ONE = 1e-3
"""How far from 1 probabilities may sum: half precision's rounding."""
STEPS = (1e-3, 3e-4, 1e-4)
"""Of finite differences, as shares of the data range: far below 1/255, so that rounding to bytes shows, and far enough
above float32's rounding of logits. The median over the three is taken: one may hit a kink or drown in rounding."""
AGREE = 0.1
"""The relative error at which slope and gradient still agree; ReLU nets are below 0.01 on most examples."""
AGREEING = 0.8
"""The share of examples that must: near kinks of a ReLU net the two differ honestly."""
ROUNDING = 16
"""Rounding of logits in units in the last place of the largest, as sums over a layer add up."""
JITTER = 0.01
"""How far an example is moved first, as a share of the range: examples themselves often lie on kinks (0, 1, k/255)."""


def gradients_not_zero(case: Case, many: Verdicts) -> Line:
    """Few correct examples are without a gradient, and the margin loss finds no more than cross-entropy."""
    correct, blind = int(many.clean.sum()), _blind(case, many.clean)
    standing = many.robust.nonzero()[:, 0]
    more = 0
    if not case.task.labelled:
        limit = case.tolerated(*BLIND)
        return Line.of(
            "gradients not zero",
            blind <= limit,
            f"no gradient at {blind} of {correct} {case.task.right} (at most {limit} tolerated)",
            correct=correct,
            without_gradient=blind,
            tolerated_without_gradient=limit,
        )
    if len(standing):
        split = case.split.subset(standing)
        more = int((~case.attacked(case.attacks.many, split=split, loss=losses.margin).robust).sum())
    limits = case.tolerated(*BLIND), case.tolerated(*MARGIN)
    return Line.of(
        "gradients not zero",
        blind <= limits[0] and more <= limits[1],
        f"no gradient at {blind} of {correct} correct (at most {limits[0]} tolerated); the margin loss fools {more} "
        f"more, of {len(standing)} standing (at most {limits[1]} tolerated)",
        correct=correct,
        without_gradient=blind,
        tolerated_without_gradient=limits[0],
        standing=len(standing),
        more_fooled_by_margin_loss=more,
        tolerated_by_margin_loss=limits[1],
    )


def deterministic(case: Case, many: Verdicts) -> Line:
    """Two forward passes of the same batch are equal, bit for bit."""
    differ = others = 0
    for x, _ in case.batches():
        one, two = _outputs(case, x), _outputs(case, x)
        apart = ((one != two) & ~(one.isnan() & two.isnan())).flatten(1).any(1)
        differ += int(apart.sum())
        others += int(((one.argmax(1) != two.argmax(1)) if case.task.labelled else apart).sum())
    return Line.of(
        "deterministic",
        differ == 0,
        f"outputs differ between two passes at {differ} of {len(case)} examples, predictions at {others}",
        n=len(case),
        outputs_differ=differ,
        predictions_differ=others,
    )


def logits(case: Case, many: Verdicts) -> Line:
    """Outputs are finite, and no probabilities."""
    probable = broken = 0
    for x, _ in case.batches():
        outputs = _outputs(case, x)
        if case.task.labelled:
            probable += int(((outputs >= 0).all(1) & ((outputs.sum(1) - 1).abs() <= SUM_TO_ONE)).sum())
        broken += int((~outputs.isfinite()).flatten(1).any(1).sum())
    return Line.of(
        "logits",
        2 * probable <= len(case) and broken == 0,  # by chance, a few rows of logits look like probabilities
        f"probabilities at {probable} of {len(case)} examples, numbers that are not finite at {broken}",
        n=len(case),
        probabilities=probable,
        not_finite=broken,
    )


def true_gradients(case: Case, many: Verdicts) -> Line:
    """The slope of the margin along its gradient is what the gradient says, on most examples."""
    generator = torch.Generator().manual_seed(case.seed)
    with freeze(case.model):
        errors = torch.cat([_errors(case, x, y, generator).cpu() for x, y in case.batches()])
    agree, least = int((errors <= AGREE).sum()), math.ceil(AGREEING * len(case))
    median = float(errors.median())
    return Line.of(
        "true gradients",
        agree >= least,
        f"gradient and finite differences agree within {AGREE:.0%} at {agree} of {len(case)} examples (at least "
        f"{least} expected), median error beyond rounding {median:.2g}",
        n=len(case),
        agree=agree,
        expected=least,
        median_error=median,
    )


def _outputs(case: Case, x: Tensor) -> Tensor:
    """The net's outputs in the form of the task."""
    with freeze(case.model), torch.no_grad():
        return case.task.read(case.model(x.clone()), len(x))


def _steepness(case: Case) -> losses.LossFunction:
    """The loss whose slope is measured: the margin, which never saturates, or the task's where there are no classes."""
    return losses.margin if case.task.labelled else case.task.loss


def _blind(case: Case, clean: Tensor) -> int:
    """At how many correct examples cross-entropy has a gradient that is zero, or not finite."""
    blind = []
    with freeze(case.model):
        for x, y in case.batches():
            _, gradient = _gradient(case, x, y, case.task.loss)
            nothing = (gradient == 0).flatten(1).all(1)
            blind.append((nothing | ~gradient.isfinite().flatten(1).all(1)).cpu())
    return int((torch.cat(blind) & clean).sum())


def _gradient(case: Case, x: Tensor, y: Tensor, loss: losses.LossFunction) -> tuple[Tensor, Tensor]:
    """Outputs and ∇J at x as autograd has it, and no gradient where nothing on the way is differentiable."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        outputs = case.task.read(case.model(x.clone()), len(x))
        values = loss(outputs, case.task.targets(y))
        (gradient,) = torch.autograd.grad(values.sum(), x) if values.requires_grad else (torch.zeros_like(x),)
    return outputs.detach(), gradient


def _errors(case: Case, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
    """For each row the relative error of ⟨∇J, u⟩ against (J(x + hu) − J(x − hu))/2h, u = ∇J/‖∇J‖_∞, (batch,).

    J is the margin, piecewise linear in a ReLU net, and never saturated; of tasks without classes, their loss. The
    median over `STEPS` counts; without a gradient the error is 1.
    """
    point, width = _inside(x, case.threat.bounds, generator)
    outputs, gradient = _gradient(case, point, y, _steepness(case))
    largest = gradient.flatten(1).abs().amax(1)
    direction = width * gradient / per_row(largest.where(largest > 0, 1), gradient)
    slope = inner_products(gradient, direction)
    values = _values(case, point, y)
    rounding = ROUNDING * torch.finfo(outputs.dtype).eps * torch.maximum(outputs.flatten(1).abs().amax(1), values.abs())
    errors = []
    for h in STEPS:
        ahead, behind = (_values(case, point + sign * h * direction, y) for sign in (1, -1))
        found = (ahead - behind) / (2 * h)
        gap = ((found - slope).abs() - rounding / (2 * h)).clamp(min=0)
        errors.append(gap / torch.maximum(found.abs(), slope.abs()))
    error = torch.stack(errors).median(0).values.nan_to_num(1, 1, 1)
    return error.where(largest > 0, torch.ones_like(error))


def _values(case: Case, x: Tensor, y: Tensor) -> Tensor:
    return _steepness(case)(_outputs(case, x), case.task.targets(y))


def _inside(x: Tensor, bounds: Bounds, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Points near x, from which the largest step stays within the range; and the width of each coordinate's range."""
    low, high = (torch.as_tensor(end).to(x) for end in (x.aminmax() if bounds is None else ends(bounds, x)))
    width = (high - low).where(high > low, torch.ones_like(high - low))
    point = x + JITTER * width * (2 * uniform_like(x, generator).to(x) - 1)
    if bounds is None:
        return point, width
    margin = STEPS[0] * width
    return torch.minimum(torch.maximum(point, low + margin), high - margin), width
