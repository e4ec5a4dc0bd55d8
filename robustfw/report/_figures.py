"""All figures of a report, in their order; each is there only if what it shows is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from robustfw.report._collection_figures import pixel_figures, sample_figures
from robustfw.report._folder import FigureFolder
from robustfw.report._svg import Image, embed, render
from robustfw.report._training_figures import training_figures
from robustfw.results._kind import Drawing
from robustfw.results._material import Material

Maker: TypeAlias = Callable[[Material], Sequence[Drawing]]
"""Makes the figures of one kind."""
FIXED_PLACES: tuple[tuple[int, Maker], ...] = (
    (-2, pixel_figures),
    (-1, sample_figures),
    (5, training_figures),
)
"""Places of the figures that belong to no result, among those of the kinds of results (`ResultKind.place`)."""


def draw(material: Material, out: Path) -> list[Image]:
    """Draw all figures, and write each as PNG and PDF into the folder ``figures`` beside the page.

    Args:
        material: What is reported.
        out: The HTML file of the page.

    Returns:
        The figures as they stand in the page, in their order.

    Raises:
        RunError: a file is damaged, or a figure cannot be written.
    """
    folder = FigureFolder(out.parent / "figures", out.name)
    makers: list[tuple[int, Maker]] = [*FIXED_PLACES]
    makers += [(kind.place, kind.figures) for kind in material.kinds]
    drawings: list[Drawing] = []
    for _, make in sorted(makers, key=lambda maker: maker[0]):
        drawings += make(material)
    names = _number_kinds(drawings)
    files = {}
    for name, drawing in zip(names, drawings, strict=True):
        files[name] = render(drawing)
    png_and_pdf = {name: (file.png, file.pdf) for name, file in files.items()}
    written_names = folder.write(png_and_pdf)
    images = []
    for name, drawing in zip(names, drawings, strict=True):
        images.append(embed(drawing, files[name].svg, written_names[name]))
    return images


def _number_kinds(drawings: Sequence[Drawing]) -> list[str]:
    """Names of files: the kind, with a number where there are several of it."""
    totals = Counter(drawing.kind for drawing in drawings)
    counts = Counter[str]()
    names = []
    for drawing in drawings:
        counts[drawing.kind] += 1
        number = "" if totals[drawing.kind] == 1 else f"-{counts[drawing.kind]}"
        names.append(f"{drawing.kind}{number}")
    return names
