"""The uncertainty sets of images with their options. This module does not import torch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Literal, final

import attrs
from attrs.validators import ge, in_, optional

from robustfw import Ratio, UncertaintySet
from robustfw_sets.numbers import check_finite, floats

if TYPE_CHECKING:
    from torch import Tensor

    from robustfw.regions import Finite
    from robustfw_sets.patches import PatchRegion
    from robustfw_sets.spatial import RigidMotions

KINDS = ("brightness", "contrast", "gaussian-noise", "blur")
"""Names of the corruptions."""


@final
@attrs.frozen
class Patch(UncertaintySet):
    """{δ : δ = 0 outside of a square of pixels, |δ_j| ≤ limit within}: the square at one place, or anywhere.

    Anywhere is the union over all places, which is not convex; a given place is a box. All channels may change.
    """

    side: Annotated[int, "side of the square, in pixels"] = attrs.field(
        default=3, validator=ge(1)
    )
    row: Annotated[int | None, "upper row of the square; none: anywhere"] = attrs.field(
        default=None, validator=optional(ge(0))
    )
    column: Annotated[int | None, "left column of the square; none: anywhere"] = (
        attrs.field(default=None, validator=optional(ge(0)))
    )
    limit: Annotated[
        Ratio, "how far one value may move; 1 is all of a [0, 1] range"
    ] = attrs.field(default=1.0, validator=check_finite, eq=floats)

    def at(self, x: Tensor) -> PatchRegion:
        """The patch, at its place or at all places, in each image of x."""
        from robustfw_sets.patches import PatchRegion

        return PatchRegion.at(x, self.side, self.row, self.column, float(self.limit))


@final
@attrs.frozen
class RotationTranslation(UncertaintySet):
    """{(α, s, t) : |α| ≤ angle, |s|, |t| ≤ shift}: x turned by α degrees and moved by s and t pixels (Engstrom 2019).

    δ are these three numbers, relative to their largest values. x̃ is sampled bilinearly; what comes in is ``padding``.
    """

    angle: Annotated[Ratio, "largest angle, in degrees"] = attrs.field(
        default=30.0, validator=check_finite, eq=floats
    )
    shift: Annotated[Ratio, "largest shift along each axis, in pixels"] = attrs.field(
        default=3.0, validator=check_finite, eq=floats
    )
    padding: Annotated[
        Literal["zeros", "border", "reflection"], "what comes in at the edges"
    ] = attrs.field(default="zeros", validator=in_(("zeros", "border", "reflection")))

    def at(self, x: Tensor) -> RigidMotions:
        """The rotations and translations of each image of x."""
        from robustfw_sets.spatial import RigidMotions

        return RigidMotions.at(x, float(self.angle), float(self.shift), self.padding)


@final
@attrs.frozen
class Corruptions(UncertaintySet):
    """{0} ∪ {c_s(x) − x}: a finite list of corruptions c at severities s, cut off at the data range.

    Brightness adds 0.1·s, contrast shrinks x towards its mean by 0.15·s, noise adds 0.04·s·n with one fixed normal n
    for all examples, blur has a standard deviation of 0.4·s pixels (after Hendrycks & Dietterich 2019, in [0, 1]).
    A smaller set stops at lower severities.
    """

    kinds: Annotated[
        tuple[str, ...], "of brightness, contrast, gaussian-noise and blur"
    ] = attrs.field(default=KINDS)
    severities: Annotated[tuple[Ratio, ...], "from mild to strong, 5 being strong"] = (
        1.0,
        2.0,
        3.0,
        4.0,
        5.0,
    )
    seed: Annotated[int, "of the noise"] = 0

    def __attrs_post_init__(self) -> None:
        unknown = [kind for kind in self.kinds if kind not in KINDS]
        if unknown:
            raise ValueError(
                f"there is no corruption {unknown[0]!r}; there are {', '.join(KINDS)}"
            )
        if not self.severities or not all(
            0 < float(severity) < math.inf for severity in self.severities
        ):
            raise ValueError("severities must be finite and positive")

    def at(self, x: Tensor) -> Finite:
        """The corruptions of each row of x."""
        from robustfw_sets.corruptions import corruption_set

        severities = tuple(float(severity) for severity in self.severities)
        return corruption_set(x.detach(), self.kinds, severities, self.seed)
