"""The data sets that come with scikit-learn. Apart from those of torchvision, whose import takes as long as torch's."""

from __future__ import annotations

from typing import Any, Literal

import attrs
import numpy as np
import torch
from torch import Tensor

from robustfw import DataSpec
from robustfw.data.splits import Splits, TensorSplit
from robustfw.task import Binary, Classification, Multilabel, Regression, Segmentation, Task

LOOPS = (0, 6, 8, 9)
"""Digits that enclose some paper."""
FULL = 16
"""Brightness of the digits' brightest pixels."""


def digits(validation: float) -> Splits:
    """scikit-learn's digits; values 0 … 16 become 0 … 1."""
    x, y, spec = _digits()
    return _every_fifth(x, y, spec, validation)


def digits_segmentation(noise: float, share: float, validation: float) -> Splits:
    """The digits with noise, and for each pixel whether it was ink before: y of shape (n, 8, 8)."""
    x, _, spec = _digits()
    ink = (x[:, 0] >= 0.5).long()
    drawn = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    noisy = (x + noise * drawn).clamp(0, 1)
    task = Segmentation(share=share)
    spec = attrs.evolve(spec, classes=2, labels=("paper", "ink"), task=task, mean=(float(noisy.mean()),))
    return _every_fifth(noisy, ink, attrs.evolve(spec, std=(float(noisy.std()),)), validation)


def digits_multilabel(tolerated: int, validation: float) -> Splits:
    """The digits, and three labels for each: y of shape (n, 3), 0 or 1."""
    x, digit, spec = _digits()
    loop = torch.isin(digit, torch.tensor(LOOPS))
    y = torch.stack([digit % 2 == 1, digit > 4, loop], 1).float()
    task = Multilabel(tolerated=tolerated)
    spec = attrs.evolve(spec, classes=3, labels=("odd", "above four", "loop"), task=task)
    return _every_fifth(x, y, spec, validation)


def _digits() -> tuple[Tensor, Tensor, DataSpec]:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    x = torch.from_numpy(bunch.images).float().div(FULL).unsqueeze(1)
    labels = tuple(str(name) for name in bunch.target_names)
    spec = DataSpec((1, 8, 8), 10, mean=(float(x.mean()),), std=(float(x.std()),), labels=labels)
    return x, torch.from_numpy(bunch.target).long(), spec


def two_moons(examples: int, noise: float, validation: float) -> Splits:
    """scikit-learn's moons, scaled to the unit square by their own extremes."""
    from sklearn.datasets import make_moons

    points, target = make_moons(examples, noise=noise, random_state=0)
    points = (points - points.min(0)) / (points.max(0) - points.min(0))
    x = torch.from_numpy(points).float()
    return _every_fifth(x, torch.from_numpy(target).long(), DataSpec((2,), 2), validation)


def diabetes(scale: Literal["unit", "raw"], tolerance: float, validation: float) -> Splits:
    """Ten measurements and the progression of the disease, in points, or as shares of their ranges."""
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
    """Thirty measurements of a tumour's cells, and 1 where it is benign."""
    from sklearn.datasets import load_breast_cancer

    bunch = load_breast_cancer()
    y = torch.from_numpy(bunch.target).long()
    return _table(bunch.data, y, Binary(), _names(bunch), scale, validation)


def wine(scale: Literal["unit", "raw"], validation: float) -> Splits:
    """Thirteen measurements of a wine, and its grower."""
    from sklearn.datasets import load_wine

    bunch = load_wine()
    y = torch.from_numpy(bunch.target).long()
    return _table(bunch.data, y, Classification(), _names(bunch), scale, validation)


def _names(bunch: Any) -> tuple[str, ...]:
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
    low, high = values.min(0), values.max(0)
    if scale == "unit":
        values = (values - low) / (high - low)
    x = torch.from_numpy(values).float()
    bounds: Any = (0.0, 1.0)
    if scale == "raw":
        bounds = (tuple(x.amin(0).tolist()), tuple(x.amax(0).tolist()))
    known = x[~_is_test(len(x))].double()
    spec = DataSpec(
        (x.shape[1],),
        len(labels),
        bounds=bounds,
        mean=tuple(known.mean(0).tolist()),
        std=tuple(known.std(0).tolist()),
        labels=labels,
        task=task,
    )
    return _every_fifth(x, y, spec, validation)


def _is_test(n: int) -> Tensor:
    return torch.arange(n) % 5 == 4


def _every_fifth(x: Tensor, y: Tensor, spec: DataSpec, validation: float) -> Splits:
    test = _is_test(len(y))
    return Splits.cut(TensorSplit(x[~test], y[~test]), TensorSplit(x[test], y[test]), spec, validation=validation)
