"""Examples in whatever form a program has them, as splits: `as_split` for measuring, `as_splits` for training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from robustfw.data._loader_stream import LoaderStream
from robustfw.data._sources import (
    EXAMPLE_NAMES,
    class_label_names,
    lazy_split,
    loader_split,
    pick_pair,
    read_rows,
)
from robustfw.data._split import Split, StreamedSplit, TensorSplit
from robustfw.data.bounds import Bounds
from robustfw.data.cutting import cut_splits
from robustfw.data.spec import DataSpec
from robustfw.data.splits import Splits
from robustfw.data.targets import Targets, read_targets
from robustfw.data.values import advise, as_tensor, check_finite, place_channels
from robustfw.errors import DataError, UsageError
from robustfw.task import Task

FORMS = (
    "give (x, y) as tensors or arrays, a mapping with x and y, a torch Dataset or DataLoader, a datasets.Dataset, a "
    "Split or Splits"
)
"""The forms of data that are taken, for messages."""
SPLIT_NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing"),
}
"""The names of splits, and those that mappings have for them."""
INSPECTED = 256
"""Number of examples of a data set read as needed by which its shape and range are told."""


def as_split(
    data: Any,
    *,
    examples: int | None = None,
    split: Literal["train", "validation", "test"] = "test",
) -> Split:
    """Examples for a measurement, from any form in which a program has them.

    Map-style data sets are read as needed, and so are loaders with torch's own sampler and collation (those that
    shuffle in one order that is always the same). Iterable ones are read to their end, or to the first so many
    examples. Nothing is guessed of values: floats are taken as they are, bytes as x/255, and pictures of PIL become
    tensors with channels first. Targets keep the form that they have.

    Args:
        data: a pair (x, y) of tensors, arrays or tables; a mapping with x and y, or with splits; a torch Dataset,
            map-style or iterable, whose items are (x, y) or mappings; a DataLoader of either; a ``datasets.Dataset`` or
            ``DatasetDict``; a `robustfw.Split` or `robustfw.Splits`.
        examples: take the first so many; None: all.
        split: which one, of data in several splits.

    Raises:
        DataError: the data has none of these forms, or its examples and targets do not belong together.
    """
    if isinstance(data, Splits):
        chosen = getattr(data, split)
        if isinstance(chosen, StreamedSplit):
            raise DataError(
                f"the {split} examples come as a stream, and what is measured must be there: take another split"
            )
        return chosen.first(examples)
    if isinstance(data, Split):
        return data.first(examples)
    if isinstance(data, Mapping):
        parts = _named_splits(data)
        if parts:
            if split not in parts:
                raise DataError(
                    f"there are the splits {', '.join(parts)}, and not {split}"
                )
            return as_split(parts[split], examples=examples)
        if not any(name in data for name in EXAMPLE_NAMES):
            raise DataError(f"the data has {', '.join(map(str, data))}: {FORMS}")
        return _tensor_split(*pick_pair(data)).first(examples)
    if isinstance(data, DataLoader):
        return loader_split(data, examples)
    if isinstance(data, TensorDataset) and len(data.tensors) >= 2:
        return _tensor_split(*data.tensors[:2]).first(examples)
    if isinstance(data, tuple | list) and len(data) == 2 and _is_array(data[0]):
        return _tensor_split(*data).first(examples)
    if (
        hasattr(data, "__getitem__")
        and hasattr(data, "__len__")
        and not _is_array(data)
    ):
        if not len(data):
            raise DataError("there is not one example in the data")
        return lazy_split(data).first(examples)
    if isinstance(data, IterableDataset) or (
        hasattr(data, "features") and hasattr(data, "__iter__")
    ):
        return read_rows(data, examples)
    raise DataError(
        f"data of type {type(data).__name__} is in no form that is known: {FORMS}"
    )


def _is_array(values: Any) -> bool:
    """Whether values are a tensor, an array, or a table that becomes one."""
    return (
        isinstance(values, Tensor)
        or hasattr(values, "__array__")
        or hasattr(values, "to_numpy")
    )


def _tensor_split(x: Any, y: Any) -> TensorSplit:
    """Examples and targets in memory, float64 as float32."""
    examples = as_tensor(x, "x")
    # arrays are float64 unless someone thinks of it; tensors are what their owner made them
    if examples.dtype == torch.float64 and not isinstance(x, Tensor):
        examples = examples.float()
    return TensorSplit(examples, as_tensor(y, "y"))


def _named_splits(data: Mapping[Any, Any]) -> dict[str, Any]:
    """The splits of a mapping by their usual names; empty where it is no mapping of splits."""
    parts: dict[str, Any] = {}
    for split, names in SPLIT_NAMES.items():
        for name in names:
            if name in data:
                parts.setdefault(split, data[name])
    return parts


def as_splits(
    data: Any,
    *,
    validation: Any = 0.1,
    test: Any = 0.0,
    task: Task | None = None,
    classes: int | None = None,
    bounds: Bounds | Literal["auto"] = "auto",
    labels: Sequence[str] | None = None,
    masked: bool = False,
    examples: int | None = None,
    seed: int = 0,
    stream: bool = False,
) -> Splits:
    """Train, validation and test examples with their declared facts, from any form in which a program has them.

    Args:
        data: what `as_split` takes; of a mapping or `Splits` with several splits, each is used as what it is called.
        validation: the share of the training examples that is set apart for validation, or the validation examples.
        test: the share of all examples that is for tests, or the test examples.
        task: what targets are for; None: told from their form (`robustfw.data.targets.read_targets`).
        classes: how many classes there are; None: as many as the targets show.
        bounds: the range of the values; "auto": (0, 1) for bytes and values that lie there, none for other features.
        labels: names of the classes.
        masked: whether examples are sequences whose last feature is a mask.
        examples: take the first so many; None: all.
        seed: decides the order, and so which examples are set apart.
        stream: train on a DataLoader's own batches in its own order; validation and test are then what is given, or
            empty.

    Raises:
        DataError: the data is in no form that is known, or nothing tells its task, its classes or its range.
    """
    if isinstance(data, Splits):
        return data
    parts: dict[str, Any] = {}
    if isinstance(data, Mapping):
        parts = _named_splits(data)
    source = parts.get("train", parts.get("test", data))
    validation = parts.get("validation", validation)
    test = parts.get("test", test) if "train" in parts else (1.0 if parts else test)
    train: Split | LoaderStream
    if stream and isinstance(source, DataLoader):
        train = LoaderStream.open(source, examples)
        x, y = train.first_examples(train.batch_size)
    else:
        train = as_split(source, examples=examples)
        x, y = _look_at(train)
    given = {
        name: as_split(part)
        for name, part in (("validation", validation), ("test", test))
        if not _is_share(part)
    }
    targets = _read_all_targets(source, train, y, task, classes, labels)
    spec = DataSpec(
        tuple(place_channels(x).shape[1:]),
        targets.classes,
        bounds=_tell_bounds(x) if isinstance(bounds, str) else bounds,
        labels=targets.labels,
        task=targets.task,
        masked=masked,
    )
    if isinstance(train, LoaderStream):
        empty = TensorSplit(x[:0].float(), y[:0])
        splits = Splits(
            train, given.get("validation", empty), given.get("test", empty), spec
        )
    else:
        share = 0.0 if "validation" in given else float(validation)
        splits = cut_splits(
            train, spec, validation=share, test=given.get("test", test), seed=seed
        )
        if "validation" in given:
            splits = Splits(splits.train, given["validation"], splits.test, spec)
    splits.check()
    return splits


def _is_share(value: Any) -> bool:
    """Whether a value is a share of the examples, and no examples.

    Raises:
        UsageError: it is a number beyond 0 and 1.
    """
    if not isinstance(value, int | float):
        return False
    if not 0 <= value <= 1:
        raise UsageError(
            f"validation and test are shares from 0 to 1, or data, not {value}"
        )
    return True


def _look_at(split: Split) -> tuple[Tensor, Tensor]:
    """Examples and targets by which the shape and the range of a split are told: all that is in memory."""
    if not len(split):
        raise DataError("there is not one example in the data")
    if isinstance(split, TensorSplit):
        return split.x, split.y
    stride = max(1, len(split) // INSPECTED)
    return next(split.batches([torch.arange(0, len(split), stride)]))


def _read_all_targets(
    source: Any,
    train: Split | StreamedSplit,
    y: Tensor,
    task: Task | None,
    classes: int | None,
    labels: Sequence[str] | None,
) -> Targets:
    """The task, and the number and names of classes: given, of the data set itself, or told from all targets in memory.

    Raises:
        DataError: not all targets are in memory, and nothing else says how many classes there are.
    """
    own = getattr(source, "dataset", source)
    names = labels or getattr(own, "classes", None) or class_label_names(own)
    if classes is None and names is not None:
        classes = len(names)
    targets = read_targets(y, task, classes=classes, labels=names)
    counted = (
        classes is not None
        or isinstance(train, TensorSplit)
        or targets.y.is_floating_point()
    )
    if counted or len(y) == len(train):
        return targets
    everything = getattr(own, "targets", None)
    if everything is None and isinstance(own, TensorDataset):
        everything = own.tensors[1]
    if everything is None:
        raise DataError(
            "the data set is read as needed, and nothing says how many classes it has: give classes=…"
        )
    return read_targets(everything, task, labels=labels)


def _tell_bounds(x: Tensor) -> tuple[float, float] | None:
    """(0, 1) for bytes and values that lie there; None for other features.

    Raises:
        DataError: these are images whose values leave [0, 1], or values that are not finite.
    """
    if x.dtype == torch.uint8:
        return 0.0, 1.0
    check_finite(x, "x")
    if not x.numel():
        return None
    lowest, highest = (float(end) for end in x.aminmax())
    if lowest >= 0 and highest <= 1:
        return 0.0, 1.0
    if x.dim() == 4:
        raise DataError(
            f"images have values from {lowest:.4g} to {highest:.4g}, and no range is told: give bounds=, or "
            f"{advise(lowest, highest)}"
        )
    return None
