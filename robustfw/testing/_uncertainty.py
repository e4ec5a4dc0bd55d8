"""The laws of an uncertainty set: `violation` defines it, and the two oracles must agree with that and each other.

Laws are checked at two kinds of points: small ones with ties, zeros, spikes and borders, whose failure can be read, and
dense random ones of several sizes. Each law is checked on the bare set, and on the set within a data range. ``check_…``
functions of a `Case` are laws of a region; `LAWS` has them for all cases of a set. The laws of what a region does
besides its oracles are in `robustfw.testing._perturbations`.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import attrs
import torch

from robustfw.plugin._arrays import Array
from robustfw.regions import inner_products, norms, per_row
from robustfw.testing._cases import (
    SHAPES,
    Case,
    cases,
    fit_to_random,
    sample_points,
    shapes_of,
    stretch_to_border,
)
from robustfw.testing._perturbations import (
    check_apply,
    check_ascent,
    check_empty,
    check_members,
    check_support_bound,
)
from robustfw.testing._projections import (
    check_members_fixed,
    check_nearest,
    check_non_expansive,
)
from robustfw.testing._scaling import check_scale_free, check_scaled, check_smaller_sets
from robustfw.testing.laws import Law, LawBroken, require
from robustfw.uncertainty import UncertaintySet

__all__ = [
    "CHECKS",
    "LAWS",
    "SHAPES",
    "Case",
    "cases",
    "fit_to_random",
    "sample_points",
]

LENGTHS = (1.0, 10.0, 1e3, 1e5)
"""The t of the points P(t·g), whose value is within R²/2t of the support's."""


def check_zero(case: Case) -> None:
    """violation(0) = 0, P(0) = 0, and support(0) is finite: robust loss is at least the clean loss."""
    zero = case.region.zero()
    outside = case.region.violation(zero)
    case.require(outside == 0, "violation(0) is {}", outside)
    projected = case.region.project(zero)
    case.require(norms(projected) <= case.slack(), "project(0) is not 0", got=projected)
    farthest = case.region.support(zero)
    case.require(
        farthest.flatten(1).isfinite().all(1), "support(0) is not finite", got=farthest
    )


def check_feasible(case: Case) -> None:
    """violation(Pz) ≤ tolerance: projections are members."""
    for point in (case.points, 1e3 * case.points):
        projected = case.region.project(point)
        outside = case.region.violation(projected)
        holds = (outside <= case.slack(norms(projected))) & outside.isfinite()
        case.require(holds, "P(z) is outside by {}", outside, z=point, Pz=projected)


def check_support_feasible(case: Case) -> None:
    """violation(support(g)) ≤ tolerance: support points are members."""
    for direction in (case.points, -1e-6 * case.points):
        farthest = case.region.support(direction)
        outside = case.region.violation(farthest)
        holds = (outside <= case.slack(norms(farthest))) & outside.isfinite()
        case.require(
            holds, "support(g) is outside by {}", outside, g=direction, support=farthest
        )


def check_support_maximal(case: Case) -> None:
    """⟨g, support(g)⟩ ≥ ⟨g, u⟩ for every member u: P(t·g) for t = 1 … 10⁵, samples, points at the border."""
    g = case.points
    value = inner_products(g, case.region.support(g))
    length = norms(g)
    unit = g / per_row(length.clamp(min=1e-300), g)
    rivals = [case.region.project(t * unit) for t in LENGTHS]
    rivals += [
        case.region.sample(case.generator()),
        stretch_to_border(case),
        case.region.zero(),
    ]
    for rival in rivals:
        better = inner_products(g, rival) - value
        outside = case.region.violation(rival) > case.slack(norms(rival))
        holds = outside | (better <= case.slack() * (1 + length * norms(rival)))
        case.require(holds, "a member does better by {}", better, g=g, member=rival)


def check_rows_independent(case: Case) -> None:
    """f(batch)[i] = f(batch[i]) for violation, project and support, by region[rows]."""
    region = case.region
    z = case.points
    for name in ("violation", "project", "support"):
        batch_result = getattr(region, name)(z)
        for rows in (slice(3, 4), slice(20, 21), torch.tensor([40, 5])):
            expected = batch_result[rows]
            difference = (getattr(region[rows], name)(z[rows]) - expected).abs()
            if difference.dim() > 1:
                apart = difference.flatten(1).amax(1)
            else:
                apart = difference
            holds = apart <= case.tolerance * (1 + expected.abs().max())
            case.require(
                holds,
                f"{name} of a row depends on the rest of the batch, by {{}}",
                apart,
                z=z[rows],
            )


def check_samples(case: Case) -> None:
    """Samples are members, and the generator alone decides them."""
    first = case.region.sample(case.generator())
    second = case.region.sample(case.generator())
    case.require(
        bool(torch.equal(first, second)),
        "the same generator gives two different samples",
    )
    outside = case.region.violation(first)
    case.require(
        outside <= case.slack(norms(first)),
        "a sample is outside by {}",
        outside,
        sample=first,
    )


def check_manners(case: Case) -> None:
    """Shape, type and device are kept, arguments are not changed, no graph is kept, violation is (batch,) and ≥ 0."""
    region = case.region
    z = case.points
    before = z.clone()
    results = {
        "project": region.project(z),
        "support": region.support(z),
        "sample": region.sample(case.generator()),
    }
    for name, result in results.items():
        same = (
            result.shape == z.shape
            and result.dtype == z.dtype
            and result.device == z.device
        )
        case.require(
            same,
            f"{name} returns {tuple(result.shape)} {result.dtype} for {tuple(z.shape)} {z.dtype}",
        )
        case.require(not result.requires_grad, f"{name} keeps a graph")
    case.require(bool(torch.equal(z, before)), "an oracle changed its argument")
    violation = region.violation(z)
    case.require(
        violation.shape == (len(z),),
        f"violation has shape {tuple(violation.shape)}, not ({len(z)},)",
    )
    case.require(violation >= 0, "violation is {}", violation, z=z)
    case.require(
        len(region) == len(z),
        f"the region has {len(region)} rows for a batch of {len(z)}",
    )


def check_each_case(
    check: Callable[[Case], None],
) -> Callable[[UncertaintySet, int], None]:
    """The law of a set that a law of regions holds in all of the set's cases."""

    def check_cases(uncertainty: UncertaintySet, seed: int) -> None:
        for case in cases(uncertainty, seed):
            check(case)

    check_cases.__doc__ = check.__doc__
    return check_cases


def check_precisions(uncertainty: UncertaintySet, seed: int) -> None:
    """In float32, float16 and bfloat16 too, projections and support points are finite members."""
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        for case in cases(uncertainty, seed, dtype):
            points = case.points.clamp(-1e4, 1e4)
            for name in ("project", "support"):
                member = getattr(case.region, name)(points)
                outside = case.region.violation(member).to(torch.float64)
                holds = (
                    outside <= case.tolerance * (1 + norms(member).double())
                ) & outside.isfinite()
                case.require(
                    holds,
                    f"in {dtype} {name} is outside by {{}}",
                    outside,
                    z=points,
                    got=member,
                )


def check_plain(uncertainty: UncertaintySet, seed: int) -> None:
    """The options are picklable, compare equal, repr spells them in Python, and fitting the set changes none."""
    require(
        pickle.loads(pickle.dumps(uncertainty)) == uncertainty, "pickling changes it"
    )
    namespace: dict[str, Any] = {cls.__name__: cls for cls in _classes_in(uncertainty)}
    namespace |= {"Fraction": Fraction, "Array": Array, "inf": math.inf}
    try:
        rebuilt = eval(repr(uncertainty), namespace)
    except Exception as error:  # a stranger's repr may be any code
        raise LawBroken(f"repr does not evaluate: {uncertainty!r} ({error})") from error
    require(rebuilt == uncertainty, f"repr spells something else: {uncertainty!r}")
    shape = shapes_of(uncertainty)[0]
    fitted = fit_to_random(uncertainty, shape, seed)
    require(
        fitted == uncertainty and repr(fitted) == repr(uncertainty),
        "fitting it to data changes its options",
    )
    region = fitted.at(torch.rand(2, *shape).requires_grad_())
    require(
        not region.support(torch.ones_like(region.like)).requires_grad,
        "at(x) keeps the graph of x",
    )


def _classes_in(value: Any) -> set[type]:
    """The classes of a plugin and of the plugins among its options."""
    if not attrs.has(type(value)):
        return set()
    classes = {type(value)}
    for field in attrs.fields(type(value)):
        classes |= _classes_in(getattr(value, field.name))
    return classes


CHECKS: dict[str, Callable[[Case], None]] = {
    "zero is a member": check_zero,
    "project is feasible": check_feasible,
    "members are fixed": check_members_fixed,
    "nearest": check_nearest,
    "non-expansive": check_non_expansive,
    "support is feasible": check_support_feasible,
    "support is maximal": check_support_maximal,
    "rows are independent": check_rows_independent,
    "scaled": check_scaled,
    "samples": check_samples,
    "ascent": check_ascent,
    "manners": check_manners,
    "apply": check_apply,
    "members": check_members,
    "support is bounded": check_support_bound,
}
"""The name of each law of a region to its check."""

LAWS = (
    *(Law(name, check_each_case(check)) for name, check in CHECKS.items()),
    Law("precisions", check_precisions),
    Law("scale-free", check_scale_free),
    Law("smaller sets", check_smaller_sets),
    Law("empty batch", check_empty),
    Law("plain options", check_plain),
)
