"""Folders of images, train/<class>/ and test/<class>/: which files and classes there are."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Literal, TypeAlias, final

import attrs

from robustfw import DataError, DataSpec
from robustfw.data.splits import Augment, LoadedSplit, Splits
from robustfw_vision.decoding import ImageFiles, has_colours
from robustfw_vision.memory import require_memory

Channels: TypeAlias = Literal["auto", 1, 3]

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""Endings of the names that are read, in small letters."""
LOOKED_AT = 64
"""Files whose heads decide about ``channels=auto``."""


@final
@attrs.frozen
class Layout:
    """How images become tensors of one shape."""

    size: int
    resize: int
    channels: Channels


def image_folder(folder: Path, layout: Layout, workers: int, validation: float, augment: Augment | None) -> Splits:
    """The images in train/ and test/ of a folder, each with one sub-folder per class.

    Args:
        folder: where train/ and test/ are.
        layout: shape of what the files become.
        workers: processes that decode.
        validation: share of the training examples set apart.
        augment: what is done to training batches.

    Raises:
        DataError: a folder, class or file that is missing, twice, or cannot be named or read.
    """
    classes, other_classes = (class_names(folder / part) for part in ("train", "test"))
    if classes != other_classes:
        raise DataError(f"{folder}: train has the classes {classes}, test has {other_classes}")
    train, test = (labelled_files(folder / part, classes) for part in ("train", "test"))
    channels = layout.channels
    if channels == "auto":
        channels = 3 if any(map(has_colours, _spread(train))) else 1
    require_memory(channels * layout.size**2, f"an image of {layout.size}x{layout.size} pixels", "a smaller size")

    splits = []
    for samples in (train, test):
        images = ImageFiles(
            samples,
            size=layout.size,
            resize=layout.resize,
            channels=channels,
            colours_in_grey=layout.channels == 1,
        )
        splits.append(LoadedSplit(images, _identity(samples, layout, channels), workers))
    spec = DataSpec((channels, layout.size, layout.size), len(classes), labels=tuple(classes))
    return Splits.cut(splits[0], splits[1], spec, validation=validation, augment=augment)


def class_names(folder: Path) -> list[str]:
    """Names of the sub-folders, sorted; those that begin with a dot are no classes."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise _no_images(folder, error.strerror or str(error)) from error
    if not names:
        raise _no_images(folder, "there is no sub-folder")
    for name in names:
        _check_name(name, folder)
        if not name.isprintable():
            raise DataError(f"the class folder {name!r} in {folder} has characters that cannot be shown: rename it")
    return names


def labelled_files(folder: Path, classes: list[str]) -> list[tuple[str, int]]:
    """Path and label of each image, in the order of classes and names.

    Raises:
        DataError: a class has no image; an image is no regular file; a name is not UTF-8.
    """
    samples = []
    empty = []
    for label, name in enumerate(classes):
        files = _image_files(folder / name)
        samples += [(path, label) for path in files]
        if not files:
            empty.append(name)
    if empty:
        raise DataError(
            f"there is no image of the classes {', '.join(empty)} in {folder}: put some there "
            f"({', '.join(EXTENSIONS)}), or remove the folders from train and test"
        )
    return samples


def _image_files(folder: Path) -> list[str]:
    """Paths of the images at any depth, links followed; names that begin with a dot are no images."""

    def give_up(error: OSError) -> None:
        raise DataError(f"the folder {error.filename} cannot be read ({error.strerror}): allow it, or remove it")

    folders = []
    targets: dict[str, str] = {}  # where each folder really is, once links are followed
    for root, _, names in os.walk(folder, followlinks=True, onerror=give_up):
        targets[root] = os.path.realpath(root)
        parents = (str(parent) for parent in Path(root).parents)
        if any(targets.get(parent) == targets[root] for parent in parents):
            raise DataError(f"the link {root} leads back to a folder that it is in: remove it")
        folders.append((root, sorted(names)))

    found = []
    for root, names in sorted(folders):
        for name in names:
            if name.startswith(".") or not name.lower().endswith(EXTENSIONS):
                continue
            _check_name(name, folder)
            path = os.path.join(root, name)
            _check_regular(path)
            found.append(path)
    return found


def _check_name(name: str, folder: Path) -> None:
    """Raise a `DataError` unless the name is UTF-8, as all that is recorded of it is."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"the name {os.fsencode(name)!r} in {folder} is not UTF-8: rename it") from error


def _check_regular(path: str) -> None:
    """Raise a `DataError` for whatever has an image's name and would block or be missing when it is opened."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): mend or remove it") from error
    if not stat.S_ISREG(mode):
        raise DataError(f"{path} is a pipe, a socket or a device, no file: remove it")


def _spread(samples: list[tuple[str, int]]) -> list[str]:
    """Some of the files, from all classes: `LOOKED_AT` at most."""
    every = max(1, -(-len(samples) // LOOKED_AT))
    return [path for path, _ in samples[::every]]


def _identity(samples: list[tuple[str, int]], layout: Layout, channels: int) -> str:
    """Names, sizes and classes of the files, which stand for their contents, after what decides about the pixels."""
    head = [str(layout.size)]
    if layout.resize != layout.size:
        head.append(f"resize={layout.resize}")
    if channels != 3:
        head.append(f"channels={channels}")
    lines = [f"{Path(path).name} {Path(path).stat().st_size} {label}" for path, label in samples]
    return "\n".join([" ".join(head), *lines])


def _no_images(folder: Path, reason: str) -> DataError:
    return DataError(f"no images in {folder} ({reason}): image-folder reads train/<class>/ and test/<class>/")
