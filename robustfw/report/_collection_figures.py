"""Figures of transfer collections: the originals, what fools the net, and what the difference is."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import attrs
import numpy as np
from matplotlib.figure import Figure

from robustfw.report._collection_examples import (
    CollectionImages,
    read_images,
    take_turns,
)
from robustfw.results._kind import Drawing
from robustfw.results._material import Material, ReportedCollection
from robustfw.results._picture_grid import (
    COLUMNS,
    Row,
    draw_grid,
    magnification,
    strongest_channel,
)
from robustfw.results._words import count_of, join_words, truncate

BLOCKS = 3
"""Blocks of rows in the figure of a sample."""
FEW = 12
"""Pixels that can be circled without hiding the picture."""
SAMPLED = 4
"""Collections of which a sample is shown, at most."""


def pixel_figures(material: Material) -> list[Drawing]:
    """Examples that one pixel turns into another class; where there are none, those with the fewest pixels changed.

    They are of one collection: the one with the fewest pixels, and of those the one with the most such examples.
    """
    candidates: list[tuple[int, int, int, ReportedCollection, CollectionImages]] = []
    for collection in material.collections:
        images = read_images(collection)
        if images is None or not len(images):
            continue
        counts = images.pixel_changes().sum(axis=(1, 2))
        few = np.flatnonzero((counts > 0) & (counts <= FEW))
        if len(few):
            candidates.append(
                (
                    int(counts[few].min()),
                    -len(few),
                    len(candidates),
                    collection,
                    images[few],
                )
            )
    if not candidates:
        return []
    fewest, _, _, collection, images = min(
        candidates, key=lambda candidate: candidate[:3]
    )
    counts = images.pixel_changes().sum(axis=(1, 2))
    if fewest == 1:
        single = images[counts == 1]
        chosen = single[take_turns(single.set * 0, single.y, COLUMNS)]
    else:
        chosen = images[np.argsort(counts, kind="stable")[:COLUMNS]]
    source = material.name_of(collection.manifest.source.run)
    return [
        _pixel_figure(
            collection, source=source, images=chosen, single=int((counts == 1).sum())
        )
    ]


def _pixel_figure(
    collection: ReportedCollection, source: str, images: CollectionImages, single: int
) -> Drawing:
    """A figure of images with few pixels changed.

    Args:
        collection: what they are of.
        source: the name of the run that the collection was crafted against.
        images: what is shown.
        single: examples of the collection that differ in a single pixel.
    """
    counts = images.pixel_changes().sum(axis=(1, 2)).tolist()
    pixels = "one pixel" if counts[-1] == 1 else f"{_range_text(counts)} pixels"
    title = f"Changed in {pixels}"
    alt = (
        f"{count_of(len(images), 'example')} of {collection.name}, each changed in {pixels}, with what the net "
        f"takes them for: {join_words(_stories(collection, images), COLUMNS)}."
    )
    how = "those with the fewest; none differs in a single pixel"
    if single:
        how = f"the first of each class in turn, of {single} such examples of the collection"
    caption = (
        f"Above: original examples. Below: the same with {pixels} changed (circled), found against "
        f"{source}. Below each picture: the class and the net's confidence in it. Shown: {how}."
    )
    draw = partial(_draw_pixels, collection, images)
    return Drawing(
        kind="pixels",
        title=title,
        draw=draw,
        caption=caption,
        alt=alt,
        command=collection.manifest.command,
    )


def _draw_pixels(collection: ReportedCollection, images: CollectionImages) -> Figure:
    above, below = _image_rows(collection, images)
    circled = []
    for changes in images.pixel_changes():
        circled.append(np.argwhere(changes).astype(np.float32))
    return draw_grid([above, attrs.evolve(below, circled=circled)])


def _range_text(counts: Sequence[int]) -> str:
    low = min(counts)
    high = max(counts)
    if low == high:
        return str(low)
    return f"{low} to {high}"


def _stories(collection: ReportedCollection, images: CollectionImages) -> list[str]:
    """A few words on each image: what it is and what it becomes, with the net's confidences."""
    originals = _describe_originals(collection, images, " with ")
    adversarials = _describe_adversarials(collection, images, " with ")
    return [
        f"{before} becomes {after}"
        for before, after in zip(originals, adversarials, strict=True)
    ]


def _class_name(collection: ReportedCollection, label: int) -> str:
    names = collection.labels
    if names and 0 <= label < len(names):
        return truncate(names[label], 11)
    return str(label)


def _describe_originals(
    collection: ReportedCollection, images: CollectionImages, separator: str
) -> list[str]:
    """The class of each original and the net's confidence in it."""
    words = []
    for label, confidence in zip(images.y, images.confidence[:, 0], strict=True):
        words.append(
            f"{_class_name(collection, int(label))}{separator}{100 * confidence:.0f} %"
        )
    return words


def _describe_adversarials(
    collection: ReportedCollection, images: CollectionImages, separator: str
) -> list[str]:
    """The class that the net takes each adversarial image for, and its confidence in it."""
    words = []
    for label, confidence in zip(images.label, images.confidence[:, 1], strict=True):
        words.append(
            f"{_class_name(collection, int(label))}{separator}{100 * confidence:.0f} %"
        )
    return words


def _image_rows(collection: ReportedCollection, images: CollectionImages) -> list[Row]:
    """Originals and adversarials; a long name stands on a line of its own."""
    longest = max(
        len(_class_name(collection, int(label))) for label in [*images.y, *images.label]
    )
    separator = ", " if longest <= 3 else "\n"
    return [
        Row(
            name="original",
            pictures=list(images.original),
            words=_describe_originals(collection, images, separator),
        ),
        Row(
            name="changed",
            pictures=list(images.adversarial),
            words=_describe_adversarials(collection, images, separator),
        ),
    ]


def sample_figures(material: Material) -> list[Drawing]:
    """A sample of each collection from all its sets, with the perturbations magnified."""
    drawings = []
    for collection in material.collections[:SAMPLED]:
        images = read_images(collection)
        if images is None or not len(images):
            continue
        rows = take_turns(images.set, images.y, COLUMNS * BLOCKS)
        rows.sort(key=lambda row: int(images.set[row]))
        source = material.name_of(collection.manifest.source.run)
        drawings.append(
            _sample_figure(
                collection, source=source, sample=images[rows], n=len(images)
            )
        )
    return drawings


def _sample_figure(
    collection: ReportedCollection, source: str, sample: CollectionImages, n: int
) -> Drawing:
    """A figure of a sample.

    Args:
        collection: what it is of.
        source: the name of the run that the collection was crafted against.
        sample: what is shown.
        n: images of the collection.
    """
    sets = sorted(set(sample.set.tolist()))
    letters = "; ".join(
        f"{_letter(i)}: {collection.manifest.sets[i].uncertainty}" for i in sets
    )
    alt = (
        f"{count_of(len(sample), 'example')} of {collection.name} that fool {source}, from "
        f"{count_of(len(sets), 'uncertainty set')}: {join_words(_stories(collection, sample), 5)}."
    )
    if sample.original.shape[1] > 1:
        colour = " Of colours, the one that changes most is drawn."
    else:
        colour = ""
    caption = (
        f"{len(sample)} of {n} examples crafted against {source}, from all its sets ({letters}) and from "
        "the classes in turn. Above: original; in the middle: adversarial, each with the class and the net's "
        "confidence in it; below: the perturbation, times the factor beneath it, red where it adds and blue where it "
        f"takes away.{colour}"
    )
    title = f"Examples that fool {source}"
    draw = partial(_draw_sample, collection, sample)
    return Drawing(
        kind="examples",
        title=title,
        draw=draw,
        caption=caption,
        alt=alt,
        command=collection.manifest.command,
    )


def _letter(i: int) -> str:
    """a for the first set of a collection, b for the second, and so on."""
    return chr(ord("a") + i)


def _draw_sample(collection: ReportedCollection, sample: CollectionImages) -> Figure:
    several_sets = len(collection.manifest.sets) > 1
    rows: list[Row] = []
    for start in range(0, len(sample), COLUMNS):
        block = sample[start : start + COLUMNS]
        magnified = []
        words = []
        for delta, member in zip(block.delta, block.set, strict=True):
            factor = magnification(delta)
            magnified.append(strongest_channel(delta) * factor)
            prefix = f"{_letter(int(member))}: " if several_sets else ""
            words.append(f"{prefix}×{factor}")
        rows += _image_rows(collection, block)
        rows.append(Row("change", magnified, words, diverging=True, apart=True))
    return draw_grid(rows)
