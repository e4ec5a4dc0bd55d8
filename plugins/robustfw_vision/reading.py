"""Reading image files into splits, by torchvision."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import torch
import torchvision
from torchvision import transforms

from robustfw import DataError, DataSpec
from robustfw.splits import Augment, LoadedSplit, Splits, TensorSplit


def torchvision_set(name: str, spec: DataSpec, root: Path, validation: float, augment: Augment | None) -> Splits:
    """MNIST, FashionMNIST or CIFAR10 by torchvision, as uint8 tensors (n, channels, height, width)."""
    train, test, labels = _read_once(name, root)
    return Splits.cut(train, test, _with_labels(spec, labels), validation=validation, augment=augment)


@functools.lru_cache(maxsize=1)
def _read_once(name: str, root: Path) -> tuple[TensorSplit, TensorSplit, tuple[str, ...]]:
    """Train, test, labels; torchvision hashes its files anew each time, for commands that run in one process."""
    builder = getattr(torchvision.datasets, name)
    train, test = (_read(builder, name, root, train=train) for train in (True, False))
    labels = tuple(name.partition(" - ")[0] for name in train.classes)  # MNIST's "0 - zero"
    return _tensors(train), _tensors(test), labels


def _read(builder: Callable[..., Any], name: str, root: Path, *, train: bool) -> Any:
    """Files that are there, else a download (torchvision draws its progress bar)."""
    with contextlib.suppress(RuntimeError):
        return builder(str(root), train=train, download=False)
    try:
        return builder(str(root), train=train, download=True)
    except (URLError, OSError, RuntimeError) as error:
        reason = str(error).splitlines()[-1] if str(error) else type(error).__name__
        raise DataError(
            f"{name} is not in {root} and could not be downloaded ({reason}): put torchvision's files there, "
            "name their folder by --data-dir or ROBUSTFW_DATA, or try again with a network"
        ) from error


def _tensors(dataset: Any) -> TensorSplit:
    x = torch.as_tensor(np.asarray(dataset.data))
    x = x.unsqueeze(1) if x.dim() == 3 else x.permute(0, 3, 1, 2)
    return TensorSplit(x.contiguous(), torch.as_tensor(dataset.targets).long())


def _with_labels(spec: DataSpec, labels: tuple[str, ...]) -> DataSpec:
    return DataSpec(spec.shape, spec.classes, spec.bounds, spec.mean, spec.std, labels)


def image_folder(folder: Path, size: int, workers: int, validation: float, augment: Augment | None) -> Splits:
    """train/ and test/, one sub-folder per class."""
    transform = transforms.Compose([transforms.Resize(size), transforms.CenterCrop(size), transforms.ToTensor()])
    train, test = (_images(folder / part, transform) for part in ("train", "test"))
    if train.classes != test.classes:
        raise DataError(f"{folder}: train has the classes {train.classes}, test has {test.classes}")
    spec = DataSpec((3, size, size), len(train.classes), labels=tuple(train.classes))
    splits = [LoadedSplit(part, _listing(part, size), workers) for part in (train, test)]
    return Splits.cut(splits[0], splits[1], spec, validation=validation, augment=augment)


def _images(folder: Path, transform: Callable[..., Any]) -> Any:
    try:
        return torchvision.datasets.ImageFolder(str(folder), transform)
    except (FileNotFoundError, OSError) as error:
        raise DataError(
            f"no images in {folder} ({error}): image-folder reads train/<class>/ and test/<class>/"
        ) from error


def _listing(dataset: Any, size: int) -> str:
    """Names, sizes and classes of the files, which stand for their contents."""
    lines = [f"{Path(path).name} {Path(path).stat().st_size} {label}" for path, label in dataset.samples]
    return "\n".join([str(size), *lines])
