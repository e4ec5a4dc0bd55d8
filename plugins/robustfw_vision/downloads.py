"""Further data sets of small photographs that torchvision downloads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, final

import attrs
from attrs.validators import ge, in_, lt

from robustfw import Dataset, DataSpec
from robustfw_vision.datasets import SHARE, Augmentation, check_share, make_augmentation

if TYPE_CHECKING:
    from pathlib import Path

    from robustfw.data.splits import Splits


@final
@attrs.frozen
class Cifar100(Dataset):
    """CIFAR-100: 50,000 + 10,000 colour photographs of 100 classes, 32x32 (Krizhevsky 2009)."""

    validation: Annotated[float, SHARE] = attrs.field(
        default=0.05, validator=check_share
    )
    augment: Annotated[Augmentation, "what is done to training batches"] = attrs.field(
        default="flip-crop", validator=in_(("none", "crop", "flip-crop"))
    )
    shift: Annotated[
        int, "pixels by which a crop moves an image at most, reflected at the border"
    ] = attrs.field(default=4, validator=[ge(0), lt(32)])

    def load(self, root: Path) -> Splits:
        """torchvision's files under ``root``, downloaded if they are not there."""
        from robustfw_vision import reading

        spec = DataSpec(
            (3, 32, 32),
            100,
            mean=(0.5071, 0.4865, 0.4409),
            std=(0.2673, 0.2564, 0.2762),
        )
        augment = make_augmentation(self.augment, side=32, shift=self.shift)
        return reading.torchvision_set("CIFAR100", spec, root, self.validation, augment)


@final
@attrs.frozen
class Svhn(Dataset):
    """SVHN: 73,257 + 26,032 house numbers in colour, cut to one digit, 32x32 (Netzer et al. 2011)."""

    validation: Annotated[float, SHARE] = attrs.field(
        default=0.05, validator=check_share
    )
    augment: Annotated[Augmentation, "what is done to training batches"] = attrs.field(
        default="crop", validator=in_(("none", "crop", "flip-crop"))
    )
    shift: Annotated[
        int, "pixels by which a crop moves an image at most, reflected at the border"
    ] = attrs.field(default=4, validator=[ge(0), lt(32)])

    def load(self, root: Path) -> Splits:
        """torchvision's files under ``root``, downloaded if they are not there."""
        from robustfw_vision import reading

        spec = DataSpec(
            (3, 32, 32),
            10,
            mean=(0.4377, 0.4438, 0.4728),
            std=(0.1980, 0.2010, 0.1970),
        )
        augment = make_augmentation(self.augment, side=32, shift=self.shift)
        return reading.torchvision_set("SVHN", spec, root, self.validation, augment)
