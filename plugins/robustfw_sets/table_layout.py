"""Features of a table by name or number, and the numbers that they stand for in a data set.

This module does not import torch.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias, final

import attrs

from robustfw import DataSpec, Ratio, UsageError
from robustfw.plugin.options import suggest

if TYPE_CHECKING:
    from robustfw_sets.sets import Tabular

Feature: TypeAlias = int | str
"""A feature by its number, from 0, or by its name; the name of a categorical column stands for its whole group."""


@final
@attrs.frozen
class TableLayout:
    """The roles of features, by their numbers."""

    immutable: tuple[int, ...] = ()
    """Features that do not change."""
    integer: tuple[int, ...] = ()
    """Features that change in whole steps."""
    one_hot: tuple[tuple[int, ...], ...] = ()
    """Groups of features, one of which is 1 and the others 0."""
    radii: tuple[tuple[int, Ratio], ...] = ()
    """Features with a radius of their own, and this radius."""

    @classmethod
    def read(cls, options: Tabular, spec: DataSpec | None) -> TableLayout:
        """The roles that a set's options give to features.

        Args:
            options: the set, which names features or numbers them.
            spec: the data, which has names and one-hot groups of its own; None: not known.

        Raises:
            UsageError: a name is none of the data's, or there are no names.
        """
        names = None if spec is None else spec.features
        immutable = _numbers(options.immutable, names)
        integer = _numbers(options.integer, names)
        groups = [_numbers(group, names) for group in options.one_hot]
        if not groups and spec is not None:
            # what is immutable or integer is so for its own reasons
            taken = {*immutable, *integer}
            groups = [group for group in spec.groups if not taken & {*group}]
        radii = []
        for feature, radius in options.radii:
            radii += [(number, radius) for number in _numbers([feature], names)]
        check_roles(immutable, integer, groups)
        return cls(immutable, integer, tuple(groups), tuple(radii))


def check_roles(
    immutable: Sequence[Feature],
    integer: Sequence[Feature],
    groups: Sequence[Sequence[Feature]],
) -> None:
    """Raise a `UsageError` where a feature of a one-hot group has another role, or is in two groups.

    Args:
        immutable: features that do not change.
        integer: features that change in whole steps.
        groups: one-hot groups.
    """
    grouped = list(itertools.chain.from_iterable(groups))
    repeated = len(set(grouped)) < len(grouped)
    if repeated or set(grouped) & {*integer, *immutable}:
        raise UsageError(
            "a feature of a one-hot group is in no other group, and neither integer nor immutable"
        )


def _numbers(
    features: Sequence[Feature], names: tuple[str, ...] | None
) -> tuple[int, ...]:
    """The numbers of features; the name of a column that became a group stands for all of its features.

    Raises:
        UsageError: a name is none of the data's, or there are no names.
    """
    numbers: list[int] = []
    for feature in features:
        if isinstance(feature, int):
            numbers.append(feature)
            continue
        if names is None:
            raise UsageError(
                f"tabular names the feature {feature!r}, and the data has no names of features: give its number, from 0"
            )
        of_name = [
            number
            for number, name in enumerate(names)
            if name == feature or name.startswith(f"{feature}=")
        ]
        if not of_name:
            raise UsageError(
                f"there is no feature {feature!r}; {suggest(feature, names)}"
            )
        numbers += of_name
    return tuple(numbers)
