"""From a matplotlib figure to SVG that follows the page's colours, and to PNG and PDF beside it."""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import attrs
import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

WIDTH = 4.6
"""Inches. A figure is as wide as a phone, so that its text is never scaled below what can be read."""
INK, FAINT = "#1b1c1d", "#8b8c8d"
COLOURS = ("#0068a8", "#c45500", "#00805a", "#a8447f", "#7a6a00", "#3d3d9e")
"""Okabe and Ito's (2008), darkened until each has a contrast of 4.5 on white; told apart by dashes and marks too."""
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.6)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.5, 1.5)), (0, (3, 1, 1, 1, 1, 1)))
MARKS = "osD^vP"
TOKENS = {INK: "currentColor", FAINT: "var(--faint)"} | {c: f"var(--c{i})" for i, c in enumerate(COLOURS)}
"""Colours that a style sheet may change, as they stand in the SVG."""
SETTINGS: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "robustfw",
    "pdf.fonttype": 42,
    "text.parse_math": False,  # a name with two dollar signs is no formula
    "font.size": 10.5,
    "axes.labelsize": 10.5,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "legend.fontsize": 10.5,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": FAINT,
    "grid.alpha": 0.35,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.8,
    "lines.markersize": 4.5,
    "savefig.facecolor": "white",
} | dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK)
REFERENCE = re.compile(r"url\(#([^)]+)\)")


@attrs.frozen(eq=False)
class Drawing:
    """A figure, with what it says to those who do not see it."""

    kind: str
    title: str
    draw: Callable[[], Figure]
    caption: str
    alt: str
    """The finding in words."""
    command: str = ""


@attrs.frozen
class Image:
    """A figure as it stands in the page."""

    name: str
    title: str
    svg: str
    caption: str
    alt: str
    command: str


def rendered(drawing: Drawing, name: str, folder: Path) -> Image:
    """Draw it, and write it as PNG and PDF into the folder. The same figure gives the same bytes."""
    with matplotlib.style.context(["default", SETTINGS]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # names may be in any script; browsers have it
        figure = drawing.draw()
        figure.savefig(folder / f"{name}.png", dpi=200, metadata={"Software": None})
        figure.savefig(folder / f"{name}.pdf", metadata={"CreationDate": None})
        buffer = io.BytesIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    svg = inline(buffer.getvalue(), name, drawing.alt)
    return Image(name, drawing.title, svg, drawing.caption, drawing.alt, drawing.command)


def inline(svg: bytes, name: str, alt: str) -> str:
    """An SVG document as an element of a page: no fixed size, ids of its own, colours of the page."""
    root = ElementTree.fromstring(svg)
    seen: set[str | None] = {None}
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        attributes = {key.rpartition("}")[2]: value for key, value in element.attrib.items()}
        if attributes.get("id") in seen:  # matplotlib names pictures by what they show, so that equal ones clash
            attributes.pop("id", None)
        seen.add(attributes.get("id"))
        element.attrib.clear()
        element.attrib.update({key: _own(key, value, name) for key, value in attributes.items()})
    for picture in root.iter("image"):  # named by content, which may occur twice; nothing refers to it
        picture.attrib.pop("id", None)
    for extra in root.findall("metadata"):
        root.remove(extra)
    for size in ("width", "height"):
        root.attrib.pop(size, None)
    root.attrib.update({"role": "img", "aria-label": alt, "focusable": "false"})
    return ElementTree.tostring(root, encoding="unicode")


def _own(key: str, value: str, name: str) -> str:
    """An attribute with ids that begin with the figure's name, and colours by their names in the style sheet."""
    if key == "id":
        return f"{name}-{value}"
    if key == "href":
        return f"#{name}-{value[1:]}" if value.startswith("#") else value
    if key in ("style", "fill", "stroke"):
        for colour, token in TOKENS.items():
            value = value.replace(colour, token)
    return REFERENCE.sub(rf"url(#{name}-\1)", value)


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
