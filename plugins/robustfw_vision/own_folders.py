"""Folders of images as people have them: one sub-folder for each class, with or without splits, or a list of files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, final

import attrs
from attrs.validators import ge, gt, in_, optional

from robustfw import DataError, Dataset, DataSpec
from robustfw.dataset import absolute_path, find_data
from robustfw_vision.datasets import SHARE, Augmentation, make_augmentation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from robustfw.data.splits import Splits
    from robustfw_vision.folders import ImageLayout
    from robustfw_vision.listings import Samples


def _absolute_or_none(path: str | None) -> str | None:
    """The path as `absolute_path` has it; None as it is."""
    return None if path is None else absolute_path(path)


@final
@attrs.frozen
class Folder(Dataset):
    """Images in a folder: ``<class>/*.png``, ``train/<class>/`` and ``test/<class>/``, or as a list file says.

    Without folders of their own, test examples are a share that is always the same. Where there is ``train`` and
    ``val`` alone, as in Imagenette, ``val`` is the test split. Examples stand in a random order, so that the first n
    are a fair sample of all classes. Files are decoded as those of ``image-folder``.
    """

    path: Annotated[str, "the folder; relative to here or to the data folder"] = (
        attrs.field(
            default="images", converter=absolute_path, metadata={"positional": True}
        )
    )
    list: Annotated[
        str | None,
        "a .csv file of path,label or path,label,split; paths are relative to the folder",
    ] = attrs.field(default=None, converter=_absolute_or_none)
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
    test: Annotated[float, "share of the examples for tests; 1: all"] = attrs.field(
        default=0.2
    )
    validation: Annotated[float, SHARE] = attrs.field(default=0.1)
    seed: Annotated[int, "decides the order of the examples, and so the cut"] = 0
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

    @test.validator
    @validation.validator
    def _check_share(self, field: attrs.Attribute[float], value: float) -> None:
        if not 0 <= value <= 1:
            raise ValueError(f"{field.name} must be a share from 0 to 1, not {value}")

    def load(self, root: Path) -> Splits:
        """The images of the folder; classes are the names of its sub-folders, or the labels of the list."""
        from robustfw_vision import folders, listings

        folder = find_data(self.path, root)
        layout = folders.ImageLayout(self.size, self.resize or self.size, self.channels)
        if self.list is None:
            classes, samples = listings.read_folders(folder)
        else:
            listing = find_data(self.list, folder)
            classes, samples = listings.read_list(listing, folder)
        return self._make_splits(folder, layout, classes, samples)

    def _make_splits(
        self,
        folder: Path,
        layout: ImageLayout,
        classes: Sequence[str],
        samples: Mapping[str, Samples],
    ) -> Splits:
        """Splits that decode when examples are asked for."""
        from robustfw.data.cutting import cut_splits, shuffle
        from robustfw_vision.folders import decode_splits

        splits, channels = decode_splits(list(samples.values()), layout, self.workers)
        parts = dict(zip(samples, splits, strict=True))
        spec = DataSpec(
            (channels, layout.size, layout.size), len(classes), labels=tuple(classes)
        )
        validation = parts.get("validation")
        test = parts.get("test")
        if test is None and "train" in parts and validation is not None:
            test, validation = validation, None
        train = parts.get("all", parts.get("train"))
        if train is None:
            raise DataError(f"there are no training images in {folder}")
        cut = cut_splits(
            train,
            spec,
            validation=self.validation if validation is None else 0.0,
            test=self.test if test is None else test,
            seed=self.seed,
            augment=make_augmentation(self.augment, shift=self.shift, side=self.size),
        )
        if validation is not None:
            cut = attrs.evolve(cut, validation=shuffle(validation, self.seed))
        return cut
