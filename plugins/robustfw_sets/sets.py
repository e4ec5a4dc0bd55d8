"""The uncertainty sets of vectors and tables with their options; those of images are in `robustfw_sets.image_sets`.

This module does not import torch.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Annotated, Literal, final

import attrs
from attrs.validators import ge, in_

from robustfw import DataSpec, Ratio, UncertaintySet
from robustfw.plugin.options import Array, learnt, with_learnt
from robustfw_sets.numbers import check_all_finite, check_finite, floats
from robustfw_sets.table_layout import Feature, TableLayout, check_roles

if TYPE_CHECKING:
    from torch import Tensor

    from robustfw.regions import Polyhedron
    from robustfw_sets.groups import GroupBall
    from robustfw_sets.lp import LpBall
    from robustfw_sets.tables import TableRegion


def _floats_of_pairs(pairs: tuple[tuple[Feature, Ratio], ...]) -> object:
    """Features and their radii as floats: 8/255 and 0.0313… are compared by their values."""
    return tuple((feature, float(radius)) for feature, radius in pairs)


@final
@attrs.frozen
class Lp(UncertaintySet):
    """{‖δ‖_p ≤ r} for any p ≥ 1, exact within the data range, too; p = 1, 2 and ∞ are ``l1``, ``l2`` and ``linf``."""

    p: Annotated[Ratio, "p, from 1 on; 3/2 is kept exactly"] = attrs.field(
        default=1.5, eq=floats
    )
    radius: Annotated[Ratio, "r, in the data's unit"] = attrs.field(
        default=2.0, validator=check_finite, eq=floats
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
        default=0.3, validator=check_finite, eq=floats
    )
    gamma: Annotated[Ratio, "Γ, how many may move fully"] = attrs.field(
        default=5.0, validator=check_finite, eq=floats
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
        default=2.0, validator=check_finite, eq=floats
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
        default=0.3, validator=check_finite, eq=floats
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
class Tabular(UncertaintySet):
    """{|δ_j| ≤ r_j, immutable features stay, integer ones move in whole steps, one-hot groups change their category}.

    A smaller set has smaller radii, whole steps rounded down, and no change of category below 1.

    Features go by number or, where the data has names, by name; the name of a categorical column stands for all of its
    features. What the data set says holds by itself: its one-hot groups, unless others are given, and what it calls
    immutable.
    """

    radius: Annotated[
        Ratio | tuple[Ratio, ...], "r, or one per feature, in the data's unit"
    ] = attrs.field(default=0.1, validator=check_all_finite, eq=floats)
    immutable: Annotated[
        tuple[Feature, ...], "features that do not change, by name or from 0"
    ] = ()
    integer: Annotated[
        tuple[Feature, ...], "features that change by whole multiples of ``step``"
    ] = ()
    step: Annotated[
        Ratio | tuple[Ratio, ...], "1 in the data's unit, or one per integer feature"
    ] = attrs.field(default=1.0, validator=check_all_finite, eq=floats)
    one_hot: Annotated[
        tuple[tuple[Feature, ...], ...],
        "groups of features, one of which is 1 and the others 0; none: the data's",
    ] = ()
    radii: Annotated[
        tuple[tuple[Feature, Ratio], ...],
        "features with another radius, [[age,2],[income,1/10]]",
    ] = attrs.field(default=(), eq=_floats_of_pairs)

    layout: TableLayout | None = learnt()
    """The roles of the data's features; None until `lay_out` gave them."""

    def __attrs_post_init__(self) -> None:
        grouped = list(itertools.chain.from_iterable(self.one_hot))
        check_roles(self.immutable, self.integer, self.one_hot)
        if any(not 0 <= float(radius) < math.inf for _, radius in self.radii):
            raise ValueError("radii must be finite, and 0 or more")
        if isinstance(self.step, tuple) and len(self.step) != len(self.integer):
            raise ValueError(
                f"{len(self.integer)} integer features need as many steps, or one for all"
            )
        steps = self.step if isinstance(self.step, tuple) else (self.step,)
        if any(float(step) == 0 for step in steps):
            raise ValueError("step must be positive")
        named = [*grouped, *self.integer, *self.immutable]
        named += [feature for feature, _ in self.radii]
        if any(isinstance(feature, int) and feature < 0 for feature in named):
            raise ValueError("features are numbered from 0")

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...] | None:  # type: ignore[override]  # one that has all features named
        if isinstance(self.radius, tuple):
            return ((len(self.radius),),)
        grouped = itertools.chain.from_iterable(self.one_hot)
        named = [*self.immutable, *self.integer, *grouped]
        named += [feature for feature, _ in self.radii]
        numbers = [feature for feature in named if isinstance(feature, int)]
        return ((max(numbers) + 3,),) if numbers else None

    def lay_out(self, spec: DataSpec) -> Tabular:
        """The set with the names and the one-hot groups of the data."""
        return with_learnt(self, layout=TableLayout.read(self, spec))

    def at(self, x: Tensor) -> TableRegion:
        """The changes that are allowed at each row of x."""
        from robustfw_sets.tables import TableRegion

        layout = self.layout or TableLayout.read(self, None)
        return TableRegion.at(x, self, layout)
