"""Lines of the masking checklist that play attacks against each other: the stronger must win, example by example."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from robustfw.attack import Attack
from robustfw.data.bounds import check_range, ends
from robustfw.errors import DataError
from robustfw.evaluation._accuracy import Verdicts
from robustfw.evaluation._checklist import Case, Line, Transferred
from robustfw.inner.adversary import TOLERANCE
from robustfw.inner.freezing import freeze
from robustfw.regions import norms

WEAKER = 0.005, 1
"""What a weaker attack may fool alone: a share and a least number. Of sound nets it is none; one is luck of a start."""
STEPS = 0.02, 2
"""How many twice the steps may change, up or down: on digits it is none, on MNIST (radius 0.3) about 2 of 200."""
RESTARTS = 0.05, 3
"""What restarts may fool in addition: on digits 1 of 200, and on MNIST, known for its many poor maxima, 3 to 7."""
ZERO = 0.01, 1
"""What may be left standing, or rise again, when the set is large: ascents end in poor maxima now and then."""
GROWTH = 2.0
"""Between two radii: few enough measurements to reach the data range from 1/255 in eight."""
BLIND_GROWTH = 16.0
"""How far a set grows of which nobody can say when it covers the data range."""


def one_step(case: Case, many: Verdicts) -> Line:
    """Nothing that one step fools withstands many steps."""
    name, attack = "one step", case.attacks.one
    if attack is None:
        return Line.unchecked(name, "no attack of one step was given")
    one = case.attacked(attack)
    alone = int((~one.robust & many.robust).sum())
    tolerated = case.tolerated(*WEAKER)
    by_one, by_many = _fooled(one), _fooled(many)
    return Line.of(
        name,
        alone <= tolerated,
        f"one step fools {by_one} of {_correct(one)}, many steps {by_many} of {_correct(many)}; one step alone {alone} "
        f"(at most {tolerated} tolerated)",
        correct=_correct(many),
        fooled_by_one_step=by_one,
        fooled_by_many_steps=by_many,
        fooled_by_one_step_alone=alone,
        tolerated=tolerated,
    )


def twice_the_steps(case: Case, many: Verdicts) -> Line:
    """Twice the steps change the robust accuracy by almost nothing, in either direction."""
    name, attack = "twice the steps", case.attacks.double
    if attack is None:
        return Line.unchecked(name, "the attack has no option called steps")
    double = case.attacked(attack)
    more = int((many.robust & ~double.robust).sum())
    fewer = int((~many.robust & double.robust).sum())
    tolerated = case.tolerated(*STEPS)
    return Line.of(
        name,
        max(more, fewer) <= tolerated,
        f"robust {_robust(many)} of {len(case)}, with twice the steps {_robust(double)}; {more} more fooled, {fewer} "
        f"fewer (at most {tolerated} tolerated)",
        n=len(case),
        robust=_robust(many),
        robust_with_twice_the_steps=_robust(double),
        more_fooled=more,
        fewer_fooled=fewer,
        tolerated=tolerated,
    )


def restarts(case: Case, many: Verdicts) -> Line:
    """Several random starts fool hardly more than one."""
    if case.attacks.restarts is None:
        return Line.unchecked("restarts", "the attack has no random start")
    return _against(case, many, case.attacks.restarts, "restarts", RESTARTS, "restarts fool {} more, of {} standing")


def noise(case: Case, many: Verdicts) -> Line:
    """Random members fool nothing that the gradient leaves standing."""
    if case.attacks.noise is None:
        return Line.unchecked("noise", "no attack by random members was given")
    words = "random members fool {} of {} that the gradient leaves standing"
    return _against(case, many, case.attacks.noise, "noise", WEAKER, words)


def _against(case: Case, many: Verdicts, attack: Attack, name: str, share: tuple[float, int], words: str) -> Line:
    """Another attack, tried on what withstood many steps; ``words`` have room for what it fools and of how many."""
    standing = many.robust.nonzero()[:, 0]
    more = 0
    if len(standing):
        found = case.attacked(attack, split=case.split.subset(standing), seed=1)  # other random starts than before
        more = int((~found.robust).sum())
    tolerated = case.tolerated(*share)
    return Line.of(
        name,
        more <= tolerated,
        f"{words.format(more, len(standing))} (at most {tolerated} tolerated)",
        standing=len(standing),
        more_fooled=more,
        tolerated=tolerated,
    )


def large_radius(case: Case, many: Verdicts) -> Line:
    """A growing set leaves fewer and fewer standing, and none once it covers the data range.

    Of a graded task, a regression for instance, some may be left: within the data range a net's outputs have limits,
    which may be within the tolerance. And an error has two sides, so that ascents from random starts end on either.
    """
    factors, covers = _growth(case)
    grown = [case.attacked(case.attacks.many, threat=case.threat.scaled(f)) for f in factors]
    robust = [_robust(each) for each in (many, *grown)]
    rise = max(max(later - sooner, 0) for sooner, later in itertools.pairwise(robust))
    graded = case.task.graded
    tolerated = case.tolerated(*RESTARTS) if graded else case.tolerated(*ZERO)
    sizes = ", ".join(f"{factor:g}" for factor in [1.0, *factors])
    found = f"robust {', '.join(map(str, robust))} of {len(case)} at {sizes} × the set"
    numbers = {
        "n": len(case),
        "factors": [1.0, *factors],
        "robust": robust,
        "largest_rise": rise,
        "covers_the_range": covers,
        "tolerated": tolerated,
    }
    if graded:
        words = f"{found} (a rise of at most {tolerated} tolerated)"
        return Line.of("large radius", rise <= tolerated, words, **numbers)
    if rise <= tolerated < robust[-1] and not covers:
        return Line.unchecked("large radius", f"{found}; it cannot be grown to cover the data range", **numbers)
    passed = rise <= tolerated and robust[-1] <= tolerated
    return Line.of("large radius", passed, f"{found} (at most {tolerated} tolerated at the end)", **numbers)


def transfer(case: Case, many: Verdicts) -> Line:
    """Examples that were made on other nets fool nothing that the attack on this one leaves standing."""
    if not case.transfer:
        return Line.unchecked("transfer", "no examples that were made on another net were given")
    shown, fooled = torch.zeros(2, len(case), dtype=torch.bool)
    for given in case.transfer:
        wrong, indices = _misclassified(case, given), given.indices.cpu()
        shown[indices] = True
        fooled[indices[wrong]] = True
    alone, standing = int((fooled & many.robust).sum()), int((shown & many.robust).sum())
    tolerated = case.tolerated(*WEAKER)
    return Line.of(
        "transfer",
        alone <= tolerated,
        f"examples made on {len(case.transfer)} other net(s) fool {alone} of {standing} shown that the attack leaves "
        f"standing (at most {tolerated} tolerated)",
        nets=len(case.transfer),
        shown=int(shown.sum()),
        standing=standing,
        fooled_by_transfer_alone=alone,
        tolerated=tolerated,
    )


def _robust(verdicts: Verdicts) -> int:
    return int(verdicts.robust.sum())


def _correct(verdicts: Verdicts) -> int:
    return int(verdicts.clean.sum())


def _fooled(verdicts: Verdicts) -> int:
    return int((verdicts.clean & ~verdicts.robust).sum())


def _growth(case: Case) -> tuple[list[float], bool]:
    """The factors by which the set grows, and whether the last one makes it cover the data range."""
    factor, before = 1.0, torch.inf
    factors: list[float] = []
    while True:
        lacking = _lacking(case, factor)
        if lacking is None:
            if factor >= BLIND_GROWTH:
                return factors, False
        elif lacking == 0 or lacking >= before:  # no farther than before: the set has limits of another kind
            return factors or [GROWTH], lacking == 0
        before = torch.inf if lacking is None else lacking
        factor *= GROWTH
        factors.append(factor)


def _lacking(case: Case, factor: float) -> float | None:
    """How far the opposite corner of the range lies outside the set, at most; None where that means nothing."""
    x, _ = next(case.batches())
    region = case.threat.scaled(factor).uncertainty.at(x)
    if case.threat.bounds is None or region.like.shape != x.shape or not region.additive:
        return None
    low, high = (torch.as_tensor(end).to(x) for end in ends(case.threat.bounds, x))
    corner = torch.where(x > (low + high) / 2, low, high)
    outside = region.violation(corner - x)
    return float(outside.max()) if bool((outside > TOLERANCE).any()) else 0.0


def _misclassified(case: Case, given: Transferred) -> Tensor:
    """Which of the given examples the net gets wrong, (k,); they must lie within the set and the range."""
    if len(given.indices) != len(given.adversarial) or not bool((given.indices < len(case)).all()):
        raise DataError(
            f"transferred examples need one index each, below {len(case)}: there are {len(given.adversarial)} with "
            f"{len(given.indices)} indices"
        )
    wrong = [torch.zeros(0, dtype=torch.bool)]
    rows = given.adversarial.split(case.batch_size)
    for (x, y), adversarial in zip(case.batches(case.split.subset(given.indices.cpu())), rows, strict=False):
        moved = adversarial.to(x)
        _check_within(case, x, moved)
        with freeze(case.model), torch.no_grad():
            outputs = case.task.read(case.model(moved), len(moved))
            wrong.append(case.task.wrong(outputs, case.task.targets(y)).cpu())
    return torch.cat(wrong)


def _check_within(case: Case, x: Tensor, moved: Tensor) -> None:
    """Raise a `DataError` unless x̃ could come from the set; of sets that are not additive only the range is known."""
    check_range(moved, case.threat.bounds)
    region = case.threat.region(x)
    if region.like.shape != x.shape or not region.additive:
        return
    outside = region.violation(moved - x) > TOLERANCE * (1 + norms(moved - x))
    if bool(outside.any()):
        raise DataError(
            f"{int(outside.sum())} of {len(x)} transferred examples lie outside the set: give examples that were made "
            "within it"
        )
