"""Reading the data sets' files into splits."""

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


def digits(validation: float) -> Splits:
    """scikit-learn's digits; values 0 … 16 become 0 … 1."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    x = torch.from_numpy(bunch.images).float().div(16).unsqueeze(1)
    labels = tuple(str(name) for name in bunch.target_names)
    spec = DataSpec((1, 8, 8), 10, mean=(float(x.mean()),), std=(float(x.std()),), labels=labels)
    return _every_fifth(x, torch.from_numpy(bunch.target).long(), spec, validation)


def two_moons(examples: int, noise: float, validation: float) -> Splits:
    """scikit-learn's moons, scaled to the unit square by their own extremes."""
    from sklearn.datasets import make_moons

    points, target = make_moons(examples, noise=noise, random_state=0)
    points = (points - points.min(0)) / (points.max(0) - points.min(0))
    x = torch.from_numpy(points).float()
    return _every_fifth(x, torch.from_numpy(target).long(), DataSpec((2,), 2), validation)


def _every_fifth(x: torch.Tensor, y: torch.Tensor, spec: DataSpec, validation: float) -> Splits:
    test = torch.arange(len(y)) % 5 == 4
    return Splits.cut(TensorSplit(x[~test], y[~test]), TensorSplit(x[test], y[test]), spec, validation=validation)


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
