"""The laws of an attack, on problems whose maximum is known, and through a net that an attack could leave changed.

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
"""A logit that masks a class without being −∞."""
SMALL = 2.0**-100
"""A factor, about 1e-30, by which an objective is scaled without any rounding; in float32 its square is 0."""
HALF_PRECISION_SLACK = 1e-6
"""Largest violation of a half-precision δ: rounding of the region's own arithmetic in float32."""


def _generator(seed: int) -> torch.Generator:
    """A new generator of this seed."""
    return torch.Generator().manual_seed(seed)


def _problems(
    attack: Attack,
    seed: int,
    function: Function,
    dtype: torch.dtype = torch.float64,
    *,
    few: bool = False,
) -> Iterator[tuple[str, InnerProblem]]:
    """Names and problems of one function over the kit's sets, without sets that are not convex if the attack refuses.

    ``few`` leaves one set of each kind.
    """
    x = example_batch(attack.example_shape, seed, dtype)
    for name, region in regions_at(x):
        if few and name not in FEW:
            continue
        problem = InnerProblem.from_function(function, x, region)
        if region.convex or not _refuses(attack, problem[:1]):
            yield name, problem


def _linear_problems(
    attack: Attack, seed: int, *, few: bool = False
) -> Iterator[tuple[str, InnerProblem]]:
    """Names and problems of a linear function over the kit's sets, see `_problems`."""
    return _problems(attack, seed, linear_function(attack.example_shape, seed), few=few)


def _refuses(attack: Attack, problem: InnerProblem) -> bool:
    """Whether the attack says that it cannot be used over such a set."""
    try:
        attack.maximize(problem, _generator(0))
    except UsageError:
        return True
    return False


def _cube_in_range(x: Tensor) -> Region:
    """The cube around x within [0, 1]."""
    return Cube().at(x).clip(0 - x, 1 - x)


def check_feasible(attack: Attack, seed: int) -> None:
    """violation(δ) ≤ tolerance, with the region's shape and type, on linear, curved and constant objectives."""
    for name, linear in _linear_problems(attack, seed):
        for function in (linear.forward, parabola, constant, constant_without_graph):
            problem = attrs.evolve(linear, forward=function)
            _require_member(
                attack,
                problem=problem,
                delta=attack.maximize(problem, _generator(seed)),
                when=f" ({name})",
            )


def _require_member(
    attack: Attack, problem: InnerProblem, delta: Tensor, when: str, slack: float = 1e-9
) -> None:
    """Require the region's shape and type, and finite numbers; and membership, if the attack says that it stays inside.

    ``when`` is the end of the message, ``slack`` the largest violation.
    """
    like = problem.region.like
    require(
        delta.shape == like.shape,
        f"δ has shape {tuple(delta.shape)} instead of {tuple(like.shape)}{when}",
    )
    require(
        delta.dtype == like.dtype,
        f"δ has type {delta.dtype} instead of {like.dtype}{when}",
    )
    require(
        delta.isfinite().flatten(1).all(1),
        f"δ has entries that are no finite numbers{when}",
        delta=delta,
    )
    if attack.stays_inside:
        outside = problem.region.violation(delta)
        require(outside <= slack, f"outside by {{}}{when}", outside, delta=delta)


def check_linear(attack: Attack, seed: int) -> None:
    """On a linear objective it gains at least ``linear_share`` of what the support gains (0 promises nothing)."""
    if attack.linear_share == 0:
        return
    for name, problem in _linear_problems(attack, seed):
        # no attack promises to cross the gap between two parts of a set
        if not problem.region.convex:
            continue
        best = linear_gain(problem)
        delta = attack.maximize(problem, _generator(seed))
        share = (problem.value(delta) - problem.value(problem.region.zero())) / best
        require(
            share >= attack.linear_share - 1e-9,
            text=f"gains {{}} of the maximum, promised is {attack.linear_share:g} ({name})",
            value=share,
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
        require(
            bool(torch.equal(first, second)),
            f"the same generator gives another δ ({name})",
        )


def check_rows(attack: Attack, seed: int) -> None:
    """Rows are independent: an attack that draws nothing gives each row what it gives the row alone."""
    if attack.couples_rows:
        return
    for name, problem in _problems(attack, seed, parabola, few=True):
        delta = attack.maximize(problem, _generator(seed))
        # where δ depends on the generator, what a row draws depends on the rows before it
        if not torch.equal(delta, attack.maximize(problem, _generator(seed + 1))):
            return
        for i in (0, ROWS // 2, ROWS - 1):
            alone = attack.maximize(problem[i : i + 1], _generator(seed))
            apart = (alone - delta[i : i + 1]).abs().max()
            require(
                bool(apart <= 1e-9),
                f"row {i} depends on the rest of the batch, by {apart:.3g} ({name})",
            )


def check_no_rows(attack: Attack, seed: int) -> None:
    """A batch without rows gives a δ without rows, of the region's shape and type, and the net is not asked."""

    def refuse(x: Tensor) -> Tensor:
        require(
            len(x) > 0,
            "the net was asked for the outputs of no examples: most nets cannot say",
        )
        return parabola(x)

    for name, problem in _problems(attack, seed, parabola):
        empty = attrs.evolve(problem, forward=refuse)[:0]
        _require_member(
            attack,
            problem=empty,
            delta=attack.maximize(empty, _generator(seed)),
            when=f" for a batch without rows ({name})",
        )
    classifier = classifier_problem(attack.example_shape, seed, _cube_in_range)

    def classify(x: Tensor) -> Tensor:
        refuse(x)
        return classifier.forward(x)

    for criterion in (None, losses.misclassified):
        empty = attrs.evolve(classifier, forward=classify, criterion=criterion)[:0]
        _require_member(
            attack,
            problem=empty,
            delta=attack.maximize(empty, _generator(seed)),
            when=" for no labelled rows",
        )


def check_solved(attack: Attack, seed: int) -> None:
    """Rows that meet the criterion may be dropped, and the rest still comes back in its place, feasible."""
    number = torch.arange(ROWS, dtype=torch.float64)
    for name, linear in _linear_problems(attack, seed, few=True):
        some_solved = attrs.evolve(
            linear, y=number, criterion=lambda values, y: y % 3 == 0
        )
        delta = attack.maximize(some_solved, _generator(seed))
        _require_member(
            attack,
            problem=linear,
            delta=delta,
            when=f" when some rows are solved ({name})",
        )
        all_solved = attrs.evolve(linear, y=number, criterion=lambda values, y: y >= 0)
        delta = attack.maximize(all_solved, _generator(seed))
        _require_member(
            attack,
            problem=linear,
            delta=delta,
            when=f" when all rows are solved ({name})",
        )


def check_scale_free(attack: Attack, seed: int) -> None:
    """J and 1e-30·J have the same δ: no gradient is too small to follow, down to where its square vanishes."""
    for name, problem in _problems(
        attack, seed=seed, function=parabola, dtype=torch.float32, few=True
    ):
        faint = attrs.evolve(problem, forward=_scale_down(problem.forward))
        plain = copy.deepcopy(attack).maximize(problem, _generator(seed))
        faint_delta = copy.deepcopy(attack).maximize(faint, _generator(seed))
        apart = norms(faint_delta - plain)
        require(
            apart <= 1e-3 * (1e-3 + norms(plain)),
            text=f"δ is {{}} away from that of the same objective, 2^100 times as large ({name})",
            value=apart,
            delta=plain,
        )


def _scale_down(function: Function) -> Function:
    """The function times `SMALL`."""
    return lambda x: SMALL * function(x)


def check_masked_classes(attack: Attack, seed: int) -> None:
    """A class whose logit is −∞ changes δ no more than one whose logit is −10,000."""
    problem = classifier_problem(attack.example_shape, seed, _cube_in_range)
    problem = attrs.evolve(problem, y=problem.y + 1)
    for criterion in (None, losses.misclassified):
        deltas = []
        for value in (-torch.inf, MASKED):
            masked = attrs.evolve(
                problem,
                forward=_mask_classes(problem.forward, value),
                criterion=criterion,
            )
            delta = copy.deepcopy(attack).maximize(masked, _generator(seed))
            _require_member(
                attack,
                problem=masked,
                delta=delta,
                when=f" where a class has the logit {value:g}",
            )
            deltas.append(delta)
        apart = norms(deltas[0] - deltas[1])
        require(
            apart <= 1e-6,
            text="δ is {} away from that with −10,000 instead of −∞",
            value=apart,
            delta=deltas[0],
        )


def _mask_classes(forward: Function, value: float) -> Function:
    """The net with two more classes, the first and the last one, whose logits are ``value``."""
    return lambda x: torch.nn.functional.pad(forward(x), (1, 1), value=value)


def check_half_precision(attack: Attack, seed: int) -> None:
    """In float16, bfloat16 and float32 every δ is a finite member, of that type."""
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        for name, problem in _problems(
            attack, seed=seed, function=parabola, dtype=dtype, few=True
        ):
            delta = attack.maximize(problem, _generator(seed))
            _require_member(
                attack,
                problem=problem,
                delta=delta,
                when=f" ({name}, {dtype})",
                slack=HALF_PRECISION_SLACK,
            )


def check_targets(attack: Attack, seed: int) -> None:
    """On its way to a target it lowers J(θ, x + δ, target) of every row of a linear classifier (0 promises nothing)."""
    if attack.linear_share == 0:
        return
    plain = classifier_problem(attack.example_shape, seed, _cube_in_range)
    for k in range(1, 5):
        problem = plain.with_target((plain.y + k) % 5)
        delta = attack.maximize(problem, _generator(seed))
        _require_member(attack, problem=problem, delta=delta, when=" with a target")
        gain = problem.value(delta) - problem.value(problem.region.zero())
        require(
            gain > 0,
            text="lowers the target's loss by {}",
            value=gain,
            x=problem.x,
            delta=delta,
        )


def check_model_untouched(attack: Attack, seed: int) -> None:
    """Parameters, their .grad, buffers, training and requires_grad flags are bit-equal before and after."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        x = torch.rand(ROWS, *attack.example_shape)
        y = torch.arange(ROWS) % 3
        model = Delicate(x[0].numel()).train()
        losses.cross_entropy(model(x), y).sum().backward()
        model.body[1].eval()
        modes: tuple[AscentMode, ...] = ("eval", "train")
        for mode in modes:
            before = copy.deepcopy(_full_state(model))
            batch = Batch.create(
                model, x, y, uncertainty=Cube(), attack=attack, seed=seed
            )
            perturbed = batch.worst_case(mode=mode)
            after = _full_state(model)
            changed = [
                name for name, value in before.items() if not _equal(value, after[name])
            ]
            require(
                not changed, f"the attack changed {', '.join(changed)} ({mode} mode)"
            )
            require(not perturbed.requires_grad, "x̃ keeps a graph")
            require(
                bool((norms(perturbed - x) > 0).any()) or attack.linear_share == 0,
                "no example was moved",
            )


def _full_state(model: nn.Module) -> dict[str, object]:
    """Parameters, buffers, gradients and flags of a net by name."""
    state: dict[str, object] = dict(model.state_dict())
    for name, parameter in model.named_parameters():
        state[f"{name}.grad"] = parameter.grad
        state[f"{name}.requires_grad"] = parameter.requires_grad
    for name, module in model.named_modules():
        state[f"{name}.training"] = module.training
    return state


def _equal(left: object, right: object) -> bool:
    """Whether two values of a state are equal, tensors bit for bit."""
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
