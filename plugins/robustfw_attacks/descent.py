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
"""Of steps and gradient changes that are remembered (Nocedal & Wright 2006, section 7.2: 3 to 20 are usual)."""
SUFFICIENT = 1e-4
"""Armijo's share of the decrease that the slope predicts."""
DESCENT = 1e-3
"""A quasi-Newton direction falls at least so steeply, relative to the projected gradient, or is not taken."""
ROUNDINGS = 16
"""J is as flat as its numbers allow where it changes by no more roundings of itself than that."""
STILL = 1e-6
"""A row rests once its move is that short, relative to the reach of its set."""

Seen: TypeAlias = Callable[[Tensor, Tensor, Tensor | None, Tensor], None]
"""Is shown every δ evaluated, with J, where the goal is reached (None: there is no goal), and the rows' numbers."""


@attrs.frozen(eq=False)
class _Rows:
    """Where each row stands; every tensor has the rows as its first axis."""

    delta: Tensor
    value: Tensor
    reward: Tensor
    """J/unit, a part of the value."""
    gradient: Tensor
    move: Tensor
    """The direction δ ← δ + length·move that is being tried; a member of the set at length 1."""
    length: Tensor
    steps: Tensor
    """(rows, pairs, d): past steps s, the latest last; 0 where there is none yet."""
    bends: Tensor
    """(rows, pairs, d): the changes of gradient that belong to them."""
    reach: Tensor
    """‖support(−∇)‖₂ at the start: the size of the set, which makes lengths relative."""
    weight: Tensor
    unit: Tensor
    """J and its gradient are divided by this: so the gradient is about 1 at the start."""
    number: Tensor
    """Which row of the problem this is."""

    def __getitem__(self, rows: Tensor) -> Self:
        return attrs.evolve(self, **{f.name: getattr(self, f.name)[rows] for f in attrs.fields(type(self))})


def descend(
    problem: InnerProblem,
    start: Tensor,
    weight: Tensor,
    evaluations: int,
    seen: Seen,
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
        seen: is shown every δ that was evaluated.
        unit: (batch,), > 0, in which J is measured; by default the length of its gradient at ``start``.
    """
    result = start.clone()
    rows = _begin(problem, start, weight, seen, unit)
    for _ in range(evaluations - 1):
        going = (rows.length * norms(rows.move) > STILL * rows.reach).nonzero()[:, 0]
        if len(going) < len(rows.number):
            result[rows.number] = rows.delta
            rows = rows[going]
        if not len(going):
            return result
        rows = _advanced(problem if len(going) == len(problem) else problem[rows.number], rows, seen)
    result[rows.number] = rows.delta
    return result


def _evaluate(problem: InnerProblem, delta: Tensor, number: Tensor, seen: Seen) -> tuple[Tensor, Tensor]:
    """J and its gradient (rows, d), in float32 at least; ``seen`` is shown them."""
    reward, ascent, solved = problem.probe(delta)
    seen(delta, reward, solved, number)
    kind = wide(delta.dtype)
    return reward.to(kind), ascent.to(kind).flatten(1)


def _weigh(reward: Tensor, ascent: Tensor, delta: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """weight·‖δ‖₂² − reward, (rows,), and its gradient, (rows, d)."""
    far = delta.to(reward).flatten(1)
    return weight * norms(far).square() - reward, 2 * weight[:, None] * far - ascent


def _begin(problem: InnerProblem, start: Tensor, weight: Tensor, seen: Seen, unit: Tensor | None) -> _Rows:
    number = torch.arange(len(problem), device=start.device)
    weight = weight.to(wide(start.dtype))
    reward, ascent = _evaluate(problem, start, number, seen)
    if unit is None:
        unit = lengths(ascent)
        unit = unit.masked_fill(unit == 0, 1)
    unit = unit.to(weight)
    reward = reward / unit
    value, gradient = _weigh(reward, ascent / unit[:, None], start, weight)
    direction = unit_rows(-gradient).reshape(start.shape).to(start.dtype)
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
        reach=lengths(problem.region.support(direction)).to(value),
        weight=weight,
        unit=unit,
        number=number,
    )
    return _directed(problem, rows, torch.ones_like(value, dtype=torch.bool))


def _advanced(
    problem: InnerProblem,
    rows: _Rows,
    seen: Seen,
) -> _Rows:
    """One evaluation: accept and turn, or shorten."""
    trial = problem.region.project(rows.delta + per_row(rows.length, rows.delta) * rows.move)
    reward, ascent = _evaluate(problem, trial, rows.number, seen)
    reward = reward / rows.unit
    value, gradient = _weigh(reward, ascent / rows.unit[:, None], trial, rows.weight)
    move = rows.move.to(value).flatten(1)
    slope = (rows.gradient * move).sum(1)
    lower = value <= rows.value + SUFFICIENT * rows.length * slope
    # where J is too flat for its numbers (log 3 + 1e-25, e^-50) the slopes at both ends tell (Hager & Zhang 2005)
    flat = (reward - rows.reward).abs() <= ROUNDINGS * torch.finfo(reward.dtype).eps * reward.abs()
    gentle = (gradient * move).sum(1) <= (2 * SUFFICIENT - 1) * slope
    accepted = lower | (flat & gentle & (slope < 0))
    pushed, push = per_row(accepted, rows.delta) > 0, accepted[:, None]
    step = (trial - rows.delta).to(value).flatten(1)
    turned = attrs.evolve(
        rows,
        delta=torch.where(pushed, trial, rows.delta),
        value=torch.where(accepted, value, rows.value),
        reward=torch.where(accepted, reward, rows.reward),
        gradient=torch.where(push, gradient, rows.gradient),
        length=rows.length * _shortened(rows, value, slope),
        **_remembered(rows, step, gradient - rows.gradient, accepted),
    )
    return _directed(problem, turned, accepted)


def _shortened(rows: _Rows, value: Tensor, slope: Tensor) -> Tensor:
    """Where the parabola through both values and the slope has its lowest point, between 1/10 and 1/2."""
    rise = value - rows.value - rows.length * slope
    return (-rows.length * slope / (2 * rise)).nan_to_num(0.5).clamp(0.1, 0.5)


def _remembered(rows: _Rows, step: Tensor, bend: Tensor, accepted: Tensor) -> dict[str, Tensor]:
    """The history with one more pair, where the curvature along the step is positive."""
    curved = (step * bend).sum(1) > 1e-10 * lengths(step) * lengths(bend)
    pushed = (accepted & curved)[:, None, None]
    steps, bends = torch.cat([rows.steps[:, 1:], step[:, None]], 1), torch.cat([rows.bends[:, 1:], bend[:, None]], 1)
    return {"steps": torch.where(pushed, steps, rows.steps), "bends": torch.where(pushed, bends, rows.bends)}


def _directed(problem: InnerProblem, rows: _Rows, turning: Tensor) -> _Rows:
    """New directions, of full length, for the rows that turn."""
    region, shape = problem.region, rows.delta.shape
    scale = _scale(rows)

    def moved(step: Tensor) -> Tensor:
        return region.project(rows.delta - step.reshape(shape).to(rows.delta.dtype)) - rows.delta

    plain = moved(scale[:, None] * rows.gradient)
    free = plain.flatten(1) != 0
    move = moved(_two_loops(rows, torch.where(free, rows.gradient, 0), scale) * free)
    falls, fallen = ((rows.gradient * each.to(rows.gradient).flatten(1)).sum(1) for each in (move, plain))
    steep = per_row(falls <= DESCENT * fallen, move) > 0
    move = torch.where(steep, move, plain)
    return attrs.evolve(
        rows,
        move=torch.where(per_row(turning, move) > 0, move, rows.move),
        length=torch.where(turning, 1.0, rows.length).to(rows.length),
    )


def _scale(rows: _Rows) -> Tensor:
    """The step along −∇ before curvature: ⟨s, y⟩/⟨y, y⟩ of the latest pair; at first 1/(2·weight), the distance's own.

    Never more than what crosses the set.
    """
    step, bend = rows.steps[:, -1], rows.bends[:, -1]
    largest = bend.abs().amax(1)
    turn = unit_rows(bend)
    latest = (step * turn).sum(1) / turn.square().sum(1) / largest
    scale = torch.where(latest > 0, latest, 1 / (2 * rows.weight))
    steepness = lengths(rows.gradient)
    return torch.where(steepness > 0, torch.minimum(scale, 2 * rows.reach / steepness), 0)


def _two_loops(rows: _Rows, gradient: Tensor, scale: Tensor) -> Tensor:
    """H·∇ from the pairs (Nocedal & Wright 2006, algorithm 7.4); pairs that are not there are 0 and change nothing."""
    curvature = (rows.steps * rows.bends).sum(2)
    rho = torch.where(curvature > 0, 1 / curvature, 0)
    shares = []
    for i in reversed(range(PAIRS)):
        share = rho[:, i] * inner_products(rows.steps[:, i], gradient)
        gradient = gradient - share[:, None] * rows.bends[:, i]
        shares.append(share)
    gradient = scale[:, None] * gradient
    for i, share in enumerate(reversed(shares)):
        back = rho[:, i] * inner_products(rows.bends[:, i], gradient)
        gradient = gradient + (share - back)[:, None] * rows.steps[:, i]
    return gradient
