"""Image models and data sets (and small sets that scikit-learn ships: digits, tables, two-moons)."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from robustfw import hookimpl

if TYPE_CHECKING:
    from robustfw.hookspecs import Add


@hookimpl
def robustfw_register(add: Add) -> None:
    model = functools.partial(add, kind="model")
    model("linear", "robustfw_vision.models:Linear")
    model("mlp", "robustfw_vision.models:Mlp")
    model("fcn", "robustfw_vision.models:Fcn")
    model("paper-mnist", "robustfw_vision.models:PaperMnist")
    model("paper-cifar", "robustfw_vision.models:PaperCifar")
    model("fast-cifar", "robustfw_vision.models:FastCifar")
    model("madry-mnist", "robustfw_vision.models:MadryMnist")
    model("resnet18-cifar", "robustfw_vision.models:Resnet18Cifar")
    model("scattering", "robustfw_vision.models:Scattering")
    model("torchvision", "robustfw_vision.models:Torchvision")

    dataset = functools.partial(add, kind="dataset")
    dataset("digits", "robustfw_vision.datasets:Digits")
    dataset("digits-segmentation", "robustfw_vision.tables:DigitsSegmentation")
    dataset("digits-multilabel", "robustfw_vision.tables:DigitsMultilabel")
    dataset("diabetes", "robustfw_vision.tables:Diabetes")
    dataset("breast-cancer", "robustfw_vision.tables:BreastCancer")
    dataset("wine", "robustfw_vision.tables:Wine")
    dataset("two-moons", "robustfw_vision.datasets:TwoMoons")
    dataset("mnist", "robustfw_vision.datasets:Mnist")
    dataset("fashion-mnist", "robustfw_vision.datasets:FashionMnist")
    dataset("cifar10", "robustfw_vision.datasets:Cifar10")
    dataset("cifar100", "robustfw_vision.downloads:Cifar100")
    dataset("svhn", "robustfw_vision.downloads:Svhn")
    dataset("folder", "robustfw_vision.own_folders:Folder")
    dataset("image-folder", "robustfw_vision.datasets:ImageFolder")
    dataset("few-labels", "robustfw_vision.datasets:FewLabels")
