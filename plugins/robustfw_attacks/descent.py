"""Batched L-BFGS within a region: many small problems, in lock-step, each with its own step, curvature and end.

Every evaluation is one pass of all rows that still move; a row either accepts its trial point and takes a new
direction, or shortens its step and tries again. No row waits for the line search of another.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Self, TypeAlias

import attrs
import torch
from torch import Tensor

from robustfw.regions import inner_products, norms, per_row, wide
from robustfw_attacks.directions import lengths, unit_rows

if TYPE_CHECKING:
    from robustfw.inner.problem import InnerProblem

PAIRS = 8
"""How many pairs of step and gradient change are remembered (Nocedal & Wright 2006, section 7.2: 3 to 20 are usual)."""
SUFFICIENT = 1e-4
"""Armijo's share of the decrease that the slope predicts."""
DESCENT = 1e-3
"""Least slope of a quasi-Newton direction that is taken, relative to the slope of the projected gradient."""
ROUNDINGS = 16
"""J counts as flat where it changes by at most so many times its own rounding."""
STILL = 1e-6
"""A row is at rest once its move is shorter than this, relative to the reach of its set."""
CURVATURE = 1e-10
"""Least cosine between a step and its gradient change for the pair to be remembered."""

Observer: TypeAlias = Callable[[Tensor, Tensor, Tensor | None, Tensor], None]
"""Called at each evaluation with δ, J, a mask of the rows that meet the criterion (or None), and row numbers."""


@attrs.frozen(eq=False)
class _Rows:
    """The state of the descent; every tensor has the rows as its first axis."""

    delta: Tensor
    value: Tensor
    """weight·‖δ‖₂² − J/unit at δ, (rows,)."""
    reward: Tensor
    """J/unit at δ, (rows,)."""
    gradient: Tensor
    """The gradient of the value at δ, (rows, d)."""
    move: Tensor
    """The direction δ ← δ + length·move that is being tried; δ + move is a member."""
    length: Tensor
    """The length of the next trial step, (rows,), 1 at most."""
    steps: Tensor
    """(rows, pairs, d): past steps s, the latest last; 0 where there is none yet."""
    bends: Tensor
    """(rows, pairs, d): the change of gradient over each of the past steps."""
    reach: Tensor
    """‖support(−∇)‖₂ at the start, (rows,): the size of the set, which makes lengths relative."""
    weight: Tensor
    """The weight of the distance, (rows,)."""
    unit: Tensor
    """What J and its gradient are divided by, (rows,), so that the gradient is about 1 at the start."""
    number: Tensor
    """The row's index in the problem, (rows,)."""

    def __getitem__(self, rows: Tensor) -> Self:
        names = [field.name for field in attrs.fields(type(self))]
        selected = {name: getattr(self, name)[rows] for name in names}
        return attrs.evolve(self, **selected)


def descend(
    problem: InnerProblem,
    start: Tensor,
    weight: Tensor,
    evaluations: int,
    observe: Observer,
    *,
    unit: Tensor | None = None,
) -> Tensor:
    """A local minimizer of weight·‖δ‖₂² − J(δ)/unit over the region, for each row, by projected L-BFGS from ``start``.

    Coordinates that the set holds back are left out of the quasi-Newton step (two-metric projection, Bertsekas 1982);
    where what remains is no descent, as may happen in a set that is not a box, the row takes the projected gradient
    step of that length (Birgin et al. 2000), which always is. For a box this is the method of L-BFGS-B.

    Args:
        problem: gives J, its gradient, and the region.
        start: members to begin at.
        weight: (batch,), ≥ 0, of the distance.
        evaluations: the most forward and backward passes; rows that have come to rest take no further part.
        observe: is called with every δ that is evaluated.
        unit: (batch,), > 0, in which J is measured; by default the length of its gradient at ``start``.

    Returns:
        The last accepted δ of each row, (batch, *shape).
    """
    result = start.clone()
    rows = _begin(problem, start, weight, observe, unit)
    for _ in range(evaluations - 1):
        # 1. rows at rest take no further part
        distance = rows.length * norms(rows.move)
        is_moving = distance > STILL * rows.reach
        moving = is_moving.nonzero()[:, 0]
        if len(moving) < len(rows.number):
            result[rows.number] = rows.delta
            rows = rows[moving]
        if not len(moving):
            return result
        # 2. the others take one evaluation each
        remaining = problem if len(moving) == len(problem) else problem[rows.number]
        rows = _try_step(remaining, rows, observe)
    result[rows.number] = rows.delta
    return result


def _evaluate(
    problem: InnerProblem, delta: Tensor, number: Tensor, observe: Observer
) -> tuple[Tensor, Tensor]:
    """J and its gradient (rows, d), in float32 at least; ``observe`` is told."""
    reward, ascent, solved = problem.probe(delta)
    observe(delta, reward, solved, number)
    dtype = wide(delta.dtype)
    return reward.to(dtype), ascent.to(dtype).flatten(1)


def _weigh(
    reward: Tensor, ascent: Tensor, delta: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor]:
    """weight·‖δ‖₂² − reward, (rows,), and its gradient, (rows, d)."""
    flat = delta.to(reward).flatten(1)
    value = weight * norms(flat).square() - reward
    gradient = 2 * weight[:, None] * flat - ascent
    return value, gradient


def _begin(
    problem: InnerProblem,
    start: Tensor,
    weight: Tensor,
    observe: Observer,
    unit: Tensor | None,
) -> _Rows:
    """The state at the start: no history yet, and the first direction to try."""
    number = torch.arange(len(problem), device=start.device)
    weight = weight.to(wide(start.dtype))
    reward, ascent = _evaluate(problem, start, number, observe)
    if unit is None:
        unit = lengths(ascent)
        unit = unit.masked_fill(unit == 0, 1)
    unit = unit.to(weight)
    reward = reward / unit
    value, gradient = _weigh(reward, ascent / unit[:, None], start, weight)
    direction = unit_rows(-gradient).reshape(start.shape).to(start.dtype)
    reach = lengths(problem.region.support(direction)).to(value)
    history = gradient.new_zeros(len(start), PAIRS, gradient.shape[1])
    rows = _Rows(
        delta=start,
        value=value,
        reward=reward,
        gradient=gradient,
        move=torch.zeros_like(start),
        length=torch.zeros_like(value),
        steps=history,
        bends=history,
        reach=reach,
        weight=weight,
        unit=unit,
        number=number,
    )
    return _choose_direction(problem, rows, torch.ones_like(value, dtype=torch.bool))


def _try_step(problem: InnerProblem, rows: _Rows, observe: Observer) -> _Rows:
    """One evaluation: each row accepts its trial point and takes a new direction, or shortens its step."""
    # 1. evaluate the trial point
    length = per_row(rows.length, rows.delta)
    trial = problem.region.project(rows.delta + length * rows.move)
    reward, ascent = _evaluate(problem, trial, rows.number, observe)
    reward = reward / rows.unit
    ascent = ascent / rows.unit[:, None]
    value, gradient = _weigh(reward, ascent, trial, rows.weight)
    # 2. accept it by Armijo's rule
    move = rows.move.to(value).flatten(1)
    slope = (rows.gradient * move).sum(1)
    limit = rows.value + SUFFICIENT * rows.length * slope
    lower = value <= limit
    # or, where J is too flat for its numbers (log 3 + 1e-25, e^-50), by the slopes at both ends (Hager & Zhang 2005)
    eps = torch.finfo(reward.dtype).eps
    rounding = ROUNDINGS * eps * reward.abs()
    flat = (reward - rows.reward).abs() <= rounding
    end_slope = (gradient * move).sum(1)
    gentle = end_slope <= (2 * SUFFICIENT - 1) * slope
    accepted = lower | (flat & gentle & (slope < 0))
    # 3. remember the step and the change of gradient where the curvature along the step is positive
    step = (trial - rows.delta).to(value).flatten(1)
    bend = gradient - rows.gradient
    curvature = (step * bend).sum(1)
    convex = curvature > CURVATURE * lengths(step) * lengths(bend)
    pair_mask = (accepted & convex)[:, None, None]
    steps = torch.cat([rows.steps[:, 1:], step[:, None]], 1)
    bends = torch.cat([rows.bends[:, 1:], bend[:, None]], 1)
    # 4. accepted rows go on in a new direction, the others try the shorter step
    shorter = rows.length * _backtrack(rows, value, slope)
    delta_mask = per_row(accepted, rows.delta) > 0
    gradient_mask = accepted[:, None]
    updated = attrs.evolve(
        rows,
        delta=torch.where(delta_mask, trial, rows.delta),
        value=torch.where(accepted, value, rows.value),
        reward=torch.where(accepted, reward, rows.reward),
        gradient=torch.where(gradient_mask, gradient, rows.gradient),
        length=shorter,
        steps=torch.where(pair_mask, steps, rows.steps),
        bends=torch.where(pair_mask, bends, rows.bends),
    )
    return _choose_direction(problem, updated, accepted)


def _backtrack(rows: _Rows, value: Tensor, slope: Tensor) -> Tensor:
    """The factor by which the step shortens: the minimum of the parabola through both values and the slope.

    It is clamped to the interval from 1/10 to 1/2.
    """
    rise = value - rows.value - rows.length * slope
    factor = -rows.length * slope / (2 * rise)
    return factor.nan_to_num(0.5).clamp(0.1, 0.5)


def _choose_direction(problem: InnerProblem, rows: _Rows, accepted: Tensor) -> _Rows:
    """A new direction and a step of full length, for the rows whose last trial was accepted."""
    shape = rows.delta.shape
    scale = _step_scale(rows)

    def project_step(step: Tensor) -> Tensor:
        move = step.reshape(shape).to(rows.delta.dtype)
        target = problem.region.project(rows.delta - move)
        return target - rows.delta

    # 1. the projected gradient step, which shows the coordinates that the set does not hold back
    plain = project_step(scale[:, None] * rows.gradient)
    free = plain.flatten(1) != 0
    # 2. the quasi-Newton step in these coordinates
    free_gradient = torch.where(free, rows.gradient, 0)
    quasi_newton = _two_loops(rows, free_gradient, scale)
    move = project_step(quasi_newton * free)
    # 3. take it where it descends steeply enough
    slope = (rows.gradient * move.to(rows.gradient).flatten(1)).sum(1)
    plain_slope = (rows.gradient * plain.to(rows.gradient).flatten(1)).sum(1)
    steep = per_row(slope <= DESCENT * plain_slope, move) > 0
    move = torch.where(steep, move, plain)
    # 4. rows whose trial failed keep direction and step
    move = torch.where(per_row(accepted, move) > 0, move, rows.move)
    length = torch.where(accepted, 1.0, rows.length).to(rows.length)
    return attrs.evolve(rows, move=move, length=length)


def _step_scale(rows: _Rows) -> Tensor:
    """The step along −∇ before curvature, (rows,): ⟨s, y⟩/⟨y, y⟩ of the latest pair s, y.

    Before there is a pair it is 1/(2·weight), which is exact for the distance alone. It never exceeds what crosses the
    set.
    """
    step = rows.steps[:, -1]
    bend = rows.bends[:, -1]
    largest = bend.abs().amax(1)
    # 1. by the latest pair, with y in units of its largest entry
    unit_bend = unit_rows(bend)
    curvature = (step * unit_bend).sum(1)
    latest = curvature / unit_bend.square().sum(1) / largest
    scale = torch.where(latest > 0, latest, 1 / (2 * rows.weight))
    # 2. no further than across the set
    steepness = lengths(rows.gradient)
    longest = 2 * rows.reach / steepness
    shorter = torch.minimum(scale, longest)
    return torch.where(steepness > 0, shorter, 0)


def _two_loops(rows: _Rows, gradient: Tensor, scale: Tensor) -> Tensor:
    """H·∇ from the pairs (Nocedal & Wright 2006, algorithm 7.4); missing pairs are 0 and change nothing."""
    curvature = (rows.steps * rows.bends).sum(2)
    rho = torch.where(curvature > 0, 1 / curvature, 0)
    # 1. from the latest pair back
    shares = []
    for i in reversed(range(PAIRS)):
        share = rho[:, i] * inner_products(rows.steps[:, i], gradient)
        gradient = gradient - share[:, None] * rows.bends[:, i]
        shares.append(share)
    # 2. the first Hessian, a multiple of the identity
    gradient = scale[:, None] * gradient
    # 3. from the earliest pair on
    shares.reverse()
    for i, share in enumerate(shares):
        back = rho[:, i] * inner_products(rows.bends[:, i], gradient)
        difference = share - back
        gradient = gradient + difference[:, None] * rows.steps[:, i]
    return gradient
