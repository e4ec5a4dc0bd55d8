"""Weighted ℓ2 balls as an uncertainty set: ellipsoid, with exact oracles, in the data box too."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Literal, final

import attrs
from attrs.validators import in_

from robustfw import Ratio, UncertaintySet, hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from robustfw_ellipsoid.ball import WeightedBall


def _check_size(_: object, field: attrs.Attribute[Any], value: Ratio) -> None:
    if not 0 <= float(value) < math.inf:
        raise ValueError(f"{field.name} must be finite and not negative, not {value}")


@final
@attrs.frozen
class Ellipsoid(UncertaintySet):
    """{Σ_j w_j² δ_j² ≤ r²} with w = 1 + cost·c(x), 0 ≤ c ≤ 1: an ℓ2 ball that is thin where a change would show.

    With ``weights=flat``, c_j is 1 minus the contrast around j: a change hides where the picture is busy and shows on
    plain ground (contrast masking; Legge & Foley 1980). With ``border``, c_j rises from 0 in the middle of the picture
    to 1 at its edge. The set lies within the ℓ2 ball of radius r, and is that ball for ``cost=0``.
    """

    radius: Annotated[Ratio, "r, in pixels of weight 1; 128/255 is kept exactly"] = (
        attrs.field(default=1.0, validator=_check_size)
    )
    weights: Annotated[
        Literal["flat", "border"],
        "where a change costs more: on plain ground, near the edge",
    ] = attrs.field(default="flat", validator=in_(("flat", "border")))
    cost: Annotated[Ratio, "how much more: weights run from 1 to 1 + cost"] = (
        attrs.field(default=3.0, validator=_check_size)
    )

    def at(self, x: Tensor) -> WeightedBall:
        """The ellipsoid at each row of x, with weights that follow from the row."""
        from robustfw_ellipsoid import weights
        from robustfw_ellipsoid.ball import WeightedBall

        share = (
            weights.flatness(x)
            if self.weights == "flat"
            else weights.closeness_to_edge(x)
        )
        return WeightedBall.at(x, 1 + float(self.cost) * share, float(self.radius))


@hookimpl
def robustfw_register(add: Callable[[str, type], None]) -> None:
    add("ellipsoid", Ellipsoid)
