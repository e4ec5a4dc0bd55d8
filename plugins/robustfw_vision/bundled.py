"""The data sets that come with scikit-learn. Apart from those of torchvision, whose import takes as long as torch's."""

from __future__ import annotations

import torch

from robustfw import DataSpec
from robustfw.splits import Splits, TensorSplit


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
