"""The laws of an attack, on problems whose maximum is known and through a net with everything that can be spoilt.

The sets are the kit's own (`robustfw.testing.problems`): boxes, balls, a set whose δ has another shape than x, and one
that is not convex. What an attack needs of a set it has from the methods of `Region`, or it breaks the first law.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import attrs
import torch
from torch import Tensor, nn

from robustfw import losses
from robustfw.attack import Attack
from robustfw.errors import UsageError
from robustfw.inner.freezing import AscentMode
from robustfw.inner.problem import InnerProblem
from robustfw.regions import Region, norms
from robustfw.testing.laws import Law, require
from robustfw.testing.problems import (
    FEW,
    ROWS,
    Cube,
    Delicate,
    Function,
    classifier_problem,
    constant,
    constant_without_graph,
    example_batch,
    linear_function,
    linear_gain,
    parabola,
    regions_at,
)
from robustfw.training.batch import Batch

MASKED = -1e4
"""What masks a class by a number, where others write −∞."""
SMALL = 2.0**-100
"""A factor, about 1e-30, by which an objective is scaled without any rounding; in float32 its square is 0."""
HALF_PRECISION_SLACK = 1e-6
"""By how much a half-precision δ may be outside: rounding of the region's own arithmetic in float32."""


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _problems(
    attack: Attack, seed: int, function: Function, dtype: torch.dtype = torch.float64, *, few: bool = False
) -> Iterator[tuple[str, InnerProblem]]:
    """One function over the sets of the kit that the attack takes; most take those that are not convex, too."""
    x = example_batch(attack.example_shape, seed, dtype)
    for name, region in regions_at(x):
        if few and name not in FEW:
            continue
        problem = InnerProblem.of(function, x, region)
        if region.convex or not _refuses(attack, problem[:1]):
            yield name, problem


def _linear_problems(attack: Attack, seed: int, *, few: bool = False) -> Iterator[tuple[str, InnerProblem]]:
    """A linear function over the sets of the kit."""
    return _problems(attack, seed, linear_function(attack.example_shape, seed), few=few)


def _refuses(attack: Attack, problem: InnerProblem) -> bool:
    """Whether the attack says that it cannot be used over such a set."""
    try:
        attack.maximize(problem, _generator(0))
    except UsageError:
        return True
    return False


def _cube_in_range(x: Tensor) -> Region:
    return Cube().at(x).within(0 - x, 1 - x)


def check_feasible(attack: Attack, seed: int) -> None:
    """violation(δ) ≤ tolerance, with the region's shape and type, on linear, curved and constant objectives."""
    for name, linear in _linear_problems(attack, seed):
        for function in (linear.forward, parabola, constant, constant_without_graph):
            problem = attrs.evolve(linear, forward=function)
            _require_member(attack, problem, attack.maximize(problem, _generator(seed)), f" ({name})")


def _require_member(attack: Attack, problem: InnerProblem, delta: Tensor, when: str, slack: float = 1e-9) -> None:
    """Shape, type and finite numbers; and membership, unless the attack says that it goes outside."""
    like = problem.region.like
    require(delta.shape == like.shape, f"δ has shape {tuple(delta.shape)} instead of {tuple(like.shape)}{when}")
    require(delta.dtype == like.dtype, f"δ has type {delta.dtype} instead of {like.dtype}{when}")
    require(delta.isfinite().flatten(1).all(1), f"δ has entries that are no finite numbers{when}", delta=delta)
    if attack.stays_inside:
        outside = problem.region.violation(delta)
        require(outside <= slack, f"outside by {{}}{when}", outside, delta=delta)


def check_linear(attack: Attack, seed: int) -> None:
    """On a linear objective it gains at least ``linear_share`` of what the support gains (0 promises nothing)."""
    if attack.linear_share == 0:
        return
    for name, problem in _linear_problems(attack, seed):
        if not problem.region.convex:
            continue  # a step leads out of one part of the set into another: nobody promises to cross the gap
        best = linear_gain(problem)
        delta = attack.maximize(problem, _generator(seed))
        share = (problem.value(delta) - problem.value(problem.region.zero())) / best
        require(
            share >= attack.linear_share - 1e-9,
            f"gains {{}} of the maximum, promised is {attack.linear_share:g} ({name})",
            share,
            x=problem.x,
            delta=delta,
        )


def check_generator(attack: Attack, seed: int) -> None:
    """The generator alone decides δ: same generator, same δ, whatever torch's global one does."""
    for name, problem in _linear_problems(attack, seed, few=True):
        with torch.random.fork_rng(devices=[]):
            first = copy.deepcopy(attack).maximize(problem, _generator(seed))
            torch.manual_seed(seed + 1)
            second = copy.deepcopy(attack).maximize(problem, _generator(seed))
        require(bool(torch.equal(first, second)), f"the same generator gives another δ ({name})")


def check_rows(attack: Attack, seed: int) -> None:
    """Rows are independent: an attack that draws nothing gives each row what it gives the row alone."""
    if attack.couples_rows:
        return
    for name, problem in _problems(attack, seed, parabola, few=True):
        whole = attack.maximize(problem, _generator(seed))
        if not torch.equal(whole, attack.maximize(problem, _generator(seed + 1))):
            return  # it draws: what a row draws depends on the rows before it
        for i in (0, ROWS // 2, ROWS - 1):
            apart = (attack.maximize(problem[i : i + 1], _generator(seed)) - whole[i : i + 1]).abs().max()
            require(bool(apart <= 1e-9), f"row {i} depends on the rest of the batch, by {apart:.3g} ({name})")


def check_no_rows(attack: Attack, seed: int) -> None:
    """A batch without rows gives a δ without rows, of the region's shape and type, and the net is not asked."""

    def refuse(moved: Tensor) -> Tensor:
        require(len(moved) > 0, "the net was asked for the outputs of no examples: most nets cannot say")
        return parabola(moved)

    for name, problem in _problems(attack, seed, parabola):
        empty = attrs.evolve(problem, forward=refuse)[:0]
        _require_member(attack, empty, attack.maximize(empty, _generator(seed)), f" for a batch without rows ({name})")
    classifier = classifier_problem(attack.example_shape, seed, _cube_in_range)
    plain = classifier.forward

    def classify(moved: Tensor) -> Tensor:
        refuse(moved)
        return plain(moved)

    for goal in (None, losses.misclassified):
        empty = attrs.evolve(classifier, forward=classify, goal=goal)[:0]
        _require_member(attack, empty, attack.maximize(empty, _generator(seed)), " for no labelled rows")


def check_solved(attack: Attack, seed: int) -> None:
    """Rows that reach the goal may be dropped, and the rest still comes back in its place, feasible."""
    number = torch.arange(ROWS, dtype=torch.float64)
    for name, linear in _linear_problems(attack, seed, few=True):
        some = attrs.evolve(linear, y=number, goal=lambda values, y: y % 3 == 0)
        delta = attack.maximize(some, _generator(seed))
        _require_member(attack, linear, delta, f" when some rows are solved ({name})")
        everything = attrs.evolve(linear, y=number, goal=lambda values, y: y >= 0)
        delta = attack.maximize(everything, _generator(seed))
        _require_member(attack, linear, delta, f" when all rows are solved ({name})")


def check_scale_free(attack: Attack, seed: int) -> None:
    """J and 1e-30·J have the same δ: no gradient is too small to follow, down to where its square vanishes."""
    for name, problem in _problems(attack, seed, parabola, torch.float32, few=True):
        faint = attrs.evolve(problem, forward=_scale_down(problem.forward))
        plain = copy.deepcopy(attack).maximize(problem, _generator(seed))
        apart = norms(copy.deepcopy(attack).maximize(faint, _generator(seed)) - plain)
        require(
            apart <= 1e-3 * (1e-3 + norms(plain)),
            f"δ is {{}} away from that of the same objective, 2^100 times as large ({name})",
            apart,
            delta=plain,
        )


def _scale_down(function: Function) -> Function:
    return lambda moved: SMALL * function(moved)


def check_masked_classes(attack: Attack, seed: int) -> None:
    """A class whose logit is −∞ changes δ no more than one whose logit is −10,000."""
    problem = classifier_problem(attack.example_shape, seed, _cube_in_range)
    problem = attrs.evolve(problem, y=problem.y + 1)
    for goal in (None, losses.misclassified):
        found = []
        for value in (-torch.inf, MASKED):
            masked = attrs.evolve(problem, forward=_mask_classes(problem.forward, value), goal=goal)
            found.append(copy.deepcopy(attack).maximize(masked, _generator(seed)))
            _require_member(attack, masked, found[-1], f" where a class has the logit {value:g}")
        apart = norms(found[0] - found[1])
        require(apart <= 1e-6, "δ is {} away from that with −10,000 instead of −∞", apart, delta=found[0])


def _mask_classes(forward: Function, value: float) -> Function:
    """The logits with a class before and one behind them that no example can be of."""
    return lambda moved: torch.nn.functional.pad(forward(moved), (1, 1), value=value)


def check_half_precision(attack: Attack, seed: int) -> None:
    """In float16, bfloat16 and float32 every δ is a finite member, of that type."""
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        for name, problem in _problems(attack, seed, parabola, dtype, few=True):
            delta = attack.maximize(problem, _generator(seed))
            _require_member(attack, problem, delta, f" ({name}, {dtype})", HALF_PRECISION_SLACK)


def check_targets(attack: Attack, seed: int) -> None:
    """On its way to a target it lowers J(θ, x + δ, target) of every row of a linear classifier (0 promises nothing)."""
    if attack.linear_share == 0:
        return
    plain = classifier_problem(attack.example_shape, seed, _cube_in_range)
    for k in range(1, 5):
        problem = plain.towards((plain.y + k) % 5)
        delta = attack.maximize(problem, _generator(seed))
        _require_member(attack, problem, delta, " with a target")
        gain = problem.value(delta) - problem.value(problem.region.zero())
        require(gain > 0, "lowers the target's loss by {}", gain, x=problem.x, delta=delta)


def check_model_untouched(attack: Attack, seed: int) -> None:
    """Parameters, their .grad, buffers, training and requires_grad flags are bit-equal before and after."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        x, y = torch.rand(ROWS, *attack.example_shape), torch.arange(ROWS) % 3
        model = Delicate(x[0].numel()).train()
        losses.cross_entropy(model(x), y).sum().backward()
        model.body[1].eval()
        modes: tuple[AscentMode, ...] = ("eval", "train")
        for mode in modes:
            before = copy.deepcopy(_condition(model))
            moved = Batch.of(model, x, y, uncertainty=Cube(), attack=attack, seed=seed).worst_case(mode=mode)
            after = _condition(model)
            changed = [name for name, value in before.items() if not _equal(value, after[name])]
            require(not changed, f"the attack changed {', '.join(changed)} ({mode} mode)")
            require(not moved.requires_grad, "x̃ keeps a graph")
            require(bool((norms(moved - x) > 0).any()) or attack.linear_share == 0, "no example was moved")


def _condition(model: nn.Module) -> dict[str, object]:
    facts: dict[str, object] = dict(model.state_dict())
    for name, parameter in model.named_parameters():
        facts[f"{name}.grad"], facts[f"{name}.requires_grad"] = parameter.grad, parameter.requires_grad
    return facts | {f"{name}.training": module.training for name, module in model.named_modules()}


def _equal(left: object, right: object) -> bool:
    if isinstance(left, Tensor) and isinstance(right, Tensor):
        return bool(torch.equal(left, right))
    return left is right or left == right


LAWS = (
    Law("feasible", check_feasible),
    Law("linear objective", check_linear),
    Law("generator decides", check_generator),
    Law("rows are independent", check_rows),
    Law("no rows", check_no_rows),
    Law("solved rows", check_solved),
    Law("scale-free", check_scale_free),
    Law("masked classes", check_masked_classes),
    Law("half precision", check_half_precision),
    Law("targets", check_targets),
    Law("model untouched", check_model_untouched),
)
