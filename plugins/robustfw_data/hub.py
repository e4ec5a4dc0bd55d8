"""Data sets of the datasets library, of a hub or on disk, with their options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, final

import attrs
from attrs.validators import ge, gt, optional

from robustfw import Dataset, Task
from robustfw_data.fields import (
    CLASSES,
    SEED,
    TASK,
    TEST,
    VALIDATION,
    absolute,
    check_share,
    find,
)

if TYPE_CHECKING:
    from pathlib import Path

    from robustfw.data.splits import Splits

IMAGE = "column of the examples; none: told from the columns"
"""Help of the option ``image``."""
LABEL = "column of the targets; none: told from the columns"
"""Help of the option ``label``."""
SIZE = "pictures are resized and cut to size x size; none: they have one size already"
"""Help of the option ``size``."""


@final
@attrs.frozen
class Hub(Dataset):
    """A data set of the Hugging Face hub, by its name: ``hf:cifar10``; or ``hf:name,config=…``.

    Its splits are used as they are called; where there is no test or validation split, it is cut. Images become
    numbers from 0 to 1, names of classes are taken along. No code of the hub is run.
    """

    name: Annotated[str, "name on the hub, or a folder of files"] = attrs.field(
        default="mnist", metadata={"positional": True}
    )
    config: Annotated[str | None, "name of its configuration"] = None
    revision: Annotated[
        str | None, "commit or tag, so that others measure the very same data"
    ] = None
    image: Annotated[str | None, IMAGE] = None
    label: Annotated[str | None, LABEL] = None
    size: Annotated[int | None, SIZE] = attrs.field(
        default=None, validator=optional(gt(0))
    )
    task: Annotated[Literal["auto"] | Task, TASK] = "auto"
    classes: Annotated[int | None, CLASSES] = None
    test: Annotated[float, TEST] = attrs.field(default=0.2, validator=check_share)
    validation: Annotated[float, VALIDATION] = attrs.field(
        default=0.1, validator=check_share
    )
    workers: Annotated[int, "processes that decode"] = attrs.field(
        default=0, validator=ge(0)
    )
    seed: Annotated[int, SEED] = 0

    def load(self, root: Path) -> Splits:
        """The rows, decoded when they are asked for; files are kept under the data folder."""
        from robustfw_data import rows

        return rows.load_hub(self, root)


@final
@attrs.frozen
class Disk(Dataset):
    """A folder that ``Dataset.save_to_disk`` or ``DatasetDict.save_to_disk`` of the datasets library has written."""

    path: Annotated[str, "the folder; relative to here or to the data folder"] = (
        attrs.field(
            default="dataset", converter=absolute, metadata={"positional": True}
        )
    )
    image: Annotated[str | None, IMAGE] = None
    label: Annotated[str | None, LABEL] = None
    size: Annotated[int | None, SIZE] = attrs.field(
        default=None, validator=optional(gt(0))
    )
    task: Annotated[Literal["auto"] | Task, TASK] = "auto"
    classes: Annotated[int | None, CLASSES] = None
    test: Annotated[float, TEST] = attrs.field(default=0.2, validator=check_share)
    validation: Annotated[float, VALIDATION] = attrs.field(
        default=0.1, validator=check_share
    )
    workers: Annotated[int, "processes that decode"] = attrs.field(
        default=0, validator=ge(0)
    )
    seed: Annotated[int, SEED] = 0

    def load(self, root: Path) -> Splits:
        """The rows, decoded when they are asked for."""
        from robustfw_data import rows

        return rows.load_disk(self, find(self.path, root))
