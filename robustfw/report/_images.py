"""Examples of a collection: the originals, what fools the net, and what the difference is."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import attrs
import numpy as np
from matplotlib.figure import Figure

from robustfw.report._examples import Examples, in_turn, read
from robustfw.results._drawing import Drawing
from robustfw.results._material import Collection, Material
from robustfw.results._plots import COLUMNS, Row, factor, grid, strongest_channel
from robustfw.results._words import cut, listed, times

BLOCKS = 3
FEW = 12
"""Pixels that can be circled without hiding the picture."""
SAMPLED = 4
"""Collections of which a sample is shown."""


def fewest_pixels(material: Material) -> list[Drawing]:
    """Examples that one pixel turns into another class; where there are none, those with the fewest."""
    found: list[tuple[int, int, int, Collection, Examples]] = []
    for collection in material.collections:
        examples = read(collection)
        if examples is not None and len(examples):
            counts = examples.changed().sum(axis=(1, 2))
            few = np.flatnonzero((counts > 0) & (counts <= FEW))
            if len(few):
                found.append((int(counts[few].min()), -len(few), len(found), collection, examples[few]))
    if not found:
        return []
    fewest, _, _, collection, examples = min(found, key=lambda each: each[:3])
    counts = examples.changed().sum(axis=(1, 2))
    if fewest == 1:
        shown = examples[counts == 1]
        shown = shown[in_turn(shown.set * 0, shown.y, COLUMNS)]
    else:
        shown = examples[np.argsort(counts, kind="stable")[:COLUMNS]]
    source = material.named(collection.manifest.source.run)
    return [_fewest(collection, source, shown, int((counts == 1).sum()))]


def _fewest(collection: Collection, source: str, shown: Examples, single: int) -> Drawing:
    counts = shown.changed().sum(axis=(1, 2)).tolist()
    pixels = "one pixel" if counts[-1] == 1 else f"{_between(counts)} pixels"
    title = f"Changed in {pixels}"
    alt = (
        f"{times(len(shown), 'example')} of {collection.name}, each changed in {pixels}, with what the net "
        f"takes them for: {listed(_stories(collection, shown), COLUMNS)}."
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


def _stories(collection: Collection, shown: Examples) -> list[str]:
    before, after = (partial(each, collection, shown, between=" with ") for each in (_before, _after))
    return [f"{before(i)} becomes {after(i)}" for i in range(len(shown))]


def _name(collection: Collection, label: int) -> str:
    names = collection.labels
    return cut(names[label], 11) if names and 0 <= label < len(names) else str(label)


def _before(collection: Collection, shown: Examples, i: int, between: str = ", ") -> str:
    return f"{_name(collection, int(shown.y[i]))}{between}{100 * shown.confidence[i, 0]:.0f} %"


def _after(collection: Collection, shown: Examples, i: int, between: str = ", ") -> str:
    return f"{_name(collection, int(shown.label[i]))}{between}{100 * shown.confidence[i, 1]:.0f} %"


def _two_rows(collection: Collection, shown: Examples) -> list[Row]:
    """Originals and adversarials; a long name stands on a line of its own."""
    longest = max(len(_name(collection, int(label))) for label in [*shown.y, *shown.label])
    between = ", " if longest <= 3 else "\n"
    rows = range(len(shown))
    return [
        Row("original", list(shown.original), [_before(collection, shown, i, between) for i in rows]),
        Row("changed", list(shown.adversarial), [_after(collection, shown, i, between) for i in rows]),
    ]


def _draw_fewest(collection: Collection, shown: Examples) -> Figure:
    above, below = _two_rows(collection, shown)
    circled = [np.argwhere(changed).astype(np.float32) for changed in shown.changed()]
    return grid([above, attrs.evolve(below, circled=circled)])


def samples(material: Material) -> list[Drawing]:
    """A sample of each collection from all its sets, with the perturbations magnified."""
    drawings = []
    for collection in material.collections[:SAMPLED]:
        examples = read(collection)
        if examples is not None and len(examples):
            chosen = sorted(in_turn(examples.set, examples.y, COLUMNS * BLOCKS), key=lambda i: int(examples.set[i]))
            source = material.named(collection.manifest.source.run)
            drawings.append(_sample(collection, source, examples[chosen], len(examples)))
    return drawings


def _sample(collection: Collection, source: str, shown: Examples, of: int) -> Drawing:
    sets = [each.uncertainty for each in collection.manifest.sets]
    there = sorted(set(shown.set.tolist()))
    letters = "; ".join(f"{chr(97 + i)}: {sets[i]}" for i in there)
    alt = (
        f"{times(len(shown), 'example')} of {collection.name} that fool {source}, from "
        f"{times(len(there), 'uncertainty set')}: {listed(_stories(collection, shown), 5)}."
    )
    colour = " Of colours, the one that changes most is drawn." if shown.original.shape[1] > 1 else ""
    caption = (
        f"{len(shown)} of {of} examples crafted against {source}, from all its sets ({letters}) and from "
        "the classes in turn. Above: original; in the middle: adversarial, each with the class and the net's "
        "confidence in it; below: the perturbation, times the factor beneath it, red where it adds and blue where it "
        f"takes away.{colour}"
    )
    title = f"Examples that fool {source}"
    return Drawing(
        "examples", title, partial(_draw_sample, collection, shown), caption, alt, collection.manifest.command
    )


def _draw_sample(collection: Collection, shown: Examples) -> Figure:
    several = len(collection.manifest.sets) > 1
    rows: list[Row] = []
    for start in range(0, len(shown), COLUMNS):
        part = shown[start : start + COLUMNS]
        scales = [factor(delta) for delta in part.delta]
        magnified = [strongest_channel(d) * scale for d, scale in zip(part.delta, scales, strict=True)]
        letters = [f"{chr(97 + int(i))}: " if several else "" for i in part.set]
        words = [f"{letter}×{scale}" for letter, scale in zip(letters, scales, strict=True)]
        rows += [*_two_rows(collection, part), Row("change", magnified, words, diverging=True, apart=True)]
    return grid(rows)
