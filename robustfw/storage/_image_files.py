"""Image files of 8 bits: PNG files written and read back, and pictures of any format brought to a size."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from robustfw.errors import DataError
from robustfw.storage.files import write_whole

DEEP = ("I", "F")
"""Beginnings of Pillow's names for pixels of more than 8 bits."""


def png_bytes(pixels: Tensor) -> bytes:
    """A PNG file of pixels (1 or 3, height, width), uint8."""
    from PIL import Image

    array = pixels.cpu().movedim(0, -1).contiguous().numpy()
    image = Image.fromarray(array[..., 0] if len(pixels) == 1 else array)
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def write_png(path: Path, pixels: Tensor) -> None:
    """Write pixels (1 or 3, height, width), uint8, as a PNG file."""
    write_whole(path, png_bytes(pixels))


def read_pngs(paths: Sequence[Path]) -> Tensor:
    """The pixels of files of one shape that `write_png` wrote, (n, 1 or 3, height, width), uint8; n is 1 at least."""
    from PIL import Image

    pictures = []
    for path in paths:
        with Image.open(path) as image:
            array = np.array(image)
        if array.ndim == 2:
            array = array[..., None]
        pictures.append(torch.from_numpy(array).movedim(-1, 0))
    return torch.stack(pictures)


def read_pictures(
    paths: Sequence[Path], shape: tuple[int, ...], resize: int | None = None
) -> Tensor:
    """Pictures of any format as pixels of one shape, (n, *shape), uint8; n is 1 at least (`read_picture`)."""
    return torch.stack([read_picture(path, shape, resize) for path in paths])


def read_picture(
    path: Path, shape: tuple[int, ...], resize: int | None = None
) -> Tensor:
    """A picture of any format as pixels of a shape, uint8.

    It is turned upright, put on white where it is transparent, resized so that its shorter side fits, and cut from the
    centre.

    Args:
        path: the file.
        shape: (channels, height, width), of 1 or 3 channels.
        resize: pixels of the shorter side before the cut; None: as few as fill the shape.

    Raises:
        DataError: the file cannot be read as an image of 8 bits.
    """
    from PIL import Image, ImageOps

    channels, height, width = shape
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                upright = ImageOps.exif_transpose(image)
                upright.load()
    except OSError as error:
        reason = error.strerror or "it is none, or broken"
        raise DataError(f"{path} cannot be read as an image: {reason}") from error
    except Exception as error:  # a broken file may make a decoder raise anything
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(f"{path} cannot be read as an image: {reason}") from error
    if upright.mode.startswith(DEEP):
        raise DataError(
            f"{path} has more than 8 bits in a pixel: store it with 8 bits, as those are what is attacked"
        )
    if "transparency" in upright.info or upright.mode in ("LA", "La", "RGBA", "RGBa"):
        coloured = upright.convert("RGBA")
        white = Image.new("RGBA", coloured.size, "white")
        upright = Image.alpha_composite(white, coloured)
    picture = upright.convert("L" if channels == 1 else "RGB")
    if picture.size != (width, height):
        scale = max(width / picture.width, height / picture.height)
        if resize is not None:
            scale = max(scale, resize / min(picture.size))
        larger = (
            max(width, round(picture.width * scale)),
            max(height, round(picture.height * scale)),
        )
        picture = picture.resize(larger, Image.Resampling.BILINEAR)
        left = round((picture.width - width) / 2)
        top = round((picture.height - height) / 2)
        picture = picture.crop((left, top, left + width, top + height))
    array = np.array(picture).reshape(height, width, channels)
    return torch.from_numpy(array).movedim(-1, 0).contiguous()
