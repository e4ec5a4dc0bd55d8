"""What figures of results are drawn with: lines, axes of shares, cells of a matrix, rows of pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import attrs
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]
WIDTH = 4.6
"""Inches. A figure is as wide as a phone, so that its text is never scaled below what can be read."""
INK = "#1b1c1d"
FAINT = "#8b8c8d"
COLOURS = ("#0068a8", "#c45500", "#00805a", "#a8447f", "#7a6a00", "#3d3d9e")
"""Okabe and Ito's (2008), darkened until each has a contrast of 4.5 on white; told apart by dashes and marks too."""
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.6)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.5, 1.5)), (0, (3, 1, 1, 1, 1, 1)))
MARKS = "osD^vP"
COLUMNS = 5
"""Pictures in a row."""
LEFT = 0.24
"""Inches: the margin with the names of the rows."""
GAP = 0.08
"""Inches between pictures."""
SIZE = (WIDTH - LEFT) / COLUMNS - GAP
WORDS = 0.38
"""Inches below a picture, for two lines."""
FACTORS = (1, 2, 3, 5, 10, 20, 30, 50, 100)


@attrs.frozen(eq=False)
class Row:
    """A picture in each column, with words below each."""

    name: str
    pictures: Sequence[Floats]
    words: Sequence[str]
    diverging: bool = False
    """Whether they show changes: blue below 0, white at 0, red above."""
    apart: bool = False
    """Whether a block of rows ends with it, so that more space follows."""
    circled: Sequence[Floats] = ()
    """Pixels to be circled, (count, 2) as row and column, for each picture."""


def look(i: int) -> dict[str, Any]:
    """Colour, dash and mark of the i-th line."""
    return {
        "color": COLOURS[i % len(COLOURS)],
        "linestyle": DASHES[i % len(DASHES)],
        "marker": MARKS[i % len(MARKS)],
    }


def legend(axes: Axes, entries: int) -> None:
    """Above the panel, where it hides nothing; a line each where there are many."""
    columns = 2 if entries <= 2 else 1
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=columns, borderaxespad=0.2, handlelength=3)


class _Percents(PercentFormatter):
    """With as many decimals as the ticks need; matplotlib's own go by the range of the axis."""

    def set_locs(self, locs: Sequence[float]) -> None:
        super().set_locs(list(locs))
        needed = (n for n in range(4) if all(math.isclose(round(share, n + 2), share, abs_tol=1e-9) for share in locs))
        self.decimals = next(needed, None)


def shares(axes: Axes, label: str) -> None:
    """A vertical axis of shares, in per cent."""
    axes.yaxis.set_major_formatter(_Percents(1.0, symbol=" %"))
    axes.set_ylabel(label)


def cell(axes: Axes, column: int, row: int, shade: float, text: str, size: float = 10) -> None:
    """A square of cividis, which reads the same for all kinds of colour vision, with its number; shade from 0 to 1."""
    red, green, blue, _ = colormaps["cividis"](shade)
    dark = 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.45
    square = Rectangle((column - 0.48, row - 0.48), 0.96, 0.96, facecolor=(red, green, blue), edgecolor=FAINT)
    axes.add_patch(square)
    ink = "#fefefe" if dark else "#010101"
    axes.text(column, row, text, ha="center", va="center", fontsize=size, color=ink)


def factor(delta: Floats) -> int:
    """The greatest of some round factors by which a perturbation still fits between −1 and 1."""
    largest = float(np.abs(delta).max())
    return max(f for f in FACTORS if f == 1 or f * largest <= 1.0 + 1e-6)


def strongest_channel(delta: Floats) -> Floats:
    """Of each pixel the channel that changes most, (1, height, width)."""
    return np.take_along_axis(delta, np.abs(delta).argmax(axis=0)[None], axis=0)


def grid(rows: Sequence[Row]) -> Figure:
    """Pictures in columns."""
    heights = [SIZE + _below(row) for row in rows]
    height = sum(heights) + 0.05
    figure = Figure(figsize=(WIDTH, height))
    top = height - 0.05
    for row, taken in zip(rows, heights, strict=True):
        bottom = top - SIZE
        figure.text(
            0.14 / WIDTH, (bottom + SIZE / 2) / height, row.name, rotation=90, ha="center", va="center", size=10
        )
        for i, picture in enumerate(row.pictures):
            left = LEFT + i * (SIZE + GAP)
            axes = figure.add_axes((left / WIDTH, bottom / height, SIZE / WIDTH, SIZE / height))
            _picture(axes, picture, diverging=row.diverging)
            _circles(axes, row.circled[i] if row.circled else ())
            axes.set_xlabel(row.words[i], fontsize=9.5, labelpad=2)
        top -= taken
    return figure


def _below(row: Row) -> float:
    if not any(row.words):
        return GAP
    words = WORDS if "\n" in "".join(row.words) else WORDS / 1.8
    return words + (3 * GAP if row.apart else GAP)


def _picture(axes: Axes, picture: Floats, *, diverging: bool) -> None:
    if len(picture) == 3:
        axes.imshow(np.moveaxis(picture, 0, -1).clip(0, 1), interpolation="none")
    else:
        # ends of the map are left out: they are so dark that red and blue look alike
        colours, low, high = ("RdBu_r", -1.4, 1.4) if diverging else ("gray", 0, 1)
        axes.imshow(picture.mean(axis=0), cmap=colours, vmin=low, vmax=high, interpolation="none")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines[:].set(visible=True, color=FAINT, linewidth=0.5)
    axes.xaxis.label.set_color(INK)


def _circles(axes: Axes, pixels: Sequence[Floats] | Floats) -> None:
    """A ring around each pixel, with a white edge, so that it is seen on any picture."""
    width = axes.get_xlim()[1] - axes.get_xlim()[0]
    for row, column in pixels:
        for colour, thickness in (("#fefefe", 3.2), ("#d1360a", 1.6)):
            ring = Circle((column, row), max(1.0, 0.07 * width), fill=False, edgecolor=colour, linewidth=thickness)
            ring.set_clip_on(False)
            axes.add_patch(ring)
