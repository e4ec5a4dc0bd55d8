"""From an image file to pixels in [0, 1]: depths of colour, transparency, orientation, and files that are broken."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, TypeAlias, final

import attrs
import numpy as np
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import transforms

from robustfw import DataError

Picture: TypeAlias = Image.Image

GREY = {"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N", "F"}
"""Pillow's modes with one channel, and perhaps transparency."""
SIXTEEN_BIT_FORMATS = {"PNG", "PPM"}
"""Formats whose pixels run from 0 to 65535 where Pillow's mode is 32-bit integers."""


@final
class ImageFiles(Dataset[tuple[Tensor, int]]):
    """Image files as (x, label), x of shape (channels, size, size) in [0, 1]; decoded each time they are asked for.

    Args:
        samples: path and label of each file.
        size: side of the square that is cut from the centre.
        resize: pixels of the shorter side before the cut.
        channels: 1 or 3; grey images are repeated, colours become their brightness (ITU-R 601).
        colours_in_grey: whether images with colours may become grey; a `DataError` names them otherwise.
    """

    def __init__(
        self,
        samples: list[tuple[str, int]],
        *,
        size: int,
        resize: int,
        channels: int,
        colours_in_grey: bool,
    ) -> None:
        self.samples = samples
        self.reader = ImageReader(size, resize, channels, colours_in_grey)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        path, label = self.samples[index]
        return self.reader.read(path), label


@final
@attrs.frozen
class ImageReader:
    """Decodes image files to tensors of shape (channels, size, size)."""

    size: int
    """Side of the square that is cut from the centre."""
    resize: int
    """Pixels of the shorter side before the cut."""
    channels: int
    """1 or 3."""
    colours_in_grey: bool
    """Whether images with colours may become grey."""

    def read(self, path: str) -> Tensor:
        """Pixels in [0, 1] of one file.

        Raises:
            DataError: the file is no image, truncated, too large, or has values outside [0, 1]; its name is told.
        """
        return decode(path, self._pixels)

    def _pixels(self, image: Picture, path: str) -> Tensor:
        """Pixels of an opened image, (channels, size, size), in [0, 1]."""
        if self.channels == 1 and not self.colours_in_grey and image.mode not in GREY:
            raise DataError(
                f"{path} has colours, and the files that were looked at first are grey: give channels=3, or channels=1 "
                "for brightness alone"
            )
        # 1. upright, in floating point where a pixel has more than 8 bits, else grey or RGB without transparency
        file_format = image.format
        upright = ImageOps.exif_transpose(image)
        picture = _decode_deep_pixels(upright, path, file_format)
        if picture is None:
            picture = _flatten_on_white(upright).convert(
                "L" if self.channels == 1 else "RGB"
            )
        # 2. resize and cut
        _check_enlarged(picture, path, self.resize)
        resize_and_cut = transforms.Compose(
            [
                transforms.Resize(self.resize),
                transforms.CenterCrop(self.size),
                transforms.ToTensor(),
            ]
        )
        # 3. resizing rounds, in floating point also beyond the range of the values that it averages
        return (
            resize_and_cut(picture)
            .clamp(0, 1)
            .expand(self.channels, -1, -1)
            .contiguous()
        )


def has_colours(path: str) -> bool:
    """Whether a file's pixels have more than brightness and transparency; only its head is read."""
    return bool(decode(path, lambda image, _: image.mode not in GREY))


def decode(path: str, read: Callable[[Picture, str], Any]) -> Any:
    """The result of ``read(image, path)`` on the opened file.

    Raises:
        DataError: anything is wrong with the file; the message names it.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                return read(image, path)
    except (DataError, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(
            f"{path} has more than {Image.MAX_IMAGE_PIXELS:,} pixels, as files have that are made to fill the memory: "
            "make it smaller"
        ) from error
    except Exception as error:  # a broken file may make a decoder raise anything
        reason = (
            (str(error) or type(error).__name__)
            .splitlines()[0]
            .replace(repr(path), "it")
        )
        raise DataError(
            f"{path} cannot be read as an image ({reason}): mend or remove it"
        ) from error


def _decode_deep_pixels(
    image: Picture, path: str, file_format: str | None
) -> Picture | None:
    """An image of 16-bit or floating-point pixels as one of floating-point pixels in [0, 1]; None for 8 bits."""
    if image.mode == "F":
        values = np.asarray(image)
    elif image.mode.startswith("I;16") or (
        image.mode == "I" and file_format in SIXTEEN_BIT_FORMATS
    ):
        values = np.asarray(image).astype(np.float32) / 65535
    elif image.mode == "I":
        raise DataError(
            f"{path} has 32-bit whole numbers, whose range nobody knows: store 8 or 16 bits, or floating "
            "point from 0 to 1"
        )
    else:
        return None
    if not np.isfinite(values).all():
        raise DataError(
            f"{path} has pixels that are not finite numbers: mend or remove it"
        )
    low = float(values.min())
    high = float(values.max())
    if low < 0 or high > 1:
        raise DataError(
            f"{path} has floating-point pixels from {low:g} to {high:g}: scale them to 0 … 1"
        )
    return Image.fromarray(values)


def _flatten_on_white(image: Picture) -> Picture:
    """The image on a white ground; unchanged where it has no transparency."""
    if (
        image.mode not in ("RGBA", "RGBa", "LA", "La", "PA")
        and "transparency" not in image.info
    ):
        return image
    layers = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layers.size, "white"), layers)


def _check_enlarged(image: Picture, path: str, resize: int) -> None:
    """Raise a `DataError` where an image is so long that resizing its shorter side would fill the memory."""
    width, height = image.size
    longer = max(width, height) * resize // min(width, height)
    limit = Image.MAX_IMAGE_PIXELS
    if (
        limit is not None
        and max(width, height) > min(width, height)
        and longer * resize > limit
    ):
        raise DataError(
            f"{path} is {width}x{height}, too long to be resized to {resize} pixels across: cut it"
        )
