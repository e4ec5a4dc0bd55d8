"""Figures of matplotlib as SVG that follows the page's colours, and as PNG and PDF beside the page."""

from __future__ import annotations

import io
import re
import warnings
from typing import Any
from xml.etree import ElementTree

import attrs
import matplotlib.style

from robustfw.results._kind import Drawing
from robustfw.results._style import COLOURS, FAINT, INK

COLOUR_NAMES = {INK: "currentColor", FAINT: "var(--faint)"}
COLOUR_NAMES |= {colour: f"var(--c{i})" for i, colour in enumerate(COLOURS)}
"""The names of colours in the style sheet, which may change them."""
SETTINGS: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "robustfw",
    "pdf.fonttype": 42,
    # a name with two dollar signs is no formula
    "text.parse_math": False,
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
    # pictures of one pair of axes stay as they are, and are not resampled into one
    "image.composite_image": False,
    "savefig.facecolor": "white",
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}
"""matplotlib's settings for every figure."""
REFERENCE = re.compile(r"url\(#([^)]+)\)")
"""A reference to an element of the same SVG document."""


@attrs.frozen
class Image:
    """A figure as it stands in the page."""

    name: str
    """The name of its files, without the ending."""
    title: str
    """Stands above the figure."""
    svg: str
    """An element of the page."""
    caption: str
    """Stands below the figure."""
    alt: str
    """The finding, for those who do not see the figure."""
    command: str
    """What to type to get the figure's numbers again."""


@attrs.frozen(eq=False)
class Files:
    """A figure in three formats."""

    png: bytes
    pdf: bytes
    svg: bytes


def render(drawing: Drawing) -> Files:
    """Draw a figure as PNG, PDF and SVG. The same figure gives the same bytes."""
    png = io.BytesIO()
    pdf = io.BytesIO()
    svg = io.BytesIO()
    with matplotlib.style.context(["default", SETTINGS]), warnings.catch_warnings():
        # names may be in any script, which browsers can show
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure = drawing.draw()
        # without dates and versions, which would change the bytes
        figure.savefig(png, format="png", dpi=200, metadata={"Software": None})
        figure.savefig(pdf, format="pdf", metadata={"CreationDate": None})
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(svg, format="svg", transparent=True, metadata=nothing)
    return Files(png.getvalue(), pdf.getvalue(), svg.getvalue())


def embed(drawing: Drawing, svg: bytes, name: str) -> Image:
    """A figure as it stands in the page.

    Args:
        drawing: title, caption, finding and command of the figure.
        svg: the figure as an SVG document.
        name: of its files, without the ending.
    """
    return Image(
        name=name,
        title=drawing.title,
        svg=inline(svg, name, drawing.alt),
        caption=drawing.caption,
        alt=drawing.alt,
        command=drawing.command,
    )


def inline(svg: bytes, name: str, alt: str) -> str:
    """An SVG document as an element of a page: no fixed size, ids of its own, colours of the page.

    Args:
        svg: the document.
        name: of the figure, with which its ids begin.
        alt: the finding, for those who do not see the figure.
    """
    root = ElementTree.fromstring(svg)
    # 1. names without their namespaces, and attributes that fit the page
    ids: set[str | None] = {None}
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        attributes = {}
        for key, value in element.attrib.items():
            attributes[key.rpartition("}")[2]] = value
        # matplotlib names pictures by what they show, so that equal ones clash
        if attributes.get("id") in ids:
            attributes.pop("id", None)
        ids.add(attributes.get("id"))
        element.attrib.clear()
        for key, value in attributes.items():
            element.attrib[key] = _fit_attribute(key, value, name)

    # 2. what the page has no use for
    for picture in root.iter("image"):
        # named by content, which may occur twice; nothing refers to it
        picture.attrib.pop("id", None)
    for extra in root.findall("metadata"):
        root.remove(extra)
    for size in ("width", "height"):
        root.attrib.pop(size, None)
    root.attrib.update({"role": "img", "aria-label": alt, "focusable": "false"})
    return ElementTree.tostring(root, encoding="unicode")


def _fit_attribute(key: str, value: str, name: str) -> str:
    """The value of an attribute: ids begin with the figure's name, colours are called as in the style sheet."""
    if key == "id":
        return f"{name}-{value}"
    if key == "href":
        if value.startswith("#"):
            return f"#{name}-{value[1:]}"
        return value
    if key in ("style", "fill", "stroke"):
        for colour, colour_name in COLOUR_NAMES.items():
            value = value.replace(colour, colour_name)
    return REFERENCE.sub(rf"url(#{name}-\1)", value)
