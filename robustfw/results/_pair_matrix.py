"""A matrix of pairs of classes, with shades for their distances."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from robustfw.results._words import truncate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from robustfw.results._distinguishability import ClassPair


def _shades(values: Sequence[float]) -> list[float]:
    """Shades from 0.05 for the least value to 0.95 for the greatest."""
    low = min(values)
    high = max(values)
    if high == low:
        return [0.5] * len(values)
    return [0.05 + 0.9 * (value - low) / (high - low) for value in values]


def _three(value: float) -> str:
    """A number in three digits, or as many as there are before the point."""
    if value < 10:
        return f"{value:.2f}"
    if value < 100:
        return f"{value:.1f}"
    return f"{value:.0f}"


def draw_pairs(names: dict[int, str], pairs: Sequence[ClassPair]) -> Figure:
    from matplotlib.figure import Figure

    from robustfw.results._style import WIDTH, clear_frame, draw_cell

    place = {label: i for i, label in enumerate(names)}
    cell_size = min(0.7, (WIDTH - 0.9) / len(place))
    height = 0.8 + cell_size * len(place)
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots()
    # 1. the cells
    in_matrix = []
    for pair in pairs:
        if pair.first in place and pair.second in place:
            in_matrix.append(pair)
    linear_shades = _shades([pair.linear for pair in in_matrix])
    quadratic_shades = _shades([pair.quadratic for pair in in_matrix])
    for pair, linear_shade, quadratic_shade in zip(
        in_matrix, linear_shades, quadratic_shades, strict=True
    ):
        places = (place[pair.first], place[pair.second])
        first = min(places)
        second = max(places)
        # linear bounds below the diagonal, quadratic ones above
        draw_cell(
            axes,
            column=first,
            row=second,
            shade=linear_shade,
            text=_three(pair.linear),
            size=9.5,
        )
        draw_cell(
            axes,
            column=second,
            row=first,
            shade=quadratic_shade,
            text=_three(pair.quadratic),
            size=9.5,
        )
    # 2. the names of the classes
    axes.set_xlim(-0.5, len(place) - 0.5)
    axes.set_ylim(len(place) - 0.5, -0.5)
    longest = max(len(name) for name in names.values())
    rotation = 35 if longest > 3 else 0
    ticks = [truncate(name, 11) for name in names.values()]
    axes.set_xticks(range(len(place)), ticks, rotation=rotation)
    axes.set_yticks(range(len(place)), ticks)
    axes.set_aspect("equal", anchor="W")
    clear_frame(axes)
    return figure
