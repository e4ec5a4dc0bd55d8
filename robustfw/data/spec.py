"""The declared facts of a data set, which are known before its first example is read."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import attrs

from robustfw.errors import DataError
from robustfw.task import Classification, Task

Bound: TypeAlias = float | tuple[float, ...]
"""One end of a range: a number for all values, or one for each feature or channel (the first axis of an example)."""


def _read_bounds(bounds: Any) -> Any:
    """Bounds with tuples in place of the lists that JSON has."""
    if bounds is None:
        return None
    return tuple(tuple(end) if isinstance(end, list) else end for end in bounds)


def _read_groups(groups: Any) -> tuple[tuple[int, ...], ...]:
    """Groups as tuples in place of the lists that JSON has."""
    return tuple(tuple(group) for group in groups)


def _read_numbers(numbers: Any) -> tuple[int, ...]:
    """Numbers as a tuple in place of the list that JSON has."""
    return tuple(numbers)


@attrs.frozen
class DataSpec:
    """Shape, classes, range, statistics, names and task of a data set, from which models are built."""

    shape: tuple[int, ...]
    """Shape of one example, channels first."""
    classes: int
    """Number of classes or labels, or of targets of a regression."""
    bounds: tuple[Bound, Bound] | None = attrs.field(
        default=(0.0, 1.0), converter=_read_bounds
    )
    """The closed range of the values, which perturbed examples keep: (lower, upper), each one number or one for each
    feature or channel; None where the values have no range."""
    mean: tuple[float, ...] | None = None
    """Mean per feature or channel over the training examples, for a standardising layer; None: unknown."""
    std: tuple[float, ...] | None = None
    """Standard deviation per feature or channel over the training examples; None: unknown."""
    labels: tuple[str, ...] | None = None
    """Names of the classes, in their order."""
    task: Task = Classification()
    """The task: the form of targets, and when an output is wrong."""
    features: tuple[str, ...] | None = attrs.field(default=None)
    """Names of the features of a table, in their order; None: they have none."""
    groups: tuple[tuple[int, ...], ...] = attrs.field(
        default=(), converter=_read_groups
    )
    """One-hot groups of a table: the features of each, one of which is 1 and the others 0."""
    immutable: tuple[int, ...] = attrs.field(default=(), converter=_read_numbers)
    """Features that no perturbation changes, by their numbers in the flattened example."""
    masked: bool = attrs.field(default=False)
    """Whether examples are sequences (time, features) whose last feature is a mask, 0 at padded steps. No perturbation
    changes a padded step or the mask."""

    @bounds.validator
    def _check_bounds(self, _: object, bounds: tuple[Bound, Bound] | None) -> None:
        if bounds is None:
            return
        if len(bounds) != 2:
            raise ValueError("bounds are two, (lower, upper)")
        for end in bounds:
            if isinstance(end, tuple) and len(end) != self.shape[0]:
                raise ValueError(
                    f"bounds per feature are {self.shape[0]} numbers for the shape {self.shape}, not {len(end)}"
                )
        lower = self._per_feature(bounds[0])
        upper = self._per_feature(bounds[1])
        for low, high in zip(lower, upper, strict=True):
            if not low <= high:
                raise ValueError(f"bounds must ascend, not run from {low} to {high}")

    @features.validator
    def _check_features(self, _: object, features: tuple[str, ...] | None) -> None:
        if features is not None and self.shape != (len(features),):
            raise ValueError(
                f"{len(features)} names of features do not fit examples of shape {self.shape}"
            )

    @groups.validator
    @immutable.validator
    def _check_numbers(self, field: attrs.Attribute[Any], value: Any) -> None:
        numbers = value
        if field.name == "groups":
            numbers = [feature for group in value for feature in group]
        size = math.prod(self.shape)
        for number in numbers:
            if not 0 <= number < size:
                raise ValueError(
                    f"{field.name} name feature {number}, and examples have {size}, from 0 to {size - 1}"
                )

    @masked.validator
    def _check_masked(self, _: object, masked: bool) -> None:
        if masked and len(self.shape) != 2:
            raise ValueError(
                f"a mask belongs to sequences (time, features), not to examples of shape {self.shape}"
            )

    def _per_feature(self, end: Bound) -> tuple[float, ...]:
        """One end of the range as a number for each feature or channel."""
        if isinstance(end, tuple):
            return end
        features = self.shape[0] if self.shape else 1
        return (end,) * features

    def with_bounds(self, bounds: Any) -> DataSpec:
        """The spec with another range.

        Raises:
            DataError: it is none, or does not fit the shape.
        """
        try:
            return attrs.evolve(self, bounds=bounds)
        except ValueError as error:
            raise DataError(
                f"the range {bounds} is none that these data can have: {error}"
            ) from error

    @property
    def outputs(self) -> int:
        """The number of outputs of a net for an example, or for each of its pixels."""
        return self.task.outputs(self.classes)
