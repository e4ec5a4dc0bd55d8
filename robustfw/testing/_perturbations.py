"""Laws of what a region does besides its oracles: x̃, steps, smaller sets, bounds, lists of members, empty batches."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from robustfw.errors import UsageError
from robustfw.regions import Region, exact, inner_products, norms, per_row, with_unit_maximum
from robustfw.testing._cases import Case, cases, fit_to_random, restrict_to_unit_range, shapes_of
from robustfw.testing.laws import require
from robustfw.uncertainty import UncertaintySet

FACTORS = (0.25, 0.5, 0.75, 1.0)
"""Sizes of the smaller sets that must be nested."""
LENGTHENED = (2.0**-116, 2.0**99)
"""Lengths of a direction, 1.2e-35 and 6.3e29, powers of 2 so that no digit changes."""


def check_apply(case: Case) -> None:
    """apply(x, 0) = x; x̃ has the form of x, row by row; a range changes no x̃ that keeps it, and x̃ keeps the range."""
    x = case.region.like if case.x is None else case.x
    unmoved = case.region.apply(x, case.region.zero())
    _require_form(case, unmoved, x)
    case.require(norms(unmoved - x) <= case.slack(norms(x)), "apply(x, 0) is not x", x=x, got=unmoved)
    for delta in (case.region.sample(case.generator()), case.region.support(case.points)):
        moved = case.region.apply(x, delta)
        _require_form(case, moved, x)
        case.require(moved.flatten(1).isfinite().all(1), "x̃ is not finite", x=x, delta=delta)
        rows = torch.tensor([40, 5])
        apart = norms(case.region[rows].apply(x[rows], delta[rows]) - moved[rows])
        case.require(apart <= case.tolerance * 10, "x̃ of a row depends on the rest of the batch, by {}", apart)
        if case.bare is not None:
            _require_range(case, x, delta, moved, case.bare)


def _require_form(case: Case, moved: Tensor, x: Tensor) -> None:
    same = moved.shape == x.shape and moved.dtype == x.dtype and moved.device == x.device
    case.require(same, f"apply returns {tuple(moved.shape)} {moved.dtype} for x of {tuple(x.shape)} {x.dtype}")


def _require_range(case: Case, x: Tensor, delta: Tensor, moved: Tensor, bare: Region) -> None:
    outside = torch.maximum(-moved, moved - 1).flatten(1).amax(1)
    case.require(outside <= case.slack(), "x̃ leaves the range [0, 1] by {}", outside, x=x, delta=delta)
    alone = bare.apply(x, delta)
    keeps = ((alone >= 0) & (alone <= 1)).flatten(1).all(1) & (bare.violation(delta) <= 0)
    apart = norms(alone - moved)
    text = "x̃ of a member that keeps the range is changed by the range, by {}"
    case.require(~keeps | (apart <= case.slack(norms(alone))), text, apart, x=x, delta=delta)


def check_ascent(case: Case) -> None:
    """⟨g, ascent(g, δ, t)⟩ ≥ 0, finite: a move of ascent does not descend; t is one for all rows or one per row."""
    start = case.region.sample(case.generator())
    moves = {step: case.region.ascent(case.points, start, step) for step in (0.1, 0.3, 1.0)}
    for move in moves.values():
        gain = inner_products(case.points, move)
        holds = (gain >= -case.slack(norms(case.points))) & gain.isfinite()
        case.require(holds, "the move gains {}", gain, g=case.points, move=move)
    long = torch.arange(len(start)) % 2 == 0
    steps = torch.where(long, 1.0, 0.3).to(start.dtype)
    expected = torch.where(per_row(long, start) > 0, moves[1.0], moves[0.3])
    move = case.region.ascent(case.points, start, steps)
    case.require(move.shape == start.shape, f"with a step per row the move has shape {tuple(move.shape)}")
    apart = norms(move - expected)
    holds = apart <= 10 * case.slack(norms(expected))
    case.require(holds, "with a step per row the move is another one, by {}", apart, g=case.points, move=move)


def check_scaled(case: Case) -> None:
    """f·𝒰 has f·support, and its P at f·z is f·Pz, for a convex set; for any, f = 1 is the set, 0 is {0}, f per row."""
    region, z = case.region, case.points
    if region.convex:
        for factor in (0.5, torch.linspace(0.1, 2, len(z), dtype=z.dtype)):
            by, scaled = per_row(factor, z), region.scaled(factor)
            gain = inner_products(scaled.support(z) - by * region.support(z), z).abs()
            case.require(gain <= 10 * case.slack(norms(z)), "support of the scaled set is off by {}", gain, g=z)
            apart = norms(scaled.project(by * z) - by * region.project(z))
            case.require(apart <= 10 * case.slack(norms(z)), "project of the scaled set is off by {}", apart, z=z)
    first = torch.arange(len(z)) % 2 == 0
    mixed = region.scaled(torch.where(first, 1.0, 0.5).to(z.dtype)).support(z)
    expected = torch.where(per_row(first, z) > 0, region.support(z), region.scaled(0.5).support(z))
    gain = inner_products(mixed - expected, z).abs()
    case.require(gain <= 10 * case.slack(norms(z)), "with a factor per row, support is off by {}", gain, g=z)
    nothing = norms(region.scaled(0.0).project(z))
    case.require(nothing <= case.slack(), "scaled by 0 the set has members of length {}", nothing, z=z)


def check_smaller_sets(uncertainty: UncertaintySet, seed: int) -> None:
    """scaled(1) is the set, scaled(0) is {0}, and a < b ⇒ scaled(a) ⊆ scaled(b), whatever a set takes for a share."""
    for case in cases(uncertainty, seed):
        regions = [_smaller(uncertainty, factor, case) for factor in FACTORS]
        for (a, small), (b, large) in itertools.pairwise(zip(FACTORS, regions, strict=True)):
            _require_inside(case, small, large, f"a member of scaled({a}) is outside of scaled({b})")
        _require_inside(case, regions[-1], case.region, "a member of scaled(1) is outside of the set")
        _require_inside(case, case.region, regions[-1], "a member of the set is outside of scaled(1)")
        nothing = _smaller(uncertainty, 0.0, case)
        for member in (nothing.project(case.points), nothing.support(case.points), nothing.sample(case.generator())):
            length = norms(member)
            case.require(length <= case.slack(), "scaled(0) has a member of length {}", length, member=member)


def _smaller(uncertainty: UncertaintySet, factor: float, case: Case) -> Region:
    """The region of the smaller set at the examples of a case, within the range if the case is."""
    x = case.region.like if case.x is None else case.x
    region = fit_to_random(uncertainty, tuple(x.shape[1:]), case.seed).scaled(factor).at(x)
    return region if case.bare is None else restrict_to_unit_range(region, x)


def _require_inside(case: Case, inner: Region, outer: Region, text: str) -> None:
    for member in (inner.sample(case.generator()), inner.support(case.points), inner.project(case.points)):
        outside = outer.violation(member)
        case.require(outside <= 10 * case.slack(norms(member)), f"{text} by {{}}", outside, member=member)


def check_scale_free(uncertainty: UncertaintySet, seed: int) -> None:
    """support(c·g) = support(g), and ascent likewise, for c from 1e-35 to 1e30: only the direction of g counts."""
    for dtype in (torch.float64, torch.float32):
        for case in cases(uncertainty, seed, dtype):
            direction = with_unit_maximum(case.points)
            start = case.region.sample(case.generator())
            reference = case.region.support(direction), case.region.ascent(direction, start, 0.3)
            for length in LENGTHENED:
                again = case.region.support(length * direction), case.region.ascent(length * direction, start, 0.3)
                for name, few, many in zip(("support", "ascent"), reference, again, strict=True):
                    gain = (inner_products(direction, many) - inner_products(direction, few)).abs()
                    holds = gain <= 10 * case.slack(norms(few), norms(direction))
                    text = f"in {dtype} {name}({length:.1e}·g) differs from {name}(g) by {{}}"
                    case.require(holds, text, gain, g=direction, got=many)


def check_support_bound(case: Case) -> None:
    """support_bound(g) ≥ ⟨g, δ⟩ for every member δ: support, samples, projections; a set without a proof says so."""
    g = case.points
    try:
        bound = case.region.support_bound(g)
    except UsageError:  # the promise of a set that proves nothing
        return
    case.require(bound.shape == (len(g),), f"support_bound has shape {tuple(bound.shape)}, not ({len(g)},)")
    towards, length = exact(g), norms(exact(g))
    for member in (case.region.support(g), case.region.sample(case.generator()), case.region.project(1e3 * g)):
        beyond = inner_products(towards, exact(member)) - bound
        # what a member may be outside by rounding, it may gain
        holds = beyond <= 1e-9 * (1 + length * norms(exact(member))) + length * exact(case.region.violation(member))
        case.require(holds, "a member exceeds the bound by {}", beyond, g=g, member=member)


def check_members(case: Case) -> None:
    """members() of a finite set are members, one of them 0, one a farthest one, and samples are among them."""
    members = case.region.members()
    if members is None:
        return
    shape, like = members.shape, case.region.like
    case.require(shape[0] == len(like) and shape[2:] == like.shape[1:], f"members() has shape {tuple(shape)}")
    for member in members.unbind(1):
        outside = case.region.violation(member)
        case.require(outside <= case.slack(norms(member)), "a member is outside by {}", outside, member=member)
    apart = torch.stack([norms(member) for member in members.unbind(1)]).amin(0)
    case.require(apart <= case.slack(), "0 is not among the members")
    best = torch.stack([inner_products(case.points, member) for member in members.unbind(1)]).amax(0)
    reached = inner_products(case.points, case.region.support(case.points))
    short = (best - reached).abs()
    case.require(short <= case.slack(best), "support is not the best member, by {}", short, g=case.points)
    sample = case.region.sample(case.generator())
    apart = torch.stack([norms(sample - member) for member in members.unbind(1)]).amin(0)
    case.require(apart <= case.slack(), "a sample is {} from all members", apart, sample=sample)


def check_empty(uncertainty: UncertaintySet, seed: int) -> None:
    """A batch of 0 rows gives 0 rows, of every oracle: a batch in which nothing is left to attack."""
    for shape in shapes_of(uncertainty):
        x = torch.rand(2, *shape, generator=torch.Generator().manual_seed(seed))
        learnt = fit_to_random(uncertainty, shape, seed)
        for name, region, none in (("region[:0]", learnt.at(x)[:0], x[:0]), ("at(x[:0])", learnt.at(x[:0]), x[:0])):
            for within in (region, restrict_to_unit_range(region, none)):
                _require_empty(within, none, name)


def _require_empty(region: Region, x: Tensor, name: str) -> None:
    zero, generator = region.zero(), torch.Generator().manual_seed(0)
    found = {
        "violation": region.violation(zero),
        "project": region.project(zero),
        "support": region.support(zero),
        "sample": region.sample(generator),
        "ascent": region.ascent(zero, zero, 0.5),
        "scaled": region.scaled(0.5).project(zero),
        "apply": region.apply(x, zero),
    }
    for oracle, result in found.items():
        shape = {"violation": (0,), "apply": x.shape}.get(oracle, zero.shape)
        require(result.shape == shape, f"{oracle} of {name} has shape {tuple(result.shape)}, not {tuple(shape)}")
