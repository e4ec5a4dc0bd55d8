"""A figure of a report, before it is drawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@attrs.frozen(eq=False)
class Drawing:
    """A figure, with what it says to those who do not see it."""

    kind: str
    """The name of its files, with a number where a report has several of it."""
    title: str
    draw: Callable[[], Figure]
    """Makes the figure, `robustfw.results._plots.WIDTH` inches wide, in matplotlib's current style."""
    caption: str
    alt: str
    """The finding in words and numbers."""
    command: str = ""
    """What to type to get its numbers again."""
