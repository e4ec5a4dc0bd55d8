"""Lines of the masking checklist that look at the net itself: its outputs, and whether its gradient is one."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from robustfw import losses
from robustfw.evaluation.accuracy import Verdicts
from robustfw.evaluation.checklist import Case, Line
from robustfw.inner import Bounds, frozen
from robustfw.regions import inner_products, norms, per_row, uniform_like

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
        one, two = _logits(case.model, x), _logits(case.model, x)
        differ += int(((one != two) & ~(one.isnan() & two.isnan())).any(1).sum())
        others += int((one.argmax(1) != two.argmax(1)).sum())
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
        outputs = _logits(case.model, x)
        probable += int(((outputs >= 0).all(1) & ((outputs.sum(1) - 1).abs() <= SUM_TO_ONE)).sum())
        broken += int((~outputs.isfinite()).any(1).sum())
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
    with frozen(case.model):
        errors = torch.cat([_errors(case.model, x, y, case.bounds, generator).cpu() for x, y in case.batches()])
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


def _logits(model: nn.Module, x: Tensor) -> Tensor:
    with frozen(model), torch.no_grad():
        return model(x)


def _blind(case: Case, clean: Tensor) -> int:
    """At how many correct examples cross-entropy has a gradient that is zero, or not finite."""
    blind = []
    with frozen(case.model):
        for x, y in case.batches():
            _, gradient = _gradient(case.model, x, y, losses.cross_entropy)
            size = norms(gradient)
            blind.append(((size == 0) | ~size.isfinite()).cpu())
    return int((torch.cat(blind) & clean).sum())


def _gradient(model: nn.Module, x: Tensor, y: Tensor, loss: losses.Loss) -> tuple[Tensor, Tensor]:
    """Logits and ∇J at x as autograd has it, and no gradient where nothing on the way is differentiable."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        outputs = model(x)
        values = loss(outputs, y)
        (gradient,) = torch.autograd.grad(values.sum(), x) if values.requires_grad else (torch.zeros_like(x),)
    return outputs.detach(), gradient


def _errors(model: nn.Module, x: Tensor, y: Tensor, bounds: Bounds, generator: torch.Generator) -> Tensor:
    """For each row the relative error of ⟨∇J, u⟩ against (J(x + hu) − J(x − hu))/2h, u = ∇J/‖∇J‖_∞, (batch,).

    J is the margin, piecewise linear in a ReLU net, and never saturated. The median over `STEPS` counts; without a
    gradient the error is 1.
    """
    point, width = _inside(x, bounds, generator)
    outputs, gradient = _gradient(model, point, y, losses.margin)
    direction = gradient / per_row(gradient.flatten(1).abs().amax(1).clamp(min=1e-30), gradient)
    slope = inner_products(gradient, direction)
    rounding = ROUNDING * torch.finfo(outputs.dtype).eps * outputs.abs().amax(1)
    errors = []
    for step in STEPS:
        h = step * width
        ahead, behind = (_margin(model, point + sign * h * direction, y) for sign in (1, -1))
        found = (ahead - behind) / (2 * h)
        gap = ((found - slope).abs() - rounding / (2 * h)).clamp(min=0)
        errors.append(gap / torch.maximum(found.abs(), slope.abs()))
    error = torch.stack(errors).median(0).values.nan_to_num(1, 1, 1)
    return error.where(norms(gradient) > 0, torch.ones_like(error))


def _margin(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return losses.margin(_logits(model, x), y)


def _inside(x: Tensor, bounds: Bounds, generator: torch.Generator) -> tuple[Tensor, float]:
    """Points near x, from which the largest step stays within the range; and the range's width."""
    low, high = bounds or (float(end) for end in x.aminmax())
    width = high - low or 1.0
    point = x + JITTER * width * (2 * uniform_like(x, generator) - 1)
    return (point if bounds is None else point.clamp(low + STEPS[0] * width, high - STEPS[0] * width)), width
