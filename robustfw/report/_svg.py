"""From a matplotlib figure to SVG that follows the page's colours, and to PNG and PDF beside it."""

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


@attrs.frozen
class Image:
    """A figure as it stands in the page."""

    name: str
    title: str
    svg: str
    caption: str
    alt: str
    command: str


@attrs.frozen(eq=False)
class Files:
    """A figure in three formats."""

    png: bytes
    pdf: bytes
    svg: bytes


def render(drawing: Drawing) -> Files:
    """Draw a figure as PNG, PDF and SVG. The same figure gives the same bytes."""
    with matplotlib.style.context(["default", SETTINGS]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # names may be in any script; browsers have it
        figure = drawing.draw()
        png, pdf, svg = io.BytesIO(), io.BytesIO(), io.BytesIO()
        figure.savefig(png, format="png", dpi=200, metadata={"Software": None})
        figure.savefig(pdf, format="pdf", metadata={"CreationDate": None})
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(svg, format="svg", transparent=True, metadata=nothing)
    return Files(png.getvalue(), pdf.getvalue(), svg.getvalue())


def embed(drawing: Drawing, svg: bytes, name: str) -> Image:
    """A figure as it stands in the page, under the name of its files."""
    return Image(name, drawing.title, inline(svg, name, drawing.alt), drawing.caption, drawing.alt, drawing.command)


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
