"""Data sets of array files, and those that a function of one's own returns, with their options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, final

import attrs
from attrs.validators import in_

from robustfw import Dataset, Task, UsageError
from robustfw.plugin.places import absolute_place, load_place
from robustfw_data.fields import (
    CLASSES,
    RANGE,
    SEED,
    TASK,
    TEST,
    VALIDATION,
    Range,
    absolute,
    check_range,
    check_share,
    find,
)

if TYPE_CHECKING:
    from pathlib import Path

    from robustfw.data.splits import Splits


@final
@attrs.frozen
class Npz(Dataset):
    """Arrays of an .npz file: x and y, which are cut, or x_train, y_train, x_test and y_test.

    Images are (n, channels, height, width), tables (n, features), sequences (n, time, features), the last with a mask
    (n, time) where some are shorter: examples get it as their last feature, and no perturbation touches padded steps.
    Radii are shares of the range: a net made for values from −1 to 1 takes ``range=[-1,1]`` here and the normalisation
    0.5/0.5 there. Labels may be whole numbers of any type, words or one-hot rows. No file may hold code.
    """

    path: Annotated[str, "the .npz file; relative to here or to the data folder"] = (
        attrs.field(
            default="examples.npz", converter=absolute, metadata={"positional": True}
        )
    )
    x: Annotated[str, "key of the examples"] = "x"
    y: Annotated[str, "key of the targets"] = "y"
    mask: Annotated[str | None, "key of the mask of sequences, 0 at padded steps"] = (
        None
    )
    range: Annotated[Range, RANGE] = attrs.field(default="auto", validator=check_range)
    channels: Annotated[
        Literal["auto", "first", "last", "add"],
        "axis of the channels; add: images without one get it; auto: first, unless it looks otherwise",
    ] = attrs.field(default="auto", validator=in_(("auto", "first", "last", "add")))
    task: Annotated[Literal["auto"] | Task, TASK] = "auto"
    classes: Annotated[int | None, CLASSES] = None
    test: Annotated[float, TEST] = attrs.field(default=0.2, validator=check_share)
    validation: Annotated[float, VALIDATION] = attrs.field(
        default=0.1, validator=check_share
    )
    seed: Annotated[int, SEED] = 0

    def load(self, root: Path) -> Splits:
        """The arrays, in a random order that is always the same."""
        from robustfw_data import arrays

        return arrays.load_npz(self, find(self.path, root))


@final
@attrs.frozen
class Python(Dataset):
    """Whatever a function of yours returns: ``python:mypackage.data:load`` or ``python:data.py:load``.

    It is called without arguments, and returns tensors or arrays (x, y), a torch Dataset, a DataLoader, a
    ``datasets.Dataset``, `robustfw.Splits`, or a mapping of any of these by ``train``, ``validation`` and ``test``.
    The name may also stand for such data itself. Your code runs, as it does in any import.
    """

    place: Annotated[str, "module:name or file.py:name"] = attrs.field(
        default="data.py:load", converter=absolute_place, metadata={"positional": True}
    )
    bounds: Annotated[
        Range, "values keep: [-1,1] …; auto: 0 to 1 if they lie there; none: no range"
    ] = attrs.field(default="auto", validator=check_range)
    task: Annotated[Literal["auto"] | Task, TASK] = "auto"
    classes: Annotated[int | None, CLASSES] = None
    masked: Annotated[bool, "examples are sequences whose last feature is a mask"] = (
        False
    )
    test: Annotated[float, TEST] = attrs.field(default=0.2, validator=check_share)
    validation: Annotated[float, VALIDATION] = attrs.field(
        default=0.1, validator=check_share
    )
    seed: Annotated[int, SEED] = 0

    def load(self, root: Path) -> Splits:
        """The data that the function returns, cut where it comes in one piece.

        Raises:
            UsageError: there is no such place, or the function raises an error.
        """
        from robustfw.data.convert import as_splits

        source = load_place(self.place)
        if callable(source) and not hasattr(source, "__getitem__"):
            try:
                source = source()
            # a stranger's code may raise anything
            except Exception as error:
                raise UsageError(
                    f"{self.place} raised {type(error).__name__}: {error}"
                ) from error
        return as_splits(
            source,
            validation=self.validation,
            test=self.test,
            task=None if isinstance(self.task, str) else self.task,
            classes=self.classes,
            bounds=self.bounds,
            masked=self.masked,
            seed=self.seed,
        )
