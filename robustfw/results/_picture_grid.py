"""Rows of pictures with words below them, as one figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import attrs
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle
from numpy.typing import NDArray

from robustfw.results._style import FAINT, INK, WIDTH
from robustfw.results._words import truncate

Floats: TypeAlias = NDArray[np.float32]
COLUMNS = 5
"""Pictures in a row."""
LEFT = 0.24
"""Width of the margin with the names of the rows, in inches."""
GAP = 0.08
"""Space between pictures, in inches."""
SIZE = (WIDTH - LEFT) / COLUMNS - GAP
"""Width and height of a picture, in inches."""
PAD = 0.04
"""Space between a picture and the words below it, in inches."""
WORDS = 0.38
"""Space below a picture for two lines of words, in inches."""
LINE = 13
"""Letters that stand beneath a picture in one line."""
FACTORS = (1, 2, 3, 5, 10, 20, 30, 50, 100)
"""Factors by which perturbations are magnified."""


@attrs.frozen(eq=False)
class Row:
    """A picture in each column, with words below each."""

    name: str
    """Stands at the left, upright."""
    pictures: Sequence[Floats]
    """Pictures (channels, height, width) with values in [0, 1]; changes, in [−1, 1], where ``diverging``."""
    words: Sequence[str]
    """What stands below each picture."""
    diverging: bool = False
    """Whether the pictures show changes: blue below 0, white at 0, red above."""
    apart: bool = False
    """Whether a block of rows ends here, so that more space follows."""
    circled: Sequence[Floats] = ()
    """Pixels to be circled, (count, 2) as row and column, for each picture."""


def magnification(delta: Floats) -> int:
    """The greatest of some round factors by which a perturbation still fits between −1 and 1."""
    largest = float(np.abs(delta).max())
    return max(
        factor for factor in FACTORS if factor == 1 or factor * largest <= 1.0 + 1e-6
    )


def strongest_channel(delta: Floats) -> Floats:
    """The channel that changes most at each pixel, (1, height, width)."""
    return np.take_along_axis(delta, np.abs(delta).argmax(axis=0)[None], axis=0)


def rows_of_changes(
    original: Floats, adversarial: Floats, before: Sequence[str], after: Sequence[str]
) -> list[Row]:
    """Three rows for each `COLUMNS` examples: originals, magnified changes, adversarial examples.

    Args:
        original: (n, channels, height, width), values in [0, 1].
        adversarial: (n, channels, height, width), values in [0, 1].
        before: words below each original.
        after: words below each adversarial example.
    """
    rows = []
    for start in range(0, len(original), COLUMNS):
        block = slice(start, start + COLUMNS)
        magnified = []
        factors = []
        for delta in adversarial[block] - original[block]:
            factor = magnification(delta)
            magnified.append(strongest_channel(delta) * factor)
            factors.append(f"×{factor}")
        before_words = [_fit(word) for word in before[block]]
        after_words = [_fit(word) for word in after[block]]
        rows += [
            Row("original", list(original[block]), before_words),
            Row("change", magnified, factors, diverging=True),
            Row("adversarial", list(adversarial[block]), after_words, apart=True),
        ]
    return rows


def _fit(words: str) -> str:
    """Words as wide as a picture at most: what follows a comma goes to a second line where both do not fit into one."""
    if len(words) <= LINE:
        return words
    name, comma, rest = words.partition(", ")
    if not comma:
        return truncate(words, LINE)
    return f"{truncate(name, LINE)}\n{truncate(rest, LINE)}"


def draw_grid(rows: Sequence[Row]) -> Figure:
    """Rows of pictures from top to bottom, at most `COLUMNS` in each.

    All are drawn in one pair of axes, in inches: axes for each picture take ten times as long.
    """
    heights = [SIZE + _space_below(row) for row in rows]
    total = sum(heights) + 0.05
    figure = Figure(figsize=(WIDTH, total))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    top = total - 0.05
    for row, height in zip(rows, heights, strict=True):
        bottom = top - SIZE
        middle = bottom + SIZE / 2
        axes.text(
            0.14, middle, row.name, rotation=90, ha="center", va="center", size=10
        )
        for i, picture in enumerate(row.pictures):
            left = LEFT + i * (SIZE + GAP)
            frame = _frame_of(picture, left, bottom)
            _draw_picture(axes, picture, frame, diverging=row.diverging)
            if row.circled:
                _draw_circles(axes, row.circled[i], frame, picture.shape[1:])
            axes.text(
                left + SIZE / 2,
                bottom - PAD,
                row.words[i],
                ha="center",
                va="top",
                size=9.5,
                color=INK,
            )
        top -= height
    # pictures change the limits
    axes.set(xlim=(0, WIDTH), ylim=(0, total))
    return figure


def _space_below(row: Row) -> float:
    """Inches between the pictures of a row and the next row."""
    if not any(row.words):
        return GAP
    words = WORDS if "\n" in "".join(row.words) else WORDS / 1.8
    return words + (3 * GAP if row.apart else GAP)


def _frame_of(picture: Floats, left: float, bottom: float) -> Rectangle:
    """Where a picture stands, in inches: in the middle of a square, as large as its shape lets it be."""
    rows, columns = picture.shape[1:]
    inch = SIZE / max(rows, columns)
    width = inch * columns
    height = inch * rows
    corner = (left + (SIZE - width) / 2, bottom + (SIZE - height) / 2)
    return Rectangle(corner, width, height, fill=False, edgecolor=FAINT, linewidth=0.5)


def _draw_picture(
    axes: Axes, picture: Floats, frame: Rectangle, *, diverging: bool
) -> None:
    """Draw the pixels within their frame."""
    colours: dict[str, Any] = {"cmap": "gray", "vmin": 0, "vmax": 1}
    pixels = picture.mean(axis=0)
    if len(picture) == 3:
        pixels = np.moveaxis(picture, 0, -1).clip(0, 1)
    elif diverging:
        # ends of the map are left out: they are so dark that red and blue look alike
        colours = {"cmap": "RdBu_r", "vmin": -1.4, "vmax": 1.4}
    left, bottom = frame.xy
    extent = (left, left + frame.get_width(), bottom, bottom + frame.get_height())
    axes.imshow(pixels, extent=extent, aspect="auto", interpolation="none", **colours)
    axes.add_patch(frame)


def _draw_circles(
    axes: Axes, pixels: Floats, frame: Rectangle, shape: tuple[int, ...]
) -> None:
    """A ring around each pixel, with a white edge, so that it is seen on any picture.

    Args:
        axes: the axes, in inches.
        pixels: the pixels, (count, 2) as row and column.
        frame: where the picture stands.
        shape: height and width of the picture in pixels.
    """
    left, bottom = frame.xy
    top = bottom + frame.get_height()
    inch = frame.get_width() / shape[1]
    radius = inch * max(1.0, 0.07 * shape[1])
    for row, column in pixels:
        centre = (left + (column + 0.5) * inch, top - (row + 0.5) * inch)
        for colour, thickness in (("#fefefe", 3.2), ("#d1360a", 1.6)):
            ring = Circle(
                centre, radius, fill=False, edgecolor=colour, linewidth=thickness
            )
            axes.add_patch(ring)
