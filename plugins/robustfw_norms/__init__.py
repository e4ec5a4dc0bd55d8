"""Norm balls as uncertainty sets: linf, l2, l1 and l0, with exact oracles and projections, in the data box too."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, final

import attrs

from robustfw import Ratio, UncertaintySet, hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from robustfw_norms.balls import L1Ball, L2Ball, LinfBall
    from robustfw_norms.l0 import L0Ball

Radius: TypeAlias = Ratio | tuple[Ratio, ...]
"""One radius, or one for each channel."""


def _check_radius(_: object, field: attrs.Attribute[Any], value: Radius) -> None:
    """Raise a `ValueError` unless radii are finite and not negative."""
    radii = value if isinstance(value, tuple) else (value,)
    if not radii or not all(0 <= float(radius) < math.inf for radius in radii):
        raise ValueError(f"{field.name} must be finite and not negative, not {value}")


def _floats(radius: Radius) -> float | tuple[float, ...]:
    """Radii as floats, by which sets compare: 8/255 from the shell, an exact ratio, is 8/255 from Python."""
    return (
        tuple(float(r) for r in radius) if isinstance(radius, tuple) else float(radius)
    )


@final
@attrs.frozen
class Linf(UncertaintySet):
    """{‖δ‖_∞ ≤ r}: each coordinate by at most r (eq. 2)."""

    radius: Annotated[Radius, "r, or one per channel; 8/255 is kept exactly"] = (
        attrs.field(default=0.1, validator=_check_radius, eq=_floats)
    )

    def at(self, x: Tensor) -> LinfBall:
        """The ℓ∞ ball of this radius at each row of x."""
        from robustfw_norms.balls import LinfBall

        return LinfBall.at(x, _floats(self.radius))


@final
@attrs.frozen
class L2(UncertaintySet):
    """{‖δ‖₂ ≤ r}; with one radius per channel, ‖δ_c‖₂ ≤ r_c for each channel c."""

    radius: Annotated[Radius, "r, or one per channel; 128/255 is kept exactly"] = (
        attrs.field(default=1.0, validator=_check_radius, eq=_floats)
    )

    def at(self, x: Tensor) -> L2Ball:
        """The ℓ2 ball of this radius at each row of x."""
        from robustfw_norms.balls import L2Ball

        return L2Ball.at(x, _floats(self.radius))


@final
@attrs.frozen
class L1(UncertaintySet):
    """{‖δ‖₁ ≤ r}: sparse changes; within a data box a step fills many coordinates, not one (Croce & Hein 2021)."""

    radius: Annotated[Ratio, "r"] = attrs.field(
        default=4.0, validator=_check_radius, eq=_floats
    )

    def at(self, x: Tensor) -> L1Ball:
        """The ℓ1 ball of this radius at each row of x."""
        from robustfw_norms.balls import L1Ball

        return L1Ball.at(x, float(self.radius))


@final
@attrs.frozen
class L0(UncertaintySet):
    """{δ : at most k values or pixels change, each value by at most ``limit``}. Exact, and not convex."""

    radius: Annotated[int, "k, how many may change"] = attrs.field(
        default=10, validator=attrs.validators.ge(0)
    )
    unit: Annotated[
        Literal["value", "pixel"],
        "what is counted: values, or pixels with all their channels",
    ] = attrs.field(default="value", validator=attrs.validators.in_(("value", "pixel")))
    limit: Annotated[
        Ratio, "how far one value may move; 1 is all of a [0, 1] range"
    ] = attrs.field(default=1.0, validator=_check_radius, eq=_floats)

    def at(self, x: Tensor) -> L0Ball:
        """The ℓ0 ball at each row of x, with k no more than there are units."""
        from robustfw_norms.l0 import L0Ball

        channels = x.shape[1] if self.unit == "pixel" else 1
        units = math.prod(x.shape[1:]) // channels
        return L0Ball.build(x, float(self.limit), min(self.radius, units), channels)


@hookimpl
def robustfw_register(add: Callable[[str, type], None]) -> None:
    """Register the norm balls by name."""
    add("linf", Linf)
    add("l2", L2)
    add("l1", L1)
    add("l0", L0)
