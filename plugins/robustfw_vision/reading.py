"""The data sets that torchvision downloads, as splits in memory."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError

import attrs
import numpy as np
import torch
import torchvision

from robustfw import DataError, DataSpec
from robustfw.data.splits import Augment, Splits, TensorSplit


def torchvision_set(
    name: str, spec: DataSpec, root: Path, validation: float, augment: Augment | None
) -> Splits:
    """MNIST, FashionMNIST, CIFAR10, CIFAR100 or SVHN by torchvision, as uint8 tensors (n, channels, height, width).

    Args:
        name: the class in ``torchvision.datasets``.
        spec: what the data is; its names of classes are torchvision's.
        root: where torchvision's files are, or are downloaded to.
        validation: share of the training examples set apart.
        augment: what is done to training batches.

    Raises:
        DataError: the files cannot be read, or are not there and cannot be downloaded.
    """
    train, test, labels = _read_once(name, root)
    return Splits.cut(
        train,
        test,
        attrs.evolve(spec, labels=labels),
        validation=validation,
        augment=augment,
    )


@functools.lru_cache(maxsize=1)
def _read_once(
    name: str, root: Path
) -> tuple[TensorSplit, TensorSplit, tuple[str, ...]]:
    """Training split, test split and names of the classes; remembered, since torchvision hashes its files each time."""
    builder = getattr(torchvision.datasets, name)
    train = _read_or_download(builder, name, root, train=True)
    test = _read_or_download(builder, name, root, train=False)
    # MNIST's "0 - zero"; SVHN's digits have no names
    classes = getattr(train, "classes", [str(digit) for digit in range(10)])
    labels = tuple(label.partition(" - ")[0] for label in classes)
    return _tensor_split(train), _tensor_split(test), labels


def _read_or_download(
    builder: Callable[..., Any], name: str, root: Path, *, train: bool
) -> Any:
    """One of torchvision's data sets, downloaded if its files are not there (torchvision draws its progress bar).

    Raises:
        DataError: the files are not there and cannot be downloaded, or are there and broken.
    """
    part: dict[str, Any] = {"train": train}
    if name == "SVHN":
        part = {"split": "train" if train else "test"}
    try:
        return builder(str(root), download=False, **part)
    except Exception as error:  # a broken file may make torchvision raise anything
        if not isinstance(error, RuntimeError) or "not found" not in str(error):
            raise DataError(
                f"the files of {name} in {root} cannot be read ({_reason(error)}): remove them, and they are "
                "downloaded again"
            ) from error
    try:
        return builder(str(root), download=True, **part)
    except (URLError, OSError, RuntimeError) as error:
        raise DataError(
            f"{name} is not in {root} and could not be downloaded ({_reason(error)}): put torchvision's files there, "
            "name their folder by --data-dir or ROBUSTFW_DATA, or try again with a network"
        ) from error


def _reason(error: Exception) -> str:
    """The last line of an error's message, or the error's name where it has none."""
    return str(error).splitlines()[-1] if str(error) else type(error).__name__


def _tensor_split(dataset: Any) -> TensorSplit:
    """The images (n, channels, height, width) and labels of one of torchvision's data sets."""
    x = torch.as_tensor(np.asarray(dataset.data))
    if x.dim() == 3:
        x = x.unsqueeze(1)
    elif x.shape[1] != 3:
        # CIFAR's arrays have their channels last, SVHN's first
        x = x.permute(0, 3, 1, 2)
    targets = dataset.labels if hasattr(dataset, "labels") else dataset.targets
    return TensorSplit(x.contiguous(), torch.as_tensor(targets).long())
