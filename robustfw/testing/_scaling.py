"""Laws of scaled sets, and of gradients of any scale."""

from __future__ import annotations

import itertools

import torch

from robustfw.regions import (
    Region,
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
)
from robustfw.uncertainty import UncertaintySet

FACTORS = (0.25, 0.5, 0.75, 1.0)
"""Sizes of the smaller sets that must be nested."""
FACTORS_OF_LENGTH = (2.0**-116, 2.0**99)
"""Factors of a direction, 1.2e-35 and 6.3e29, powers of 2 so that no digit changes."""


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
