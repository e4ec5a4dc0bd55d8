"""Image models and data sets (and two small sets that are offline: digits and two-moons)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robustfw import hookimpl
from robustfw_vision.datasets import Cifar10, Digits, FashionMnist, FewLabels, ImageFolder, Mnist, TwoMoons
from robustfw_vision.models import (
    FastCifar,
    Linear,
    MadryMnist,
    Mlp,
    PaperCifar,
    PaperMnist,
    Resnet18Cifar,
    Scattering,
    Torchvision,
)

if TYPE_CHECKING:
    from collections.abc import Callable


@hookimpl
def robustfw_register(add: Callable[[str, type], None]) -> None:
    add("linear", Linear)
    add("mlp", Mlp)
    add("paper-mnist", PaperMnist)
    add("paper-cifar", PaperCifar)
    add("fast-cifar", FastCifar)
    add("madry-mnist", MadryMnist)
    add("resnet18-cifar", Resnet18Cifar)
    add("scattering", Scattering)
    add("torchvision", Torchvision)
    add("digits", Digits)
    add("two-moons", TwoMoons)
    add("mnist", Mnist)
    add("fashion-mnist", FashionMnist)
    add("cifar10", Cifar10)
    add("image-folder", ImageFolder)
    add("few-labels", FewLabels)
