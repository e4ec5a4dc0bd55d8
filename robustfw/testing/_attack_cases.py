"""Problems on which the laws of attacks are checked, and what the laws ask of them."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from robustfw.attack import Attack
from robustfw.errors import UsageError
from robustfw.inner.problem import InnerProblem
from robustfw.regions import Region
from robustfw.testing.laws import require
from robustfw.testing.problems import (
    FEW,
    Cube,
    Function,
    example_batch,
    linear_function,
    regions_at,
)


def seeded_generator(seed: int) -> torch.Generator:
    """A new generator of this seed."""
    return torch.Generator().manual_seed(seed)


def problems_for(
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
        if region.convex or not refuses(attack, problem[:1]):
            yield name, problem


def linear_problems(
    attack: Attack, seed: int, *, few: bool = False
) -> Iterator[tuple[str, InnerProblem]]:
    """Names and problems of a linear function over the kit's sets, see `problems_for`."""
    return problems_for(
        attack, seed, linear_function(attack.example_shape, seed), few=few
    )


def refuses(attack: Attack, problem: InnerProblem) -> bool:
    """Whether the attack says that it cannot be used over such a set."""
    try:
        attack.maximize(problem, seeded_generator(0))
    except UsageError:
        return True
    return False


def cube_in_range(x: Tensor) -> Region:
    """The cube around x within [0, 1]."""
    return Cube().at(x).clip(0 - x, 1 - x)


def require_member(
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
