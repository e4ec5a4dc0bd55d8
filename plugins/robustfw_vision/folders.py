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
"""Grey, colours, or whichever of them the first files have."""

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""Endings of the names of images, in small letters."""
INSPECTED = 64
"""The most files that are opened to decide about ``channels=auto``."""


@final
@attrs.frozen
class ImageLayout:
    """How images become tensors of one shape."""

    size: int
    """Side of the square that is cut from the centre, in pixels."""
    resize: int
    """The shorter side before the cut, in pixels."""
    channels: Channels


def image_folder(
    folder: Path,
    layout: ImageLayout,
    workers: int,
    validation: float,
    augment: Augment | None,
) -> Splits:
    """The images in train/ and test/ of a folder, each with one sub-folder per class.

    Args:
        folder: where train/ and test/ are.
        layout: the shape of the tensors.
        workers: processes that decode.
        validation: share of the training examples set apart.
        augment: what is done to training batches.

    Raises:
        DataError: a folder, class or file that is missing, twice, or cannot be named or read.
    """
    # 1. classes and files
    classes = class_names(folder / "train")
    test_classes = class_names(folder / "test")
    if classes != test_classes:
        raise DataError(
            f"{folder}: train has the classes {classes}, test has {test_classes}"
        )
    train_samples = list_images(folder / "train", classes)
    test_samples = list_images(folder / "test", classes)

    # 2. splits that decode when examples are asked for
    splits, channels = decode_splits([train_samples, test_samples], layout, workers)
    spec = DataSpec(
        (channels, layout.size, layout.size), len(classes), labels=tuple(classes)
    )
    train, test = splits
    return Splits.cut(train, test, spec, validation=validation, augment=augment)


def decode_splits(
    samples_of_splits: list[list[tuple[str, int]]], layout: ImageLayout, workers: int
) -> tuple[list[LoadedSplit], int]:
    """Splits that decode when examples are asked for, and the channels of their images.

    Args:
        samples_of_splits: path and label of each file, for each split; the first one decides about colours.
        layout: the shape of the tensors.
        workers: processes that decode.

    Raises:
        UsageError: an image of this size does not fit into memory.
    """
    # 1. the shape of an image
    channels = layout.channels
    if channels == "auto":
        paths = _choose_paths(samples_of_splits[0])
        channels = 3 if any(map(has_colours, paths)) else 1
    require_memory(
        channels * layout.size**2,
        f"an image of {layout.size}x{layout.size} pixels",
        "a smaller size",
    )
    # 2. the splits
    splits = []
    for samples in samples_of_splits:
        images = ImageFiles(
            samples,
            size=layout.size,
            resize=layout.resize,
            channels=channels,
            colours_in_grey=layout.channels == 1,
        )
        splits.append(
            LoadedSplit(images, _identity(samples, layout, channels), workers)
        )
    return splits, channels


def class_names(folder: Path) -> list[str]:
    """Names of the sub-folders, sorted; those that begin with a dot are no classes.

    Raises:
        DataError: the folder cannot be read or has no sub-folder, or a name cannot be shown.
    """
    try:
        with os.scandir(folder) as entries:
            names = sorted(
                entry.name
                for entry in entries
                if entry.is_dir() and not entry.name.startswith(".")
            )
    except OSError as error:
        raise _no_images(folder, error.strerror or str(error)) from error
    if not names:
        raise _no_images(folder, "there is no sub-folder")
    for name in names:
        _check_name(name, folder)
        if not name.isprintable():
            raise DataError(
                f"the class folder {name!r} in {folder} has characters that cannot be shown: rename it"
            )
    return names


def list_images(folder: Path, classes: list[str]) -> list[tuple[str, int]]:
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
        raise DataError(
            f"the folder {error.filename} cannot be read ({error.strerror}): allow it, or remove it"
        )

    folders = []
    targets: dict[str, str] = {}  # where each folder really is, once links are followed
    for root, _, names in os.walk(folder, followlinks=True, onerror=give_up):
        targets[root] = os.path.realpath(root)
        parents = (str(parent) for parent in Path(root).parents)
        if any(targets.get(parent) == targets[root] for parent in parents):
            raise DataError(
                f"the link {root} leads back to a folder that it is in: remove it"
            )
        folders.append((root, sorted(names)))

    paths = []
    for root, names in sorted(folders):
        for name in names:
            if name.startswith(".") or not name.lower().endswith(EXTENSIONS):
                continue
            _check_name(name, folder)
            path = os.path.join(root, name)
            _check_regular(path)
            paths.append(path)
    return paths


def _check_name(name: str, folder: Path) -> None:
    """Raise a `DataError` unless the name is UTF-8, as all that is recorded of it is."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"the name {os.fsencode(name)!r} in {folder} is not UTF-8: rename it"
        ) from error


def _check_regular(path: str) -> None:
    """Raise a `DataError` unless the path is a regular file: anything else would block, or be missing, when opened."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror}): mend or remove it"
        ) from error
    if not stat.S_ISREG(mode):
        raise DataError(f"{path} is a pipe, a socket or a device, no file: remove it")


def _choose_paths(samples: list[tuple[str, int]]) -> list[str]:
    """Paths of some of the files, from all classes: `INSPECTED` at most."""
    stride = max(1, -(-len(samples) // INSPECTED))
    return [path for path, _ in samples[::stride]]


def _identity(
    samples: list[tuple[str, int]], layout: ImageLayout, channels: int
) -> str:
    """A text that tells data sets apart: the layout, then names, sizes and classes of the files."""
    head = [str(layout.size)]
    if layout.resize != layout.size:
        head.append(f"resize={layout.resize}")
    if channels != 3:
        head.append(f"channels={channels}")
    lines = [" ".join(head)]
    for path, label in samples:
        lines.append(f"{Path(path).name} {Path(path).stat().st_size} {label}")
    return "\n".join(lines)


def _no_images(folder: Path, reason: str) -> DataError:
    """The error of a folder that has not the form of a data set."""
    return DataError(
        f"no images in {folder} ({reason}): image-folder reads train/<class>/ and test/<class>/, folder "
        "reads <class>/ as well"
    )
