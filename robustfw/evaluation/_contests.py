"""Lines of the masking checklist that play attacks against each other: the stronger must win, example by example."""

from __future__ import annotations

import itertools

import torch

from robustfw.attack import Attack
from robustfw.data.bounds import ends
from robustfw.evaluation._checklist import AuditCase, Line
from robustfw.evaluation._verdicts import Verdicts
from robustfw.inner.adversary import TOLERANCE

WEAKER = 0.005, 1
"""Examples that only a weaker attack may fool: at most 0.5 %, or 1. Sound nets: 0; one may be chance (random start)."""
STEPS = 0.02, 2
"""Examples that twice the steps may change, up or down: at most 2 %, or 2. Digits: 0 of 200; MNIST, radius 0.3: 2."""
RESTARTS = 0.05, 3
"""Examples that restarts may fool in addition: at most 5 %, or 3. Digits: 1 of 200; MNIST, of poor maxima: 3 to 7."""
ZERO = 0.01, 1
"""Examples that may withstand a set as large as the range: at most 1 %, or 1: some ascents end in poor maxima."""
GROWTH = 2.0
"""Factor between two sizes of the growing set: from 1/255 it covers the data range in eight measurements."""
BLIND_GROWTH = 16.0
"""Factor at which a set stops to grow if it cannot be said when it covers the data range."""


def one_step(case: AuditCase, many: Verdicts) -> Line:
    """Nothing that one step fools withstands many steps."""
    if case.attacks.one is None:
        return Line.skip("one step", "no attack of one step was given")
    one = case.attack(case.attacks.one)
    alone = int((~one.robust & many.robust).sum())
    tolerated = case.tolerance(*WEAKER)
    by_one = _count_fooled(one)
    by_many = _count_fooled(many)
    return Line.check(
        "one step",
        alone <= tolerated,
        f"one step fools {by_one} of {_count_correct(one)}, many steps {by_many} of {_count_correct(many)}; one step "
        f"alone {alone} (at most {tolerated} tolerated)",
        correct=_count_correct(many),
        fooled_by_one_step=by_one,
        fooled_by_many_steps=by_many,
        fooled_by_one_step_alone=alone,
        tolerated=tolerated,
    )


def twice_the_steps(case: AuditCase, many: Verdicts) -> Line:
    """Twice the steps change the robust accuracy by almost nothing, in either direction."""
    if case.attacks.double is None:
        return Line.skip("twice the steps", "the attack has no option called steps")
    double = case.attack(case.attacks.double)
    more = int((many.robust & ~double.robust).sum())
    fewer = int((~many.robust & double.robust).sum())
    tolerated = case.tolerance(*STEPS)
    return Line.check(
        "twice the steps",
        max(more, fewer) <= tolerated,
        f"robust {_count_robust(many)} of {len(case)}, with twice the steps {_count_robust(double)}; {more} more "
        f"fooled, {fewer} fewer (at most {tolerated} tolerated)",
        n=len(case),
        robust=_count_robust(many),
        robust_with_twice_the_steps=_count_robust(double),
        more_fooled=more,
        fewer_fooled=fewer,
        tolerated=tolerated,
    )


def restarts(case: AuditCase, many: Verdicts) -> Line:
    """Several random starts fool hardly more than one."""
    if case.attacks.restarts is None:
        return Line.skip("restarts", "the attack has no random start")
    words = "restarts fool {} more, of {} standing"
    return _attack_standing(
        case,
        many=many,
        attack=case.attacks.restarts,
        name="restarts",
        limit=RESTARTS,
        words=words,
    )


def noise(case: AuditCase, many: Verdicts) -> Line:
    """Random members fool nothing that the gradient leaves standing."""
    if case.attacks.noise is None:
        return Line.skip("noise", "no attack by random members was given")
    words = "random members fool {} of {} that the gradient leaves standing"
    return _attack_standing(
        case,
        many=many,
        attack=case.attacks.noise,
        name="noise",
        limit=WEAKER,
        words=words,
    )


def _attack_standing(
    case: AuditCase,
    many: Verdicts,
    attack: Attack,
    name: str,
    limit: tuple[float, int],
    words: str,
) -> Line:
    """The line of another attack, tried on what withstood many steps.

    Args:
        case: the net, the examples and the set.
        many: the verdicts of the attack of many steps.
        attack: what is tried.
        name: of the line.
        limit: the share and the least number of examples that it may fool.
        words: have room for how many it fools, and of how many.
    """
    standing = many.robust.nonzero()[:, 0]
    more = 0
    if len(standing):
        # another seed, for other random starts than before
        verdicts = case.attack(attack, split=case.split.subset(standing), seed=1)
        more = int((~verdicts.robust).sum())
    tolerated = case.tolerance(*limit)
    return Line.check(
        name,
        more <= tolerated,
        f"{words.format(more, len(standing))} (at most {tolerated} tolerated)",
        standing=len(standing),
        more_fooled=more,
        tolerated=tolerated,
    )


def large_radius(case: AuditCase, many: Verdicts) -> Line:
    """A growing set leaves fewer and fewer standing, and none once it covers the data range.

    In a graded task, a regression for instance, some may be left: within the data range a net's outputs have limits,
    which may be within the tolerance. And an error has two sides, so that ascents from random starts end on either.
    """
    # 1. attack sets that grow
    factors, covers = _growth(case)
    robust = [_count_robust(many)]
    for factor in factors:
        verdicts = case.attack(case.attacks.many, threat=case.threat.scale(factor))
        robust.append(_count_robust(verdicts))

    # 2. what a larger set leaves, a smaller one must leave too
    rises = [later - sooner for sooner, later in itertools.pairwise(robust)]
    rise = max(0, *rises)
    graded = case.task.graded
    tolerated = case.tolerance(*RESTARTS) if graded else case.tolerance(*ZERO)
    sizes = ", ".join(f"{factor:g}" for factor in [1.0, *factors])
    counts = ", ".join(str(count) for count in robust)
    words = f"robust {counts} of {len(case)} at {sizes} × the set"
    numbers = {
        "n": len(case),
        "factors": [1.0, *factors],
        "robust": robust,
        "largest_rise": rise,
        "covers_the_range": covers,
        "tolerated": tolerated,
    }
    if graded:
        passed = rise <= tolerated
        return Line.check(
            "large radius",
            passed,
            f"{words} (a rise of at most {tolerated} tolerated)",
            **numbers,
        )

    # 3. nothing withstands a set that covers the data range
    if rise <= tolerated < robust[-1] and not covers:
        return Line.skip(
            "large radius",
            f"{words}; it cannot be grown to cover the data range",
            **numbers,
        )
    passed = rise <= tolerated and robust[-1] <= tolerated
    return Line.check(
        "large radius",
        passed,
        f"{words} (at most {tolerated} tolerated at the end)",
        **numbers,
    )


def _count_robust(verdicts: Verdicts) -> int:
    return int(verdicts.robust.sum())


def _count_correct(verdicts: Verdicts) -> int:
    return int(verdicts.clean.sum())


def _count_fooled(verdicts: Verdicts) -> int:
    return int((verdicts.clean & ~verdicts.robust).sum())


def _growth(case: AuditCase) -> tuple[list[float], bool]:
    """The factors by which the set grows, and whether the last one makes it cover the data range."""
    factor = 1.0
    factors: list[float] = []
    last_distance = torch.inf
    while True:
        distance = _distance_to_corner(case, factor)
        if distance is None:
            if factor >= BLIND_GROWTH:
                return factors, False
            last_distance = torch.inf
        else:
            # a set that no longer comes closer has limits of another kind than its size
            if distance == 0 or distance >= last_distance:
                return factors or [GROWTH], distance == 0
            last_distance = distance
        factor *= GROWTH
        factors.append(factor)


def _distance_to_corner(case: AuditCase, factor: float) -> float | None:
    """How far the opposite corner of the range lies outside the set, at most; None where that means nothing."""
    x, _ = next(case.batches())
    region = case.threat.scale(factor).uncertainty.at(x)
    if case.threat.bounds is None:
        return None
    if region.like.shape != x.shape or not region.additive:
        return None
    lower, upper = ends(case.threat.bounds, x)
    low = torch.as_tensor(lower).to(x)
    high = torch.as_tensor(upper).to(x)
    middle = (low + high) / 2
    corner = torch.where(x > middle, low, high)
    frozen = case.threat.frozen(x)
    if frozen is not None:
        corner = torch.where(frozen, x, corner)
    violation = region.violation(corner - x)
    if bool((violation > TOLERANCE).any()):
        return float(violation.max())
    return 0.0
