"""All figures of a report, in their order; each is there only if what it shows is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from robustfw.report import _collection_figures as images
from robustfw.report import _training_figures as curves
from robustfw.report._folder import Figures
from robustfw.report._svg import Image, embed, render
from robustfw.results._kind import Drawing
from robustfw.results._material import Material

Maker: TypeAlias = Callable[[Material], Sequence[Drawing]]
OF_COLLECTIONS_AND_TRAININGS: tuple[tuple[int, Maker], ...] = (
    (-2, images.fewest_pixels),
    (-1, images.samples),
    (5, curves.training),
)
"""Places of the figures that are of no result, among those of the kinds of results (`ResultKind.place`)."""


def draw(material: Material, out: Path) -> list[Image]:
    """Draw all figures, and write each as PNG and PDF into the folder ``figures`` beside the page."""
    folder = Figures(out.parent / "figures", out.name)
    of_results: list[tuple[int, Maker]] = [(kind.place, kind.figures) for kind in material.kinds]
    makers = sorted([*OF_COLLECTIONS_AND_TRAININGS, *of_results], key=lambda placed: placed[0])
    drawings = [drawing for _, make in makers for drawing in make(material)]
    wanted = _names(drawings)
    files = {name: render(drawing) for name, drawing in zip(wanted, drawings, strict=True)}
    names = folder.write({name: (each.png, each.pdf) for name, each in files.items()})
    return [embed(d, files[name].svg, names[name]) for name, d in zip(wanted, drawings, strict=True)]


def _names(drawings: Sequence[Drawing]) -> list[str]:
    """Names of files: the kind, with a number where there are several of it."""
    several = Counter(drawing.kind for drawing in drawings)
    counted = Counter[str]()
    names = []
    for drawing in drawings:
        counted[drawing.kind] += 1
        names.append(drawing.kind if several[drawing.kind] == 1 else f"{drawing.kind}-{counted[drawing.kind]}")
    return names
