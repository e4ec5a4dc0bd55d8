"""The files of a folder of images by split: as its sub-folders say, or as a list does."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TypeAlias

from robustfw import DataError
from robustfw_vision.folders import class_names, list_images

Samples: TypeAlias = list[tuple[str, int]]
"""Path and label of each file."""
SPLITS = {
    "train": ("train", "training"),
    "validation": ("val", "validation", "valid"),
    "test": ("test", "testing"),
}
"""Names of folders, and words in lists, for each split."""


def read_folders(folder: Path) -> tuple[list[str], dict[str, Samples]]:
    """The classes of a folder, and its files by split; those of "all" where its sub-folders are the classes.

    Raises:
        DataError: there is no class or no image, or the splits have different classes.
    """
    found: dict[str, Path] = {}
    for split, names in SPLITS.items():
        for name in names:
            if (folder / name).is_dir():
                found.setdefault(split, folder / name)
    if "train" not in found:
        classes = class_names(folder)
        return classes, {"all": list_images(folder, classes)}
    classes = class_names(found["train"])
    samples = {}
    for split, place in found.items():
        other = class_names(place)
        if other != classes:
            raise DataError(
                f"{folder}: train has the classes {classes}, {place.name} has {other}"
            )
        samples[split] = list_images(place, classes)
    return classes, samples


def read_list(listing: Path, folder: Path) -> tuple[list[str], dict[str, Samples]]:
    """The classes and the files of a list, by split; those of "all" where it names no splits.

    Args:
        listing: lines of path,label or path,label,split, with or without a heading that begins with "path".
        folder: the folder that paths are relative to.

    Raises:
        DataError: a line has another form, or its file is not there; the message names the line.
    """
    rows = []
    try:
        with open(listing, newline="", encoding="utf-8") as file:
            rows = [row for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{listing} cannot be read as a list of files ({error})"
        ) from error
    if rows and rows[0][0].strip().lower() in ("path", "file", "filename"):
        rows = rows[1:]
    if not rows:
        raise DataError(f"{listing} names no file")
    words = {word: split for split, names in SPLITS.items() for word in names}
    width = len(rows[0])
    entries = []
    for number, row in enumerate(rows, 1):
        cells = [cell.strip() for cell in row]
        if len(cells) != width or width not in (2, 3):
            raise DataError(
                f"entry {number} of {listing.name} has {len(cells)} cells: each is path,label or each path,label,split"
            )
        split = "all" if width == 2 else words.get(cells[2].lower(), "")
        if not split:
            raise DataError(
                f"entry {number} of {listing.name} is of a split {cells[2]!r}: write train, val or test"
            )
        path = folder / cells[0]
        if not path.is_file():
            raise DataError(
                f"entry {number} of {listing.name}: there is no file {path}"
            )
        entries.append((split, str(path), cells[1]))
    labels = {label for _, _, label in entries}
    # numbers in the order of numbers: 10 after 9
    numeric = all(label.isdecimal() for label in labels)
    classes = sorted(labels, key=int) if numeric else sorted(labels)
    number_of = {label: number for number, label in enumerate(classes)}
    samples: dict[str, Samples] = {}
    for split, path_text, label in entries:
        samples.setdefault(split, []).append((path_text, number_of[label]))
    return classes, samples
