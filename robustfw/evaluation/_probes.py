"""Lines of the masking checklist that look at the net itself: its outputs, and whether its gradient is one."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from robustfw import losses
from robustfw.data.bounds import Bounds, ends
from robustfw.evaluation._checklist import AuditCase, Line
from robustfw.evaluation._verdicts import Verdicts
from robustfw.inner.freezing import freeze
from robustfw.regions import inner_products, per_row, uniform_like

BLIND = 0.01, 1
"""Examples that may have no gradient: at most 1 %, or 1; a sound net is very sure of a few."""
MARGIN = 0.05, 3
"""Examples that the margin loss may fool in addition: at most 5 %, or 3. MNIST: 5 of 200; saturated nets: 26."""
SUM_TO_ONE = 1e-3
"""Distance from 1 within which a sum counts as one of probabilities: rounding in half precision."""
STEPS = (1e-3, 3e-4, 1e-4)
"""Steps of finite differences, as shares of the data range: far below 1/255, so that rounding to bytes shows, and far
enough above float32's rounding of logits. The median over the three counts: one may hit a kink or drown in rounding."""
AGREE = 0.1
"""Relative error at which slope and gradient still agree; ReLU nets are below 0.01 on most examples."""
AGREEING = 0.8
"""Share of examples at which slope and gradient must agree: near kinks of a ReLU net the two differ honestly."""
ROUNDING = 16
"""Rounding error of logits, in units in the last place of the largest one: sums over a layer add up."""
JITTER = 0.01
"""Share of the range by which an example is moved first: examples themselves often lie on kinks (0, 1, k/255)."""


def gradients_not_zero(case: AuditCase, many: Verdicts) -> Line:
    """Few correct examples are without a gradient, and the margin loss finds no more than cross-entropy."""
    correct = int(many.clean.sum())
    blind = _count_blind(case, many.clean)
    blind_limit = case.tolerance(*BLIND)
    if not case.task.labelled:
        return Line.check(
            "gradients not zero",
            blind <= blind_limit,
            f"no gradient at {blind} of {correct} {case.task.right} (at most {blind_limit} tolerated)",
            correct=correct,
            without_gradient=blind,
            tolerated_without_gradient=blind_limit,
        )
    # the margin loss, on what withstood the attack
    standing = many.robust.nonzero()[:, 0]
    more = 0
    if len(standing):
        verdicts = case.attack(
            case.attacks.many, split=case.split.subset(standing), loss=losses.margin
        )
        more = int((~verdicts.robust).sum())
    margin_limit = case.tolerance(*MARGIN)
    few_blind = blind <= blind_limit
    few_more = more <= margin_limit
    return Line.check(
        "gradients not zero",
        few_blind and few_more,
        f"no gradient at {blind} of {correct} correct (at most {blind_limit} tolerated); the margin loss fools {more} "
        f"more, of {len(standing)} standing (at most {margin_limit} tolerated)",
        correct=correct,
        without_gradient=blind,
        tolerated_without_gradient=blind_limit,
        standing=len(standing),
        more_fooled_by_margin_loss=more,
        tolerated_by_margin_loss=margin_limit,
    )


def deterministic(case: AuditCase, many: Verdicts) -> Line:
    """Two forward passes of the same batch are equal, bit for bit."""
    outputs_differ = 0
    predictions_differ = 0
    for x, _ in case.batches():
        first = _outputs(case, x)
        second = _outputs(case, x)
        # two NaN in the same place are equal outputs
        both_nan = first.isnan() & second.isnan()
        unequal = (first != second) & ~both_nan
        outputs_change = unequal.flatten(1).any(1)
        predictions_change = outputs_change
        if case.task.labelled:
            predictions_change = first.argmax(1) != second.argmax(1)
        outputs_differ += int(outputs_change.sum())
        predictions_differ += int(predictions_change.sum())
    return Line.check(
        "deterministic",
        outputs_differ == 0,
        f"outputs differ between two passes at {outputs_differ} of {len(case)} examples, predictions at "
        f"{predictions_differ}",
        n=len(case),
        outputs_differ=outputs_differ,
        predictions_differ=predictions_differ,
    )


def logits(case: AuditCase, many: Verdicts) -> Line:
    """Outputs are finite, and no probabilities."""
    probable = 0
    broken = 0
    for x, _ in case.batches():
        outputs = _outputs(case, x)
        if case.task.labelled:
            sums_to_one = (outputs.sum(1) - 1).abs() <= SUM_TO_ONE
            positive = (outputs >= 0).all(1)
            probable += int((positive & sums_to_one).sum())
        not_finite = ~outputs.isfinite()
        broken += int(not_finite.flatten(1).any(1).sum())
    # by chance, a few rows of logits look like probabilities
    mostly_logits = 2 * probable <= len(case)
    return Line.check(
        "logits",
        mostly_logits and broken == 0,
        f"probabilities at {probable} of {len(case)} examples, numbers that are not finite at {broken}",
        n=len(case),
        probabilities=probable,
        not_finite=broken,
    )


def true_gradients(case: AuditCase, many: Verdicts) -> Line:
    """The slope of the margin along its gradient is what the gradient says, on most examples."""
    generator = torch.Generator().manual_seed(case.seed)
    error_batches = []
    with freeze(case.model):
        for x, y in case.batches():
            error = _errors(case, x, y, generator)
            error_batches.append(error.cpu())
    errors = torch.cat(error_batches)
    agree = int((errors <= AGREE).sum())
    least = math.ceil(AGREEING * len(case))
    median = float(errors.median())
    return Line.check(
        "true gradients",
        agree >= least,
        f"gradient and finite differences agree within {AGREE:.0%} at {agree} of {len(case)} examples (at least "
        f"{least} expected), median error beyond rounding {median:.2g}",
        n=len(case),
        agree=agree,
        expected=least,
        median_error=median,
    )


def _outputs(case: AuditCase, x: Tensor) -> Tensor:
    """The net's outputs in the form of the task."""
    with freeze(case.model), torch.no_grad():
        return case.task.read(case.model(x.clone()), len(x))


def _steepness(case: AuditCase) -> losses.LossFunction:
    """The loss whose slope is measured: the margin, which never saturates, or the task's where there are no classes."""
    if case.task.labelled:
        return losses.margin
    return case.task.loss


def _count_blind(case: AuditCase, clean: Tensor) -> int:
    """At how many correct examples the task's loss has a gradient that is zero, or not finite."""
    masks = []
    with freeze(case.model):
        for x, y in case.batches():
            _, gradient = _outputs_and_gradient(case, x=x, y=y, loss=case.task.loss)
            zero = (gradient == 0).flatten(1).all(1)
            finite = gradient.isfinite().flatten(1).all(1)
            blind = zero | ~finite
            masks.append(blind.cpu())
    blind_and_correct = torch.cat(masks) & clean
    return int(blind_and_correct.sum())


def _outputs_and_gradient(
    case: AuditCase, x: Tensor, y: Tensor, loss: losses.LossFunction
) -> tuple[Tensor, Tensor]:
    """Outputs and ∇J at x as autograd has it; 0 where nothing on the way is differentiable."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        outputs = case.task.read(case.model(x.clone()), len(x))
        values = loss(outputs, case.task.targets(y))
        if not values.requires_grad:
            return outputs.detach(), torch.zeros_like(x)
        (gradient,) = torch.autograd.grad(values.sum(), x)
    return outputs.detach(), gradient


def _errors(
    case: AuditCase, x: Tensor, y: Tensor, generator: torch.Generator
) -> Tensor:
    """The relative error of ⟨∇J, u⟩ against (J(x + hu) − J(x − hu))/2h, u = ∇J/‖∇J‖_∞, of each row, (batch,).

    J is the margin, piecewise linear in a ReLU net, and never saturated; in tasks without classes, their loss. The
    median over `STEPS` counts; without a gradient the error is 1.
    """
    # 1. the slope that the gradient promises
    point, width = _interior_point(x, case.threat.bounds, generator)
    outputs, gradient = _outputs_and_gradient(case, x=point, y=y, loss=_steepness(case))
    largest = gradient.flatten(1).abs().amax(1)
    safe_largest = largest.where(largest > 0, 1)
    direction = width * gradient / per_row(safe_largest, gradient)
    slope = inner_products(gradient, direction)

    # 2. what rounding makes of a difference of two losses
    values = _losses_at(case, point, y)
    largest_output = outputs.flatten(1).abs().amax(1)
    largest_number = torch.maximum(largest_output, values.abs())
    rounding = ROUNDING * torch.finfo(outputs.dtype).eps * largest_number

    # 3. the slope that is measured, beyond rounding
    errors = []
    for h in STEPS:
        ahead = _losses_at(case, point + h * direction, y)
        behind = _losses_at(case, point - h * direction, y)
        measured_slope = (ahead - behind) / (2 * h)
        gap = (measured_slope - slope).abs()
        gap_beyond_rounding = (gap - rounding / (2 * h)).clamp(min=0)
        steepest = torch.maximum(measured_slope.abs(), slope.abs())
        errors.append(gap_beyond_rounding / steepest)

    # 4. the median over the steps; 1 where there is no number or no gradient
    median = torch.stack(errors).median(0).values
    error = median.nan_to_num(1, 1, 1)
    return error.where(largest > 0, torch.ones_like(error))


def _losses_at(case: AuditCase, x: Tensor, y: Tensor) -> Tensor:
    loss = _steepness(case)
    outputs = _outputs(case, x)
    return loss(outputs, case.task.targets(y))


def _interior_point(
    x: Tensor, bounds: Bounds, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Points near x, from which the largest step stays within the range; and the width of each coordinate's range."""
    # 1. the range, of the data or of x itself
    lower, upper = x.aminmax() if bounds is None else ends(bounds, x)
    low = torch.as_tensor(lower).to(x)
    high = torch.as_tensor(upper).to(x)
    width = high - low
    width = width.where(high > low, torch.ones_like(width))
    # 2. a random point near x
    noise = 2 * uniform_like(x, generator).to(x) - 1
    point = x + JITTER * width * noise
    if bounds is None:
        return point, width
    # 3. within the range by the largest step
    margin = STEPS[0] * width
    above_low = torch.maximum(point, low + margin)
    return torch.minimum(above_low, high - margin), width
