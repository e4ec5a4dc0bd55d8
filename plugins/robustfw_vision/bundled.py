"""The data sets that come with scikit-learn, apart from torchvision, whose import takes as long as torch's."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, Literal

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustfw import DataSpec
from robustfw.data.splits import Splits, TensorSplit
from robustfw.task import (
    Binary,
    Classification,
    Multilabel,
    Regression,
    Segmentation,
    Task,
)

LOOPS = (0, 6, 8, 9)
"""Digits that enclose some paper."""
FULL = 16
"""Brightness of the digits' brightest pixels."""


def digits(validation: float) -> Splits:
    """scikit-learn's digits, with pixels 0 … 16 as 0 … 1; ``validation`` is the share set apart for validation."""
    x, y, spec = _load_digits()
    return _split(x, y, spec, validation)


def digits_segmentation(noise: float, share: float, validation: float) -> Splits:
    """The digits with noise, and for each pixel whether it was ink before: y of shape (n, 8, 8).

    Args:
        noise: standard deviation of the noise, which is the same in every call.
        share: share of wrong pixels from which on an image is wrong.
        validation: share of the training examples set apart.
    """
    x, _, spec = _load_digits()
    ink = (x[:, 0] >= 0.5).long()
    normal = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    noisy = (x + noise * normal).clamp(0, 1)
    spec = attrs.evolve(
        spec,
        classes=2,
        labels=("paper", "ink"),
        task=Segmentation(share=share),
        mean=(float(noisy.mean()),),
        std=(float(noisy.std()),),
    )
    return _split(noisy, ink, spec, validation)


def digits_multilabel(tolerated: int, validation: float) -> Splits:
    """The digits, and three labels for each, 0 or 1: y of shape (n, 3); so many may be wrong."""
    x, digit, spec = _load_digits()
    loop = torch.isin(digit, torch.tensor(LOOPS))
    y = torch.stack([digit % 2 == 1, digit > 4, loop], 1).float()
    task = Multilabel(tolerated=tolerated)
    spec = attrs.evolve(
        spec, classes=3, labels=("odd", "above four", "loop"), task=task
    )
    return _split(x, y, spec, validation)


def _load_digits() -> tuple[Tensor, Tensor, DataSpec]:
    """Images (n, 1, 8, 8), their digits, and the spec of their classification."""
    pixels, digit = _read_digits()
    x = torch.from_numpy(pixels).float().div(FULL).reshape(-1, 1, 8, 8)
    labels = tuple(str(number) for number in range(10))
    mean = float(x.mean())
    std = float(x.std())
    spec = DataSpec((1, 8, 8), 10, mean=(mean,), std=(std,), labels=labels)
    return x, torch.from_numpy(digit).long(), spec


def _read_digits() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Pixels (n, 64) from 0 to 16, and the digits (n,).

    The file is read without `sklearn.datasets`, whose import takes longer (1.3 s) than a short training.
    """
    package = importlib.util.find_spec("sklearn")
    folders = (package and package.submodule_search_locations) or []
    for folder in folders:
        path = Path(folder, "datasets", "data", "digits.csv.gz")
        if path.is_file():
            table = np.loadtxt(path, delimiter=",")
            return table[:, :-1], table[:, -1].astype(np.int64)
    # a release that keeps it elsewhere
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return bunch.data, bunch.target


def two_moons(examples: int, noise: float, validation: float) -> Splits:
    """scikit-learn's moons, scaled to the unit square by their own extremes.

    Args:
        examples: training and test examples together.
        noise: standard deviation of the noise before scaling.
        validation: share of the training examples set apart.
    """
    from sklearn.datasets import make_moons

    points, target = make_moons(examples, noise=noise, random_state=0)
    points = (points - points.min(0)) / (points.max(0) - points.min(0))
    x = torch.from_numpy(points).float()
    y = torch.from_numpy(target).long()
    return _split(x, y, DataSpec((2,), 2), validation)


def diabetes(
    scale: Literal["unit", "raw"], tolerance: float, validation: float
) -> Splits:
    """Ten measurements of each patient and the progression of the disease.

    Args:
        scale: ``unit`` for features and targets from 0 to 1 over their ranges; ``raw`` for their own units.
        tolerance: largest error that counts as right, in points.
        validation: share of the training examples set apart.
    """
    from sklearn.datasets import load_diabetes

    bunch = load_diabetes(scaled=False)
    points = torch.from_numpy(bunch.target)
    unit = 1.0
    if scale == "unit":
        low, high = points.aminmax()
        unit = float(high - low)
        points = (points - low) / (high - low)
    task = Regression(tolerance=tolerance, unit=unit)
    return _table(bunch.data, points.float(), task, ("progression",), scale, validation)


def breast_cancer(scale: Literal["unit", "raw"], validation: float) -> Splits:
    """Thirty measurements of each tumour's cells, and 1 where it is benign."""
    from sklearn.datasets import load_breast_cancer

    bunch = load_breast_cancer()
    y = torch.from_numpy(bunch.target).long()
    return _table(bunch.data, y, Binary(), _names(bunch), scale, validation)


def wine(scale: Literal["unit", "raw"], validation: float) -> Splits:
    """Thirteen measurements of each wine, and its grower."""
    from sklearn.datasets import load_wine

    bunch = load_wine()
    y = torch.from_numpy(bunch.target).long()
    return _table(bunch.data, y, Classification(), _names(bunch), scale, validation)


def _names(bunch: Any) -> tuple[str, ...]:
    """The names of the classes of one of scikit-learn's data sets."""
    return tuple(str(name) for name in bunch.target_names)


def _table(
    values: np.ndarray[Any, Any],
    y: Tensor,
    task: Task,
    labels: tuple[str, ...],
    scale: Literal["unit", "raw"],
    validation: float,
) -> Splits:
    """Splits of a table of features (n, d) whose ranges are those of all its rows.

    Args:
        values: the features in their own units.
        y: the targets.
        task: what they are.
        labels: names of the classes, or of the targets.
        scale: ``unit`` for features from 0 to 1 over their ranges; ``raw`` for their units, with bounds per feature.
        validation: share of the training examples set apart.
    """
    if scale == "unit":
        low = values.min(0)
        high = values.max(0)
        values = (values - low) / (high - low)
    x = torch.from_numpy(values).float()
    bounds: Any = (0.0, 1.0)
    if scale == "raw":
        bounds = (tuple(x.amin(0).tolist()), tuple(x.amax(0).tolist()))
    train = x[~_is_test(len(x))].double()
    spec = DataSpec(
        (x.shape[1],),
        len(labels),
        bounds=bounds,
        mean=tuple(train.mean(0).tolist()),
        std=tuple(train.std(0).tolist()),
        labels=labels,
        task=task,
    )
    return _split(x, y, spec, validation)


def _is_test(n: int) -> Tensor:
    """A mask of the test examples among n: every fifth."""
    return torch.arange(n) % 5 == 4


def _split(x: Tensor, y: Tensor, spec: DataSpec, validation: float) -> Splits:
    """Splits in which every fifth example is a test example."""
    is_test = _is_test(len(y))
    train = TensorSplit(x[~is_test], y[~is_test])
    test = TensorSplit(x[is_test], y[is_test])
    return Splits.cut(train, test, spec, validation=validation)
