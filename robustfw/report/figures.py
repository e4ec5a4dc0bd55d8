"""All figures of a report, in their order; each is there only if what it shows is."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from robustfw.errors import RunError
from robustfw.report import curves, distinguishability, fooling, images, lipschitz, pictures, radius, shares
from robustfw.report.drawing import Drawing, Image, rendered
from robustfw.report.gather import Material

FIGURES = (
    images.fewest_pixels,
    images.samples,
    radius.sweeps,
    shares.transfer,
    shares.classes,
    distinguishability.figures,
    fooling.figures,
    lipschitz.figures,
    pictures.figures,
    curves.training,
)
"""Functions from what was gathered to drawings; a new figure is one more of them."""


def draw(material: Material, folder: Path) -> list[Image]:
    """Draw all figures, and write each as PNG and PDF into the folder."""
    drawings = [drawing for make in FIGURES for drawing in make(material)]
    if not drawings:
        return []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _clear(folder, {drawing.kind for drawing in drawings})
        return [rendered(d, name, folder) for d, name in zip(drawings, _names(drawings), strict=True)]
    except OSError as error:
        raise RunError(f"cannot write figures to {folder}: {error.strerror}; choose another --out") from error


def _clear(folder: Path, kinds: set[str]) -> None:
    """Take away figures of an earlier report, of which there may have been more."""
    for file in folder.iterdir():
        kind, _, number = file.stem.partition("-")
        if kind in kinds and (number.isdigit() or not number) and file.suffix in (".png", ".pdf"):
            file.unlink()


def _names(drawings: list[Drawing]) -> list[str]:
    """Names of files: the kind, with a number where there are several of it."""
    several, seen = Counter(drawing.kind for drawing in drawings), Counter[str]()
    names = []
    for drawing in drawings:
        seen[drawing.kind] += 1
        names.append(drawing.kind if several[drawing.kind] == 1 else f"{drawing.kind}-{seen[drawing.kind]}")
    return names
