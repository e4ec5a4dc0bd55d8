"""Image models and data sets (and small sets that scikit-learn ships: digits, tables, two-moons)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robustfw import hookimpl
from robustfw_vision.datasets import Cifar10, Digits, FashionMnist, FewLabels, ImageFolder, Mnist, TwoMoons
from robustfw_vision.models import (
    FastCifar,
    Fcn,
    Linear,
    MadryMnist,
    Mlp,
    PaperCifar,
    PaperMnist,
    Resnet18Cifar,
    Scattering,
    Torchvision,
)
from robustfw_vision.tables import BreastCancer, Diabetes, DigitsMultilabel, DigitsSegmentation, Wine

if TYPE_CHECKING:
    from collections.abc import Callable


@hookimpl
def robustfw_register(add: Callable[[str, type], None]) -> None:
    add("linear", Linear)
    add("mlp", Mlp)
    add("fcn", Fcn)
    add("paper-mnist", PaperMnist)
    add("paper-cifar", PaperCifar)
    add("fast-cifar", FastCifar)
    add("madry-mnist", MadryMnist)
    add("resnet18-cifar", Resnet18Cifar)
    add("scattering", Scattering)
    add("torchvision", Torchvision)
    add("digits", Digits)
    add("digits-segmentation", DigitsSegmentation)
    add("digits-multilabel", DigitsMultilabel)
    add("diabetes", Diabetes)
    add("breast-cancer", BreastCancer)
    add("wine", Wine)
    add("two-moons", TwoMoons)
    add("mnist", Mnist)
    add("fashion-mnist", FashionMnist)
    add("cifar10", Cifar10)
    add("image-folder", ImageFolder)
    add("few-labels", FewLabels)
