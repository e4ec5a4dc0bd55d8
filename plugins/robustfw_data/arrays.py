"""Splits from arrays in files: keys, masks, and splits that a file has already."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import torch
from torch import Tensor

from robustfw import DataError, DataSpec
from robustfw.data.cutting import cut_splits, shuffle
from robustfw.data.splits import Splits, TensorSplit
from robustfw.data.targets import Targets, read_targets
from robustfw.data.values import as_tensor, place_channels, scale_values

if TYPE_CHECKING:
    from robustfw_data.datasets import Npz

VALIDATION_SUFFIXES = ("val", "validation", "valid")
"""Endings of the keys of validation examples."""


def load_npz(options: Npz, path: Path) -> Splits:
    """The splits of an .npz file.

    Args:
        options: keys, range, task and shares.
        path: the file.

    Raises:
        DataError: the file cannot be read, has no such keys, or its arrays do not fit each other.
    """
    arrays = read_arrays(path)
    # 1. the splits that the file has
    keys = {"all": (options.x, options.y, options.mask)}
    if f"{options.x}_train" in arrays:
        keys = {}
        for suffix in ("train", "test", *VALIDATION_SUFFIXES):
            if f"{options.x}_{suffix}" in arrays:
                own_mask = options.mask and f"{options.mask}_{suffix}"
                keys[suffix] = (
                    f"{options.x}_{suffix}",
                    f"{options.y}_{suffix}",
                    own_mask,
                )
    parts = {}
    mask: Tensor | None
    for suffix, (x_key, y_key, mask_key) in keys.items():
        x = place_channels(
            as_tensor(_get(arrays, x_key, path), x_key), options.channels
        )
        mask = (
            None
            if mask_key is None
            else as_tensor(_get(arrays, mask_key, path), mask_key)
        )
        parts[suffix] = (x, _get(arrays, y_key, path), mask)
    # 2. values, masks and targets, of all splits together so that they have one range and one set of classes
    task = None if isinstance(options.task, str) else options.task
    lengths = [len(x) for x, _, _ in parts.values()]
    x, bounds = scale_values(_join([x for x, _, _ in parts.values()]), options.range)
    masks = [mask for _, _, mask in parts.values() if mask is not None]
    if masks:
        x = add_mask(x, _join(masks))
    targets = read_targets(
        np.concatenate([np.asarray(y) for _, y, _ in parts.values()]),
        task,
        classes=options.classes,
    )
    check_lengths(x, targets.y)
    spec = DataSpec(
        tuple(x.shape[1:]),
        targets.classes,
        bounds=bounds,
        labels=targets.labels,
        task=targets.task,
        masked=bool(masks),
    )
    # 3. splits
    pieces = zip(x.split(lengths), targets.y.split(lengths), strict=True)
    splits = {
        suffix: TensorSplit(part_x, part_y)
        for suffix, (part_x, part_y) in zip(parts, pieces, strict=True)
    }
    return finish(
        splits,
        targets,
        spec,
        test=options.test,
        validation=options.validation,
        seed=options.seed,
    )


def finish(
    parts: dict[str, TensorSplit],
    targets: Targets,
    spec: DataSpec,
    *,
    test: float,
    validation: float,
    seed: int,
) -> Splits:
    """Splits from the parts that there are, with the statistics of the training examples in their spec.

    Args:
        parts: examples by "all", or by "train", "test" and one of the words for validation.
        targets: what was read of all targets.
        spec: the declared facts.
        test: share for tests, where there are no test examples.
        validation: share of the training examples for validation, where there are none for it.
        seed: decides the order.
    """
    train = parts.get("all", parts.get("train"))
    if train is None or not len(train):
        raise DataError("there is not one example in the data")
    own_validation = [
        parts[suffix] for suffix in VALIDATION_SUFFIXES if suffix in parts
    ]
    splits = cut_splits(
        train,
        spec,
        validation=0.0 if own_validation else validation,
        test=parts.get("test", test),
        seed=seed,
    )
    if own_validation:
        splits = attrs.evolve(splits, validation=shuffle(own_validation[0], seed))
    splits = attrs.evolve(splits, spec=with_statistics(spec, splits.train))
    splits.check()
    return splits


def with_statistics(spec: DataSpec, train: Any) -> DataSpec:
    """The spec with mean and standard deviation per feature or channel over the training examples in memory.

    Sequences have none, and neither have features that are always the same: standardisation would divide by 0.
    """
    if len(spec.shape) not in (1, 3) or not len(train):
        return spec
    x = train.x.float() / 255 if train.x.dtype == torch.uint8 else train.x
    others = [axis for axis in range(x.dim()) if axis != 1]
    values = x.double()
    mean = values.mean(others)
    std = values.std(others, correction=0)
    std = torch.where(std > 0, std, 1)
    return attrs.evolve(spec, mean=tuple(mean.tolist()), std=tuple(std.tolist()))


def read_arrays(path: Path) -> Any:
    """The arrays of an .npz file by key; none that would need code to be run.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except ValueError as error:
        raise DataError(
            f"{path} holds Python objects, or is no .npz file: save arrays of numbers alone, by "
            "numpy.savez(path, x=…, y=…)"
        ) from error
    except (OSError, zipfile.BadZipFile, AttributeError, EOFError, KeyError) as error:
        raise DataError(
            f"{path} cannot be read as an .npz file: write it by numpy.savez(path, x=…, y=…)"
        ) from error


def _get(arrays: Any, key: str, path: Path) -> Any:
    """The array of a key."""
    if key not in arrays:
        raise DataError(
            f"{path} has no array {key!r}, but {', '.join(sorted(arrays)) or 'none'}: name the keys by x=…,y=…"
        )
    return arrays[key]


def _join(parts: list[Tensor]) -> Tensor:
    """Arrays of one shape as one."""
    if len({part.shape[1:] for part in parts}) > 1:
        shapes = " and ".join(str(tuple(part.shape[1:])) for part in parts)
        raise DataError(f"training and test examples have different shapes, {shapes}")
    return torch.cat(parts)


def add_mask(x: Tensor, mask: Tensor) -> Tensor:
    """Sequences (n, time, features) with their mask (n, time) as the last feature, and 0 at padded steps.

    Raises:
        DataError: the mask does not fit the sequences, or has other values than 0 and 1.
    """
    if x.dim() != 3 or mask.shape != x.shape[:2]:
        raise DataError(
            f"a mask (n, time) belongs to sequences (n, time, features), and these have shapes {tuple(mask.shape)} and "
            f"{tuple(x.shape)}"
        )
    if not bool(((mask == 0) | (mask == 1)).all()):
        raise DataError(
            "a mask has 1 at steps that are there and 0 at padded ones, and nothing else"
        )
    column = mask.to(torch.float32)[..., None]
    values = x.float() / 255 if x.dtype == torch.uint8 else x
    return torch.cat([values * column, column], 2)


def check_lengths(x: Tensor, y: Tensor) -> None:
    """Raise a `DataError` unless there are as many examples as targets."""
    if len(x) != len(y):
        raise DataError(
            f"there are {len(x)} examples and {len(y)} targets: give one for each"
        )
