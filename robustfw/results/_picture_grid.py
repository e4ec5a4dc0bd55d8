"""Rows of pictures with words below them, as one figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import attrs
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from numpy.typing import NDArray

from robustfw.results._style import FAINT, INK, WIDTH

Floats: TypeAlias = NDArray[np.float32]
COLUMNS = 5
"""Pictures in a row."""
LEFT = 0.24
"""Width of the margin with the names of the rows, in inches."""
GAP = 0.08
"""Space between pictures, in inches."""
SIZE = (WIDTH - LEFT) / COLUMNS - GAP
"""Width and height of a picture, in inches."""
WORDS = 0.38
"""Space below a picture for two lines of words, in inches."""
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


def draw_grid(rows: Sequence[Row]) -> Figure:
    """Rows of pictures from top to bottom, at most `COLUMNS` in each."""
    heights = [SIZE + _space_below(row) for row in rows]
    total = sum(heights) + 0.05
    figure = Figure(figsize=(WIDTH, total))
    top = total - 0.05
    for row, height in zip(rows, heights, strict=True):
        bottom = top - SIZE
        middle = (bottom + SIZE / 2) / total
        figure.text(
            0.14 / WIDTH,
            middle,
            row.name,
            rotation=90,
            ha="center",
            va="center",
            size=10,
        )
        for i, picture in enumerate(row.pictures):
            left = LEFT + i * (SIZE + GAP)
            axes = figure.add_axes(
                (left / WIDTH, bottom / total, SIZE / WIDTH, SIZE / total)
            )
            _draw_picture(axes, picture, diverging=row.diverging)
            if row.circled:
                _draw_circles(axes, row.circled[i])
            axes.set_xlabel(row.words[i], fontsize=9.5, labelpad=2)
        top -= height
    return figure


def _space_below(row: Row) -> float:
    """Inches between the pictures of a row and the next row."""
    if not any(row.words):
        return GAP
    words = WORDS if "\n" in "".join(row.words) else WORDS / 1.8
    return words + (3 * GAP if row.apart else GAP)


def _draw_picture(axes: Axes, picture: Floats, *, diverging: bool) -> None:
    if len(picture) == 3:
        axes.imshow(np.moveaxis(picture, 0, -1).clip(0, 1), interpolation="none")
    elif diverging:
        # ends of the map are left out: they are so dark that red and blue look alike
        axes.imshow(
            picture.mean(axis=0),
            cmap="RdBu_r",
            vmin=-1.4,
            vmax=1.4,
            interpolation="none",
        )
    else:
        axes.imshow(
            picture.mean(axis=0), cmap="gray", vmin=0, vmax=1, interpolation="none"
        )
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines[:].set(visible=True, color=FAINT, linewidth=0.5)
    axes.xaxis.label.set_color(INK)


def _draw_circles(axes: Axes, pixels: Floats) -> None:
    """A ring around each pixel, with a white edge, so that it is seen on any picture."""
    left, right = axes.get_xlim()
    radius = max(1.0, 0.07 * (right - left))
    for row, column in pixels:
        for colour, thickness in (("#fefefe", 3.2), ("#d1360a", 1.6)):
            ring = Circle(
                (column, row), radius, fill=False, edgecolor=colour, linewidth=thickness
            )
            ring.set_clip_on(False)
            axes.add_patch(ring)
