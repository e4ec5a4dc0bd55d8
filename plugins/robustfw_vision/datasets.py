"""The data sets. Small ones are uint8 tensors in memory; folders of images go through worker processes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, final

import attrs
from attrs.validators import ge, gt, in_, le, lt, optional

from robustfw import Dataset, DataSpec, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from robustfw.data.splits import Augment, Splits

Augmentation: TypeAlias = Literal["none", "crop", "flip-crop"]
"""How training batches are augmented: not at all, by shifted crops, or by crops that are mirrored too."""
SHARE = "share of the training examples set apart for validation"
"""Help of the option ``validation``."""


def check_share(_: object, field: attrs.Attribute[Any], value: float) -> None:
    """Validator of attrs: a share in [0, 1).

    Args:
        _: the object that is made, which is not used.
        field: the option.
        value: its value.

    Raises:
        ValueError: the value is no such share.
    """
    if not 0 <= value < 1:
        raise ValueError(
            f"{field.name} must be a share, at least 0 and less than 1, not {value}"
        )


def make_augmentation(
    name: Augmentation,
    *,
    side: int,
    shift: int = 4,
    cutout: int = 0,
    fill: Sequence[float] = (),
) -> Augment | None:
    """The augmentation of training batches, or None where there is none.

    Args:
        name: the value of the option ``augment``.
        side: pixels of the shorter side of an image.
        shift: pixels by which a crop moves an image at most.
        cutout: side of the square that is filled; 0: none is.
        fill: colour of that square, one number for each channel; empty: 0.5.

    Raises:
        UsageError: the images are too small to be reflected at the border.
    """
    from robustfw_vision.augment import Crop, Cutout, InTurn, require_larger

    steps: list[Augment] = []
    if name != "none":
        require_larger(shift, side)
        steps.append(Crop(shift, flip=name == "flip-crop"))
    if cutout:
        steps.append(Cutout(cutout, tuple(fill)))
    return InTurn(tuple(steps)) if steps else None


@final
@attrs.frozen
class Digits(Dataset):
    """scikit-learn's 1,797 handwritten digits of 8x8 pixels: real, small, and there without a download."""

    validation: Annotated[float, SHARE] = attrs.field(
        default=0.15, validator=check_share
    )

    def load(self, root: Path) -> Splits:
        """Every fifth example is a test example."""
        from robustfw_vision import bundled

        return bundled.digits(self.validation)


@final
@attrs.frozen
class TwoMoons(Dataset):
    """scikit-learn's two interleaving half circles, scaled to the unit square."""

    examples: Annotated[int, "training and test examples together"] = attrs.field(
        default=1000, validator=ge(10)
    )
    noise: Annotated[float, "standard deviation of the noise before scaling"] = (
        attrs.field(default=0.1, validator=ge(0))
    )
    validation: Annotated[float, SHARE] = attrs.field(
        default=0.15, validator=check_share
    )

    def load(self, root: Path) -> Splits:
        """Every fifth example is a test example."""
        from robustfw_vision import bundled

        return bundled.two_moons(self.examples, self.noise, self.validation)


@final
@attrs.frozen
class Mnist(Dataset):
    """MNIST: 60,000 + 10,000 handwritten digits, 28x28."""

    validation: Annotated[float, SHARE] = attrs.field(
        default=0.05, validator=check_share
    )
    augment: Annotated[Augmentation, "what is done to training batches"] = attrs.field(
        default="none", validator=in_(("none", "crop", "flip-crop"))
    )

    box: Annotated[bool, "whether perturbed images keep the range from 0 to 1"] = True

    def load(self, root: Path) -> Splits:
        """torchvision's files under ``root``, downloaded if they are not there."""
        from robustfw_vision import reading

        bounds = (0.0, 1.0) if self.box else None
        spec = DataSpec((1, 28, 28), 10, bounds=bounds, mean=(0.1307,), std=(0.3081,))
        return reading.torchvision_set(
            "MNIST",
            spec,
            root,
            self.validation,
            make_augmentation(self.augment, side=28),
        )


@final
@attrs.frozen
class FashionMnist(Dataset):
    """Fashion-MNIST: 60,000 + 10,000 articles of clothing, 28x28."""

    validation: Annotated[float, SHARE] = attrs.field(
        default=0.05, validator=check_share
    )
    augment: Annotated[Augmentation, "what is done to training batches"] = attrs.field(
        default="none", validator=in_(("none", "crop", "flip-crop"))
    )

    def load(self, root: Path) -> Splits:
        """torchvision's files under ``root``, downloaded if they are not there."""
        from robustfw_vision import reading

        spec = DataSpec((1, 28, 28), 10, mean=(0.2860,), std=(0.3530,))
        return reading.torchvision_set(
            "FashionMNIST",
            spec,
            root,
            self.validation,
            make_augmentation(self.augment, side=28),
        )


@final
@attrs.frozen
class Cifar10(Dataset):
    """CIFAR-10: 50,000 + 10,000 colour photographs, 32x32."""

    validation: Annotated[float, SHARE] = attrs.field(
        default=0.05, validator=check_share
    )
    augment: Annotated[Augmentation, "what is done to training batches"] = attrs.field(
        default="flip-crop", validator=in_(("none", "crop", "flip-crop"))
    )
    shift: Annotated[
        int, "pixels by which a crop moves an image at most, reflected at the border"
    ] = attrs.field(default=4, validator=[ge(0), lt(32)])
    cutout: Annotated[
        int, "side of a square of each training image that becomes grey; 0: none"
    ] = attrs.field(default=0, validator=[ge(0), le(32)])
    box: Annotated[bool, "whether perturbed images keep the range from 0 to 1"] = True

    def load(self, root: Path) -> Splits:
        """torchvision's files under ``root``, downloaded if they are not there."""
        from robustfw_vision import reading

        mean = (0.4914, 0.4822, 0.4465)
        bounds = (0.0, 1.0) if self.box else None
        spec = DataSpec(
            (3, 32, 32), 10, bounds=bounds, mean=mean, std=(0.2470, 0.2435, 0.2616)
        )
        augment = make_augmentation(
            self.augment, side=32, shift=self.shift, cutout=self.cutout, fill=mean
        )
        return reading.torchvision_set("CIFAR10", spec, root, self.validation, augment)


@final
@attrs.frozen
class ImageFolder(Dataset):
    """Folders ``train/<class>/*.png`` and ``test/<class>/*.png``, read by worker processes.

    Pixels become numbers from 0 to 1, whatever their depth: 8 and 16 bits by their largest value, floating point must
    lie there. Images are turned as their EXIF orientation says, transparent ones are shown on white, palettes and CMYK
    become RGB. Names that begin with a dot are passed over.
    """

    path: Annotated[str, "the folder; relative to the data folder"] = "images"
    size: Annotated[int, "images are resized and cropped to size x size"] = attrs.field(
        default=224, validator=gt(0)
    )
    resize: Annotated[
        int | None,
        "pixels of the shorter side before the crop, size or more; none: size",
    ] = attrs.field(default=None, validator=optional(gt(0)))
    channels: Annotated[
        Literal["auto", 1, 3],
        "1: grey; 3: colours; auto: grey where all of the first files looked at are",
    ] = attrs.field(default="auto", validator=in_(("auto", 1, 3)))
    workers: Annotated[int, "processes that decode"] = attrs.field(
        default=2, validator=ge(0)
    )
    validation: Annotated[float, SHARE] = attrs.field(
        default=0.05, validator=check_share
    )
    augment: Annotated[Augmentation, "what is done to training batches"] = attrs.field(
        default="flip-crop", validator=in_(("none", "crop", "flip-crop"))
    )
    shift: Annotated[
        int, "pixels by which a crop moves an image at most, reflected at the border"
    ] = attrs.field(default=4, validator=ge(0))

    @resize.validator
    def _check_resize(self, _: object, resize: int | None) -> None:
        if resize is not None and resize < self.size:
            raise ValueError(
                f"resize must be at least the size {self.size}, not {resize}"
            )

    def load(self, root: Path) -> Splits:
        """The images of the two folders; classes are the names of the sub-folders of train."""
        from robustfw_vision import folders

        augment = make_augmentation(self.augment, shift=self.shift, side=self.size)
        layout = folders.ImageLayout(self.size, self.resize or self.size, self.channels)
        folder = root / os.path.expanduser(self.path)
        return folders.image_folder(
            folder, layout, self.workers, self.validation, augment
        )


@final
@attrs.frozen
class FewLabels(Dataset):
    """Another data set of which few training examples keep their label: semi-supervised learning.

    The others get the label −1, which takes no part in a cross-entropy; a penalty such as ``vat`` learns from them too.
    The mean over a batch counts all rows, so that with a share s of labelled ones cross-entropy weighs s and a
    penalty 1: a paper's weight λ beside a mean over labelled examples is β = λ·s, a fifth of it by default.

    Validation and test keep their labels: the measure is the same, and choosing by validation is kinder than so few
    labels would be in earnest.
    """

    dataset: Annotated[Dataset, "spec of the data set, in memory"] = attrs.field(
        factory=Digits
    )
    labels: Annotated[
        int, "training examples that keep theirs, as many of each class"
    ] = attrs.field(default=100, validator=ge(1))
    repeats: Annotated[
        int | None,
        "how often each of these is in an epoch; none: they become a fifth of it",
    ] = attrs.field(default=None, validator=optional(ge(1)))
    seed: Annotated[int, "decides which"] = 0

    def load(self, root: Path) -> Splits:
        """The splits of the other data set, with few labels in training.

        Raises:
            UsageError: the other data set has no class labels.
        """
        splits = self.dataset.load(root)
        if not splits.spec.task.labelled:
            raise UsageError(
                "few-labels takes labels from a classification, and this data has another task"
            )
        return splits.keep_labels(self.labels, seed=self.seed, repeats=self.repeats)
