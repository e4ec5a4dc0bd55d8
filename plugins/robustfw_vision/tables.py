"""Data sets of scikit-learn for tasks beside the classification of images; nothing is downloaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias, final

import attrs
from attrs.validators import ge, gt, in_, lt

from robustfw import Dataset
from robustfw_vision.datasets import SHARE, check_share

if TYPE_CHECKING:
    from pathlib import Path

    from robustfw.data.splits import Splits

Scale: TypeAlias = Literal["unit", "raw"]
"""Whether features are scaled to [0, 1] or in their own units."""
SCALE = "unit: each feature from 0 to 1 over its range, so that a radius is a share of it; raw: each in its own unit"


@final
@attrs.frozen
class Diabetes(Dataset):
    """442 patients, ten measurements each, and how far the disease has gone a year later: a regression (Efron 2004).

    The target is from 25 to 346 points. With ``scale=unit`` it is a share of that range as well, which any learning
    rate suits; with ``scale=raw`` it is in points, and so are errors.
    """

    scale: Annotated[Scale, SCALE] = attrs.field(
        default="unit", validator=in_(("unit", "raw"))
    )
    tolerance: Annotated[
        float, "largest error that counts as right, in points, whatever the scale"
    ] = attrs.field(default=50.0, validator=gt(0))
    validation: Annotated[float, SHARE] = attrs.field(
        default=0.15, validator=check_share
    )

    def load(self, root: Path) -> Splits:
        """Every fifth example is a test example."""
        from robustfw_vision import bundled

        return bundled.diabetes(self.scale, self.tolerance, self.validation)


@final
@attrs.frozen
class BreastCancer(Dataset):
    """569 tumours, thirty measurements of cell nuclei each: malignant (0) or benign (1), by one logit (Street 1993)."""

    scale: Annotated[Scale, SCALE] = attrs.field(
        default="unit", validator=in_(("unit", "raw"))
    )
    validation: Annotated[float, SHARE] = attrs.field(
        default=0.15, validator=check_share
    )

    def load(self, root: Path) -> Splits:
        """Every fifth example is a test example."""
        from robustfw_vision import bundled

        return bundled.breast_cancer(self.scale, self.validation)


@final
@attrs.frozen
class Wine(Dataset):
    """178 wines of three growers by thirteen chemical measurements (Aeberhard & Forina 1991)."""

    scale: Annotated[Scale, SCALE] = attrs.field(
        default="unit", validator=in_(("unit", "raw"))
    )
    validation: Annotated[float, SHARE] = attrs.field(
        default=0.15, validator=check_share
    )

    def load(self, root: Path) -> Splits:
        """Every fifth example is a test example."""
        from robustfw_vision import bundled

        return bundled.wine(self.scale, self.validation)


@final
@attrs.frozen
class DigitsSegmentation(Dataset):
    """Paper or ink: a class for each pixel of scikit-learn's digits, whose images get noise. A toy that ships.

    Ink is what had at least half of the full brightness before the noise.
    """

    noise: Annotated[
        float, "standard deviation of the noise in the images, always the same"
    ] = attrs.field(default=0.1, validator=ge(0))
    share: Annotated[float, "share of wrong pixels from which on an image is wrong"] = (
        attrs.field(default=0.1, validator=[gt(0), lt(1)])
    )
    validation: Annotated[float, SHARE] = attrs.field(
        default=0.15, validator=check_share
    )

    def load(self, root: Path) -> Splits:
        """Every fifth example is a test example."""
        from robustfw_vision import bundled

        return bundled.digits_segmentation(self.noise, self.share, self.validation)


@final
@attrs.frozen
class DigitsMultilabel(Dataset):
    """Three labels for each of scikit-learn's digits, each there or not: odd, above four, with a loop (0, 6, 8, 9)."""

    tolerated: Annotated[int, "labels of an example that may be wrong"] = attrs.field(
        default=0, validator=[ge(0), lt(3)]
    )
    validation: Annotated[float, SHARE] = attrs.field(
        default=0.15, validator=check_share
    )

    def load(self, root: Path) -> Splits:
        """Every fifth example is a test example."""
        from robustfw_vision import bundled

        return bundled.digits_multilabel(self.tolerated, self.validation)
