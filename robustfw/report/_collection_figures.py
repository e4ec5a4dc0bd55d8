"""CollectionImages of a collection: the originals, what fools the net, and what the difference is."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import attrs
import numpy as np
from matplotlib.figure import Figure

from robustfw.report._collection_examples import CollectionImages, read, take_turns
from robustfw.results._kind import Drawing
from robustfw.results._material import Material, ReportedCollection
from robustfw.results._picture_grid import COLUMNS, Row, draw_grid, magnification, strongest_channel
from robustfw.results._words import count_of, join_words, truncate

BLOCKS = 3
FEW = 12
"""Pixels that can be circled without hiding the picture."""
SAMPLED = 4
"""Collections of which a sample is shown."""


def fewest_pixels(material: Material) -> list[Drawing]:
    """CollectionImages that one pixel turns into another class; where there are none, those with the fewest."""
    found: list[tuple[int, int, int, ReportedCollection, CollectionImages]] = []
    for collection in material.collections:
        examples = read(collection)
        if examples is not None and len(examples):
            counts = examples.pixel_changes().sum(axis=(1, 2))
            few = np.flatnonzero((counts > 0) & (counts <= FEW))
            if len(few):
                found.append((int(counts[few].min()), -len(few), len(found), collection, examples[few]))
    if not found:
        return []
    fewest, _, _, collection, examples = min(found, key=lambda each: each[:3])
    counts = examples.pixel_changes().sum(axis=(1, 2))
    if fewest == 1:
        shown = examples[counts == 1]
        shown = shown[take_turns(shown.set * 0, shown.y, COLUMNS)]
    else:
        shown = examples[np.argsort(counts, kind="stable")[:COLUMNS]]
    source = material.name_of(collection.manifest.source.run)
    return [_fewest(collection, source, shown, int((counts == 1).sum()))]


def _fewest(collection: ReportedCollection, source: str, shown: CollectionImages, single: int) -> Drawing:
    counts = shown.pixel_changes().sum(axis=(1, 2)).tolist()
    pixels = "one pixel" if counts[-1] == 1 else f"{_between(counts)} pixels"
    title = f"Changed in {pixels}"
    alt = (
        f"{count_of(len(shown), 'example')} of {collection.name}, each changed in {pixels}, with what the net "
        f"takes them for: {join_words(_stories(collection, shown), COLUMNS)}."
    )
    how = (
        f"the first of each class in turn, of {single} such examples of the collection"
        if single
        else "those with the fewest; none differs in a single pixel"
    )
    caption = (
        f"Above: original examples. Below: the same with {pixels} changed (circled), found against "
        f"{source}. Below each picture: the class and the net's confidence in it. Shown: {how}."
    )
    return Drawing("pixels", title, partial(_draw_fewest, collection, shown), caption, alt, collection.manifest.command)


def _between(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"


def _stories(collection: ReportedCollection, shown: CollectionImages) -> list[str]:
    before, after = (partial(each, collection, shown, between=" with ") for each in (_before, _after))
    return [f"{before(i)} becomes {after(i)}" for i in range(len(shown))]


def _name(collection: ReportedCollection, label: int) -> str:
    names = collection.labels
    return truncate(names[label], 11) if names and 0 <= label < len(names) else str(label)


def _before(collection: ReportedCollection, shown: CollectionImages, i: int, between: str = ", ") -> str:
    return f"{_name(collection, int(shown.y[i]))}{between}{100 * shown.confidence[i, 0]:.0f} %"


def _after(collection: ReportedCollection, shown: CollectionImages, i: int, between: str = ", ") -> str:
    return f"{_name(collection, int(shown.label[i]))}{between}{100 * shown.confidence[i, 1]:.0f} %"


def _two_rows(collection: ReportedCollection, shown: CollectionImages) -> list[Row]:
    """Originals and adversarials; a long name stands on a line of its own."""
    longest = max(len(_name(collection, int(label))) for label in [*shown.y, *shown.label])
    between = ", " if longest <= 3 else "\n"
    rows = range(len(shown))
    return [
        Row("original", list(shown.original), [_before(collection, shown, i, between) for i in rows]),
        Row("changed", list(shown.adversarial), [_after(collection, shown, i, between) for i in rows]),
    ]


def _draw_fewest(collection: ReportedCollection, shown: CollectionImages) -> Figure:
    above, below = _two_rows(collection, shown)
    circled = [np.argwhere(changed).astype(np.float32) for changed in shown.pixel_changes()]
    return draw_grid([above, attrs.evolve(below, circled=circled)])


def samples(material: Material) -> list[Drawing]:
    """A sample of each collection from all its sets, with the perturbations magnified."""
    drawings = []
    for collection in material.collections[:SAMPLED]:
        examples = read(collection)
        if examples is not None and len(examples):
            chosen = sorted(take_turns(examples.set, examples.y, COLUMNS * BLOCKS), key=lambda i: int(examples.set[i]))
            source = material.name_of(collection.manifest.source.run)
            drawings.append(_sample(collection, source, examples[chosen], len(examples)))
    return drawings


def _sample(collection: ReportedCollection, source: str, shown: CollectionImages, of: int) -> Drawing:
    sets = [each.uncertainty for each in collection.manifest.sets]
    there = sorted(set(shown.set.tolist()))
    letters = "; ".join(f"{chr(97 + i)}: {sets[i]}" for i in there)
    alt = (
        f"{count_of(len(shown), 'example')} of {collection.name} that fool {source}, from "
        f"{count_of(len(there), 'uncertainty set')}: {join_words(_stories(collection, shown), 5)}."
    )
    colour = " Of colours, the one that changes most is drawn." if shown.original.shape[1] > 1 else ""
    caption = (
        f"{len(shown)} of {of} examples crafted against {source}, from all its sets ({letters}) and from "
        "the classes in turn. Above: original; in the middle: adversarial, each with the class and the net's "
        "confidence in it; below: the perturbation, times the factor beneath it, red where it adds and blue where it "
        f"takes away.{colour}"
    )
    title = f"CollectionImages that fool {source}"
    return Drawing(
        "examples", title, partial(_draw_sample, collection, shown), caption, alt, collection.manifest.command
    )


def _draw_sample(collection: ReportedCollection, shown: CollectionImages) -> Figure:
    several = len(collection.manifest.sets) > 1
    rows: list[Row] = []
    for start in range(0, len(shown), COLUMNS):
        part = shown[start : start + COLUMNS]
        scales = [magnification(delta) for delta in part.delta]
        magnified = [strongest_channel(d) * scale for d, scale in zip(part.delta, scales, strict=True)]
        letters = [f"{chr(97 + int(i))}: " if several else "" for i in part.set]
        words = [f"{letter}×{scale}" for letter, scale in zip(letters, scales, strict=True)]
        rows += [*_two_rows(collection, part), Row("change", magnified, words, diverging=True, apart=True)]
    return draw_grid(rows)
