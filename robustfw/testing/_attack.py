"""The laws of an attack, on problems whose maximum is known, and through a net that an attack could leave changed.

The sets are the kit's own (`robustfw.testing.problems`): boxes, balls, a set whose δ has another shape than x, and one
that is not convex. What an attack needs of a set it has from the methods of `Region`, or it breaks the first law.
"""

from __future__ import annotations

import copy

import attrs
import torch
from torch import Tensor

from robustfw import losses
from robustfw.attack import Attack
from robustfw.regions import norms
from robustfw.testing._attack_cases import (
    cube_in_range,
    linear_problems,
    problems_for,
    require_member,
    seeded_generator,
)
from robustfw.testing._attack_on_nets import (
    check_half_precision,
    check_masked_classes,
    check_model_untouched,
    check_targets,
)
from robustfw.testing.laws import Law, require
from robustfw.testing.problems import (
    ROWS,
    Function,
    classifier_problem,
    constant,
    constant_without_graph,
    linear_gain,
    parabola,
)

SMALL = 2.0**-100
"""A factor, about 1e-30, by which an objective is scaled without any rounding; in float32 its square is 0."""


def check_feasible(attack: Attack, seed: int) -> None:
    """violation(δ) ≤ tolerance, with the region's shape and type, on linear, curved and constant objectives."""
    for name, linear in linear_problems(attack, seed):
        for function in (linear.forward, parabola, constant, constant_without_graph):
            problem = attrs.evolve(linear, forward=function)
            require_member(
                attack,
                problem=problem,
                delta=attack.maximize(problem, seeded_generator(seed)),
                when=f" ({name})",
            )


def check_linear(attack: Attack, seed: int) -> None:
    """On a linear objective it gains at least ``linear_share`` of what the support gains (0 promises nothing)."""
    if attack.linear_share == 0:
        return
    for name, problem in linear_problems(attack, seed):
        # no attack promises to cross the gap between two parts of a set
        if not problem.region.convex:
            continue
        best = linear_gain(problem)
        delta = attack.maximize(problem, seeded_generator(seed))
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
    for name, problem in linear_problems(attack, seed, few=True):
        with torch.random.fork_rng(devices=[]):
            first = copy.deepcopy(attack).maximize(problem, seeded_generator(seed))
            torch.manual_seed(seed + 1)
            second = copy.deepcopy(attack).maximize(problem, seeded_generator(seed))
        require(
            bool(torch.equal(first, second)),
            f"the same generator gives another δ ({name})",
        )


def check_rows(attack: Attack, seed: int) -> None:
    """Rows are independent: an attack that draws nothing gives each row what it gives the row alone."""
    if attack.couples_rows:
        return
    for name, problem in problems_for(attack, seed, parabola, few=True):
        delta = attack.maximize(problem, seeded_generator(seed))
        # where δ depends on the generator, what a row draws depends on the rows before it
        if not torch.equal(delta, attack.maximize(problem, seeded_generator(seed + 1))):
            return
        for i in (0, ROWS // 2, ROWS - 1):
            alone = attack.maximize(problem[i : i + 1], seeded_generator(seed))
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

    for name, problem in problems_for(attack, seed, parabola):
        empty = attrs.evolve(problem, forward=refuse)[:0]
        require_member(
            attack,
            problem=empty,
            delta=attack.maximize(empty, seeded_generator(seed)),
            when=f" for a batch without rows ({name})",
        )
    classifier = classifier_problem(attack.example_shape, seed, cube_in_range)

    def classify(x: Tensor) -> Tensor:
        refuse(x)
        return classifier.forward(x)

    for criterion in (None, losses.misclassified):
        empty = attrs.evolve(classifier, forward=classify, criterion=criterion)[:0]
        require_member(
            attack,
            problem=empty,
            delta=attack.maximize(empty, seeded_generator(seed)),
            when=" for no labelled rows",
        )


def check_solved(attack: Attack, seed: int) -> None:
    """Rows that meet the criterion may be dropped, and the rest still comes back in its place, feasible."""
    number = torch.arange(ROWS, dtype=torch.float64)
    for name, linear in linear_problems(attack, seed, few=True):
        some_solved = attrs.evolve(
            linear, y=number, criterion=lambda values, y: y % 3 == 0
        )
        delta = attack.maximize(some_solved, seeded_generator(seed))
        require_member(
            attack,
            problem=linear,
            delta=delta,
            when=f" when some rows are solved ({name})",
        )
        all_solved = attrs.evolve(linear, y=number, criterion=lambda values, y: y >= 0)
        delta = attack.maximize(all_solved, seeded_generator(seed))
        require_member(
            attack,
            problem=linear,
            delta=delta,
            when=f" when all rows are solved ({name})",
        )


def check_scale_free(attack: Attack, seed: int) -> None:
    """J and 1e-30·J have the same δ: no gradient is too small to follow, down to where its square vanishes."""
    for name, problem in problems_for(
        attack, seed=seed, function=parabola, dtype=torch.float32, few=True
    ):
        faint = attrs.evolve(problem, forward=_scale_down(problem.forward))
        plain = copy.deepcopy(attack).maximize(problem, seeded_generator(seed))
        faint_delta = copy.deepcopy(attack).maximize(faint, seeded_generator(seed))
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
