"""Laws of what a region does besides its oracles: x̃, steps, smaller sets, bounds, lists of members, empty batches."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from robustfw.errors import UsageError
from robustfw.regions import (
    Region,
    exact,
    inner_products,
    norms,
    per_row,
    with_unit_maximum,
)
from robustfw.testing._cases import (
    Case,
    cases,
    fit_to_random,
    restrict_to_unit_range,
    shapes_of,
)
from robustfw.testing.laws import require
from robustfw.uncertainty import UncertaintySet

FACTORS = (0.25, 0.5, 0.75, 1.0)
"""Sizes of the smaller sets that must be nested."""
FACTORS_OF_LENGTH = (2.0**-116, 2.0**99)
"""Factors of a direction, 1.2e-35 and 6.3e29, powers of 2 so that no digit changes."""


def check_apply(case: Case) -> None:
    """apply(x, 0) = x; x̃ has the form of x, row by row; a range changes no x̃ that keeps it, and x̃ keeps the range."""
    x = case.region.like if case.x is None else case.x
    unperturbed = case.region.apply(x, case.region.zero())
    _require_form(case, unperturbed, x)
    case.require(
        norms(unperturbed - x) <= case.slack(norms(x)),
        "apply(x, 0) is not x",
        x=x,
        got=unperturbed,
    )
    for delta in (
        case.region.sample(case.generator()),
        case.region.support(case.points),
    ):
        perturbed = case.region.apply(x, delta)
        _require_form(case, perturbed, x)
        case.require(
            perturbed.flatten(1).isfinite().all(1), "x̃ is not finite", x=x, delta=delta
        )
        rows = torch.tensor([40, 5])
        apart = norms(case.region[rows].apply(x[rows], delta[rows]) - perturbed[rows])
        case.require(
            apart <= case.tolerance * 10,
            "x̃ of a row depends on the rest of the batch, by {}",
            apart,
        )
        if case.bare is not None:
            _require_range(case, x=x, delta=delta, perturbed=perturbed, bare=case.bare)


def _require_form(case: Case, perturbed: Tensor, x: Tensor) -> None:
    """Require that x̃ has the shape, type and device of x."""
    same = (
        perturbed.shape == x.shape
        and perturbed.dtype == x.dtype
        and perturbed.device == x.device
    )
    form = f"{tuple(perturbed.shape)} {perturbed.dtype}"
    case.require(same, f"apply returns {form} for x of {tuple(x.shape)} {x.dtype}")


def _require_range(
    case: Case, x: Tensor, delta: Tensor, perturbed: Tensor, bare: Region
) -> None:
    """Require that x̃ keeps [0, 1], and that the range changes no x̃ of the bare set that keeps it."""
    outside = torch.maximum(-perturbed, perturbed - 1).flatten(1).amax(1)
    case.require(
        outside <= case.slack(),
        "x̃ leaves the range [0, 1] by {}",
        outside,
        x=x,
        delta=delta,
    )
    expected = bare.apply(x, delta)
    in_range = ((expected >= 0) & (expected <= 1)).flatten(1).all(1)
    unchanged = in_range & (bare.violation(delta) <= 0)
    apart = norms(expected - perturbed)
    text = "x̃ of a member that keeps the range is changed by the range, by {}"
    case.require(
        ~unchanged | (apart <= case.slack(norms(expected))),
        text,
        apart,
        x=x,
        delta=delta,
    )


def check_ascent(case: Case) -> None:
    """⟨g, ascent(g, δ, t)⟩ ≥ 0, finite: a move of ascent does not descend; t is one for all rows or one per row."""
    start = case.region.sample(case.generator())
    moves = {}
    for step in (0.1, 0.3, 1.0):
        moves[step] = case.region.ascent(case.points, start, step)
    for move in moves.values():
        gain = inner_products(case.points, move)
        holds = (gain >= -case.slack(norms(case.points))) & gain.isfinite()
        case.require(holds, "the move gains {}", gain, g=case.points, move=move)
    long = torch.arange(len(start)) % 2 == 0
    steps = torch.where(long, 1.0, 0.3).to(start.dtype)
    expected = torch.where(per_row(long, start) > 0, moves[1.0], moves[0.3])
    move = case.region.ascent(case.points, start, steps)
    case.require(
        move.shape == start.shape,
        f"with a step per row the move has shape {tuple(move.shape)}",
    )
    apart = norms(move - expected)
    holds = apart <= 10 * case.slack(norms(expected))
    case.require(
        holds,
        "with a step per row the move is another one, by {}",
        apart,
        g=case.points,
        move=move,
    )


def check_scaled(case: Case) -> None:
    """f·𝒰 has f·support, and its P at f·z is f·Pz, for a convex set; for any, f = 1 is the set, 0 is {0}, f per row."""
    region = case.region
    z = case.points
    # 1. a factor for all rows, and one for each, on a convex set
    if region.convex:
        for factor in (0.5, torch.linspace(0.1, 2, len(z), dtype=z.dtype)):
            scale = per_row(factor, z)
            scaled = region.scale(factor)
            gain = inner_products(
                scaled.support(z) - scale * region.support(z), z
            ).abs()
            case.require(
                gain <= 10 * case.slack(norms(z)),
                "support of the scaled set is off by {}",
                gain,
                g=z,
            )
            apart = norms(scaled.project(scale * z) - scale * region.project(z))
            case.require(
                apart <= 10 * case.slack(norms(z)),
                "project of the scaled set is off by {}",
                apart,
                z=z,
            )
    # 2. the factors 1 and 1/2 in turn, and 0, on any set
    first = torch.arange(len(z)) % 2 == 0
    mixed = region.scale(torch.where(first, 1.0, 0.5).to(z.dtype)).support(z)
    expected = torch.where(
        per_row(first, z) > 0, region.support(z), region.scale(0.5).support(z)
    )
    gain = inner_products(mixed - expected, z).abs()
    case.require(
        gain <= 10 * case.slack(norms(z)),
        "with a factor per row, support is off by {}",
        gain,
        g=z,
    )
    nothing = norms(region.scale(0.0).project(z))
    case.require(
        nothing <= case.slack(),
        "scaled by 0 the set has members of length {}",
        nothing,
        z=z,
    )


def check_smaller_sets(uncertainty: UncertaintySet, seed: int) -> None:
    """scale(1) is the set, scale(0) is {0}, and a < b ⇒ scale(a) ⊆ scale(b), whatever a set takes for a share."""
    for case in cases(uncertainty, seed):
        regions = [_smaller(uncertainty, factor, case) for factor in FACTORS]
        for (a, small), (b, large) in itertools.pairwise(
            zip(FACTORS, regions, strict=True)
        ):
            _require_inside(
                case,
                inner=small,
                outer=large,
                text=f"a member of scale({a}) is outside of scale({b})",
            )
        _require_inside(
            case,
            inner=regions[-1],
            outer=case.region,
            text="a member of scale(1) is outside of the set",
        )
        _require_inside(
            case,
            inner=case.region,
            outer=regions[-1],
            text="a member of the set is outside of scale(1)",
        )
        nothing = _smaller(uncertainty, 0.0, case)
        for member in (
            nothing.project(case.points),
            nothing.support(case.points),
            nothing.sample(case.generator()),
        ):
            length = norms(member)
            case.require(
                length <= case.slack(),
                "scale(0) has a member of length {}",
                length,
                member=member,
            )


def _smaller(uncertainty: UncertaintySet, factor: float, case: Case) -> Region:
    """The region of the smaller set at the examples of a case, within [0, 1] if the case's region is."""
    x = case.region.like if case.x is None else case.x
    region = (
        fit_to_random(uncertainty, tuple(x.shape[1:]), case.seed).scale(factor).at(x)
    )
    if case.bare is None:
        return region
    return restrict_to_unit_range(region, x)


def _require_inside(case: Case, inner: Region, outer: Region, text: str) -> None:
    """Require that members of one region are members of another."""
    for member in (
        inner.sample(case.generator()),
        inner.support(case.points),
        inner.project(case.points),
    ):
        outside = outer.violation(member)
        case.require(
            outside <= 10 * case.slack(norms(member)),
            f"{text} by {{}}",
            outside,
            member=member,
        )


def check_scale_free(uncertainty: UncertaintySet, seed: int) -> None:
    """support(c·g) = support(g), and ascent likewise, for c from 1e-35 to 1e30: only the direction of g counts."""
    for dtype in (torch.float64, torch.float32):
        for case in cases(uncertainty, seed, dtype):
            direction = with_unit_maximum(case.points)
            start = case.region.sample(case.generator())
            expected = {
                "support": case.region.support(direction),
                "ascent": case.region.ascent(direction, start, 0.3),
            }
            for length in FACTORS_OF_LENGTH:
                scaled = length * direction
                results = {
                    "support": case.region.support(scaled),
                    "ascent": case.region.ascent(scaled, start, 0.3),
                }
                for name, result in results.items():
                    gain = (
                        inner_products(direction, result)
                        - inner_products(direction, expected[name])
                    ).abs()
                    holds = gain <= 10 * case.slack(
                        norms(expected[name]), norms(direction)
                    )
                    text = f"in {dtype} {name}({length:.1e}·g) differs from {name}(g) by {{}}"
                    case.require(holds, text, gain, g=direction, got=result)


def check_support_bound(case: Case) -> None:
    """support_bound(g) ≥ ⟨g, δ⟩ for every member δ: support, samples, projections; a set without a proof says so."""
    g = case.points
    try:
        bound = case.region.support_bound(g)
    except UsageError:  # a set that has no proof
        return
    case.require(
        bound.shape == (len(g),),
        f"support_bound has shape {tuple(bound.shape)}, not ({len(g)},)",
    )
    direction = exact(g)
    length = norms(direction)
    for member in (
        case.region.support(g),
        case.region.sample(case.generator()),
        case.region.project(1e3 * g),
    ):
        excess = inner_products(direction, exact(member)) - bound
        # a member that rounding put outside of the set may exceed the bound by as much
        outside = exact(case.region.violation(member))
        holds = excess <= 1e-9 * (1 + length * norms(exact(member))) + length * outside
        case.require(
            holds, "a member exceeds the bound by {}", excess, g=g, member=member
        )


def check_members(case: Case) -> None:
    """members() of a finite set are members, one of them 0, one a farthest one, and samples are among them."""
    members = case.region.members()
    if members is None:
        return
    shape = members.shape
    like = case.region.like
    case.require(
        shape[0] == len(like) and shape[2:] == like.shape[1:],
        f"members() has shape {tuple(shape)}",
    )
    # 1. they are members, and 0 is one of them
    for member in members.unbind(1):
        outside = case.region.violation(member)
        case.require(
            outside <= case.slack(norms(member)),
            "a member is outside by {}",
            outside,
            member=member,
        )
    apart = torch.stack([norms(member) for member in members.unbind(1)]).amin(0)
    case.require(apart <= case.slack(), "0 is not among the members")
    # 2. support finds the best of them
    best = torch.stack(
        [inner_products(case.points, member) for member in members.unbind(1)]
    ).amax(0)
    value = inner_products(case.points, case.region.support(case.points))
    difference = (best - value).abs()
    case.require(
        difference <= case.slack(best),
        "support is not the best member, by {}",
        difference,
        g=case.points,
    )
    # 3. samples are among them
    sample = case.region.sample(case.generator())
    apart = torch.stack([norms(sample - member) for member in members.unbind(1)]).amin(
        0
    )
    case.require(
        apart <= case.slack(), "a sample is {} from all members", apart, sample=sample
    )


def check_empty(uncertainty: UncertaintySet, seed: int) -> None:
    """A batch of 0 rows gives 0 rows, of every oracle: a batch in which nothing is left to attack."""
    for shape in shapes_of(uncertainty):
        x = torch.rand(2, *shape, generator=torch.Generator().manual_seed(seed))
        fitted = fit_to_random(uncertainty, shape, seed)
        no_rows = x[:0]
        regions = {"region[:0]": fitted.at(x)[:0], "at(x[:0])": fitted.at(no_rows)}
        for name, region in regions.items():
            _require_empty(region, no_rows, name)
            _require_empty(restrict_to_unit_range(region, no_rows), no_rows, name)


def _require_empty(region: Region, x: Tensor, name: str) -> None:
    """Require that all oracles of a region without rows give no rows."""
    zero = region.zero()
    generator = torch.Generator().manual_seed(0)
    results = {
        "violation": region.violation(zero),
        "project": region.project(zero),
        "support": region.support(zero),
        "sample": region.sample(generator),
        "ascent": region.ascent(zero, zero, 0.5),
        "scaled": region.scale(0.5).project(zero),
        "apply": region.apply(x, zero),
    }
    for oracle, result in results.items():
        shape = {"violation": (0,), "apply": x.shape}.get(oracle, zero.shape)
        require(
            result.shape == shape,
            f"{oracle} of {name} has shape {tuple(result.shape)}, not {tuple(shape)}",
        )
