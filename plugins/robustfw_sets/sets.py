"""The uncertainty sets of this package with their options. This module does not import torch."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Annotated, Any, Literal, final

import attrs
from attrs.validators import ge, in_, optional

from robustfw import Ratio, UncertaintySet
from robustfw.plugin.options import Array

if TYPE_CHECKING:
    from torch import Tensor

    from robustfw.regions import Finite, Polyhedron
    from robustfw_sets.groups import GroupBall
    from robustfw_sets.lp import LpBall
    from robustfw_sets.patches import PatchRegion
    from robustfw_sets.spatial import RigidMotions
    from robustfw_sets.tables import TableRegion


def _floats(value: Ratio | tuple[Ratio, ...]) -> float | tuple[float, ...]:
    """Numbers as floats, by which sets compare: 8/255 from the shell, an exact ratio, is 8/255 from Python."""
    return (
        tuple(float(number) for number in value)
        if isinstance(value, tuple)
        else float(value)
    )


def _check_finite(_: object, field: attrs.Attribute[Any], value: Ratio) -> None:
    """Raise a `ValueError` unless a number is finite and not negative."""
    if not 0 <= float(value) < math.inf:
        raise ValueError(f"{field.name} must be finite and not negative, not {value}")


def _check_all_finite(
    _: object, field: attrs.Attribute[Any], value: Ratio | tuple[Ratio, ...]
) -> None:
    """Raise a `ValueError` unless one or several numbers are finite and not negative."""
    numbers = value if isinstance(value, tuple) else (value,)
    if not numbers or not all(0 <= float(number) < math.inf for number in numbers):
        raise ValueError(f"{field.name} must be finite and not negative, not {value}")


@final
@attrs.frozen
class Lp(UncertaintySet):
    """{‖δ‖_p ≤ r} for any p ≥ 1, exact within the data range, too; p = 1, 2 and ∞ are ``l1``, ``l2`` and ``linf``."""

    p: Annotated[Ratio, "p, from 1 on; 3/2 is kept exactly"] = attrs.field(
        default=1.5, eq=_floats
    )
    radius: Annotated[Ratio, "r, in the data's unit"] = attrs.field(
        default=2.0, validator=_check_finite, eq=_floats
    )

    @p.validator
    def _check_p(self, _: attrs.Attribute[Ratio], value: Ratio) -> None:
        if not 1 <= float(value) < math.inf:
            raise ValueError(
                f"p must be from 1 on and finite, not {value}: ∞ is the set linf"
            )

    def at(self, x: Tensor) -> LpBall:
        """The ℓp ball at each row of x."""
        from robustfw_sets.lp import LpBall

        return LpBall.at(x, float(self.p), float(self.radius))


@final
@attrs.frozen
class Budget(UncertaintySet):
    """{|δ_j| ≤ r, Σ_j |δ_j|/r ≤ Γ}: at most Γ coordinates deviate fully (Bertsimas & Sim 2004)."""

    radius: Annotated[Ratio, "r, how far one coordinate may move"] = attrs.field(
        default=0.3, validator=_check_finite, eq=_floats
    )
    gamma: Annotated[Ratio, "Γ, how many may move fully"] = attrs.field(
        default=5.0, validator=_check_finite, eq=_floats
    )

    def at(self, x: Tensor) -> LpBall:
        """The ℓ1 ball of radius Γ·r within the cube of side 2r, at each row of x."""
        from robustfw_sets.lp import LpBall

        radius = float(self.radius)
        return LpBall.at(x, 1.0, float(self.gamma) * radius).clip(-radius, radius)


@final
@attrs.frozen
class GroupL2(UncertaintySet):
    """{Σ_g ‖δ_g‖₂ ≤ r} (``norm=sum``) or {‖δ_g‖₂ ≤ r for each g} (``norm=max``), g pixels, blocks or channels.

    The sum is sparse in groups: few pixels change, each in all its channels. The maximum moves every group alike.
    """

    radius: Annotated[Ratio, "r, in the data's unit"] = attrs.field(
        default=2.0, validator=_check_finite, eq=_floats
    )
    norm: Annotated[Literal["sum", "max"], "of the groups' lengths"] = attrs.field(
        default="sum", validator=in_(("sum", "max"))
    )
    groups: Annotated[
        Literal["pixel", "block", "channel"],
        "pixels with all channels, square blocks, or channels",
    ] = attrs.field(default="pixel", validator=in_(("pixel", "block", "channel")))
    side: Annotated[
        int, "side of a block, in pixels; blocks at the border are smaller"
    ] = attrs.field(default=2, validator=ge(1))

    def at(self, x: Tensor) -> GroupBall:
        """The ball of groups at each row of x."""
        from robustfw_sets.groups import GroupBall, labels

        group_labels = labels(tuple(x.shape[1:]), self.groups, self.side)
        return GroupBall.at(x, group_labels, self.norm, float(self.radius))


@final
@attrs.frozen
class PolyhedralSet(UncertaintySet):
    """{A δ ≤ b, |δ_j| ≤ limit}, δ flattened: linear inequalities that all examples have in common.

    A row of A with one number stands for that number in every coordinate: the default keeps |Σ δ_j| ≤ 1/2.
    """

    a: Annotated[Array, "A: rows of numbers, or a .npy or .csv file"] = attrs.field(
        factory=lambda: Array([[1.0], [-1.0]]), converter=Array
    )
    b: Annotated[Array, "b ≥ 0: a number for each row of A, or a .npy or .csv file"] = (
        attrs.field(factory=lambda: Array([0.5, 0.5]), converter=Array)
    )
    limit: Annotated[Ratio, "how far one coordinate may move"] = attrs.field(
        default=0.3, validator=_check_finite, eq=_floats
    )

    def __attrs_post_init__(self) -> None:
        if len(self.a.shape) != 2 or 0 in self.a.shape:
            raise ValueError(
                f"a must be a matrix with rows and columns, not of shape {self.a.shape}"
            )
        if (self.b.values < 0).any():
            raise ValueError("b must not be negative: δ = 0 is a member")
        if self.b.values.size != self.a.shape[0]:
            raise ValueError(
                f"a has {self.a.shape[0]} rows, b has {self.b.values.size} numbers"
            )

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...] | None:  # type: ignore[override]  # as many as A has columns
        columns = self.a.shape[1]
        return None if columns == 1 else ((columns,),)

    def at(self, x: Tensor) -> Polyhedron:
        """The polyhedron at each row of x."""
        import torch

        from robustfw.regions import Polyhedron

        size = math.prod(x.shape[1:])
        normals = torch.tensor(self.a.values)
        offsets = torch.tensor(self.b.values)
        if normals.shape[1] == 1:
            normals = normals.expand(-1, size)
        limit = float(self.limit)
        return Polyhedron.from_inequalities(x, normals, offsets.reshape(-1)).clip(
            -limit, limit
        )


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
    ] = attrs.field(default=1.0, validator=_check_finite, eq=_floats)

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
        default=30.0, validator=_check_finite, eq=_floats
    )
    shift: Annotated[Ratio, "largest shift along each axis, in pixels"] = attrs.field(
        default=3.0, validator=_check_finite, eq=_floats
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
class Tabular(UncertaintySet):
    """{|δ_j| ≤ r_j, immutable features stay, integer ones move in whole steps, one-hot groups change their category}.

    A smaller set has smaller radii, whole steps rounded down, and no change of category below 1.
    """

    radius: Annotated[
        Ratio | tuple[Ratio, ...], "r, or one per feature, in the data's unit"
    ] = attrs.field(default=0.1, validator=_check_all_finite, eq=_floats)
    immutable: Annotated[tuple[int, ...], "features that do not change, from 0"] = ()
    integer: Annotated[
        tuple[int, ...], "features that change by whole multiples of ``step``"
    ] = ()
    step: Annotated[
        Ratio | tuple[Ratio, ...], "1 in the data's unit, or one per integer feature"
    ] = attrs.field(default=1.0, validator=_check_all_finite, eq=_floats)
    one_hot: Annotated[
        tuple[tuple[int, ...], ...],
        "groups of features, one of which is 1 and the others 0",
    ] = ()

    def __attrs_post_init__(self) -> None:
        grouped = list(itertools.chain.from_iterable(self.one_hot))
        repeated = len(set(grouped)) < len(grouped)
        if repeated or set(grouped) & {*self.integer, *self.immutable}:
            raise ValueError(
                "a feature of a one-hot group is in no other group, and neither integer nor immutable"
            )
        if isinstance(self.step, tuple) and len(self.step) != len(self.integer):
            raise ValueError(
                f"{len(self.integer)} integer features need as many steps, or one for all"
            )
        steps = self.step if isinstance(self.step, tuple) else (self.step,)
        if any(float(step) == 0 for step in steps):
            raise ValueError("step must be positive")
        if any(feature < 0 for feature in (*grouped, *self.integer, *self.immutable)):
            raise ValueError("features are numbered from 0")

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...] | None:  # type: ignore[override]  # one that has all features named
        if isinstance(self.radius, tuple):
            return ((len(self.radius),),)
        grouped = itertools.chain.from_iterable(self.one_hot)
        named = [*self.immutable, *self.integer, *grouped]
        return ((max(named) + 3,),) if named else None

    def at(self, x: Tensor) -> TableRegion:
        """The changes that are allowed at each row of x."""
        from robustfw_sets.tables import TableRegion

        return TableRegion.at(x, self)


KINDS = ("brightness", "contrast", "gaussian-noise", "blur")
"""Names of the corruptions."""


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
