"""The style of figures: their width, colours and dashes; legends, axes of shares, cells of a matrix."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import PercentFormatter

WIDTH = 4.6
"""Width of every figure in inches: that of a phone, so that text is never scaled below what can be read."""
INK = "#1b1c1d"
"""Colour of text and axes."""
FAINT = "#8b8c8d"
"""Colour of grids and frames."""
COLOURS = ("#0068a8", "#c45500", "#00805a", "#a8447f", "#7a6a00", "#3d3d9e")
"""Okabe and Ito's colours (2008), darkened to a contrast of 4.5 on white; dashes and marks tell lines apart too."""
DASHES: tuple[Any, ...] = (
    "-",
    (0, (5, 1.6)),
    (0, (1.2, 1.2)),
    (0, (6, 1.5, 1.5, 1.5)),
    (0, (3, 1, 1, 1, 1, 1)),
)
"""Dashes of the lines of a figure, in their order."""
MARKS = "osD^vP"
"""Marks of the lines of a figure, in their order."""


def line_style(i: int) -> dict[str, Any]:
    """Colour, dash and mark of the i-th line, as arguments of matplotlib's ``plot``."""
    return {
        "color": COLOURS[i % len(COLOURS)],
        "linestyle": DASHES[i % len(DASHES)],
        "marker": MARKS[i % len(MARKS)],
    }


def draw_legend(axes: Axes, entries: int) -> None:
    """A legend above the panel, where it hides nothing; with more than two entries, a line for each."""
    columns = 2 if entries <= 2 else 1
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(-0.02, 1.0),
        ncols=columns,
        borderaxespad=0.2,
        handlelength=3,
    )


class _Percents(PercentFormatter):
    """Per cent with as many decimals as the ticks need; matplotlib's own formatter goes by the range of the axis."""

    def set_locs(self, locs: Sequence[float]) -> None:
        super().set_locs(list(locs))
        self.decimals = None
        for decimals in range(4):
            if all(
                math.isclose(round(share, decimals + 2), share, abs_tol=1e-9)
                for share in locs
            ):
                self.decimals = decimals
                return


def show_percent(axes: Axes, label: str) -> None:
    """Make the vertical axis one of shares, in per cent."""
    axes.yaxis.set_major_formatter(_Percents(1.0, symbol=" %"))
    axes.set_ylabel(label)


def draw_cell(
    axes: Axes, column: int, row: int, shade: float, text: str, size: float = 10
) -> None:
    """A square of a matrix with its number, in cividis, which reads the same for all kinds of colour vision.

    Args:
        axes: of the matrix; columns and rows are its units.
        column: where the square is, from the left.
        row: where the square is, from above.
        shade: from 0, dark, to 1, light.
        text: what stands in the square.
        size: of the text, in points.
    """
    red, green, blue, _ = colormaps["cividis"](shade)
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    ink = "#fefefe" if luminance < 0.45 else "#010101"
    axes.add_patch(
        Rectangle(
            (column - 0.48, row - 0.48),
            0.96,
            0.96,
            facecolor=(red, green, blue),
            edgecolor=FAINT,
        )
    )
    axes.text(column, row, text, ha="center", va="center", fontsize=size, color=ink)


def clear_frame(axes: Axes) -> None:
    """Take grid, ticks and spines away from a matrix."""
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def mark_bars(axes: Axes) -> None:
    """Grid lines across horizontal bars, and no ticks beside them."""
    axes.grid(axis="x")
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
