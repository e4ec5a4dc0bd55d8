"""The page: one HTML file that loads nothing and runs nothing."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

import jinja2
from markupsafe import Markup

from robustfw.report._gather import REPRODUCTION
from robustfw.report._summary import circumstances, summarize
from robustfw.report._svg import Image
from robustfw.report._tables import tables
from robustfw.results._material import Material
from robustfw.results._style import COLOURS
from robustfw.results._table import Table
from robustfw.results._words import printable
from robustfw.version import __version__

NUMERIC = re.compile(r"[<>+−-]? ?\d[\d.]*( %| of \d+)?|–")
"""Cells that count as numbers: with a sign, per cent, or a denominator; a dash where there is none."""


def page(
    material: Material, images: Sequence[Image], paths: Sequence[Path], out: Path | None
) -> str:
    """The report as HTML. Every text is escaped; the only markup beside the template's is that of our own drawings.

    Args:
        material: What is reported.
        images: Its figures.
        paths: The directories that were named, for the command that makes the page again.
        out: The HTML file, if it is not where the command writes anyway.
    """
    command = ["robustfw", "report", *(str(path) for path in paths)]
    if out:
        command += ["--out", str(out)]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("robustfw.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["numeric"] = numeric_columns
    # markup that is safe: it was serialised from a tree
    svg = {image.name: Markup(image.svg) for image in images}
    reproductions = []
    for path in paths:
        if (path / REPRODUCTION).exists():
            reproductions.append(printable(str(path)))
    return environment.get_template("template.html").render(
        title=title(material),
        summary=summarize(material),
        tables=tables(material),
        images=images,
        svg=svg,
        circumstances=circumstances(material),
        command=printable(shlex.join(command)),
        version=__version__,
        folder=reproductions[0] if reproductions else None,
        colours=list(enumerate(COLOURS)),
    )


def title(material: Material) -> str:
    """The reproduction's title, the only run's or collection's name, or how many there are."""
    if material.reproduction:
        return material.reproduction.title
    names = [subject.name for subject in material.runs or material.collections]
    if len(names) == 1:
        return names[0]
    noun = "runs" if material.runs else "collections"
    return f"{len(names)} {noun}"


def numeric_columns(table: Table) -> list[bool]:
    """Which columns hold numbers alone, and are set flush right."""
    numeric = []
    for i in range(len(table.columns)):
        numbers_alone = all(NUMERIC.fullmatch(row[i]) for row in table.rows)
        numeric.append(table.aligned and i > 0 and numbers_alone)
    return numeric
